"""A month as one HTML file that needs nothing else: no script, no font, no picture from elsewhere.

Law of this file: what is shown was counted elsewhere (`_figures`, and the statement); here it is
only drawn. The same month of the same books makes the same file, byte for byte. It needs the extra
`report`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any, Final

from payplatform._domain.money import Money
from payplatform._domain.statements import CurrencyStatement, Statement
from payplatform.client import MerchantClient
from payplatform.reports._figures import Figures, figures
from payplatform.reports._statements import BESIDES, LINES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _PALE, _TAKEN, _YES, _NO = "#1f2933", "#9aa5b1", "#2563a8", "#2f8f5b", "#c4553b"
_MOST_REASONS: Final = 8
_LOOK: Final[Any] = {
    "svg.hashsalt": "payplatform",  # ids follow from what is drawn, not from the time
    "svg.fonttype": "none",  # text stays text: it can be searched, copied and read aloud
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _PALE,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "figure.constrained_layout.hspace": 0.08,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e4e7eb",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


def report_html(shop: MerchantClient, *, month: str) -> str:
    """A month of a merchant as a page: charts of volume, approvals and declines, and the statement.

    Args:
        shop: whose.
        month: such as "2030-01"; months begin and end in UTC.

    Returns:
        The page, whole in itself.

    Raises:
        InvalidRequest: that is no month.
        StorageUnavailable: the store failed.
        ModuleNotFoundError: the extra `report` is not installed.
    """
    statement = shop.ledger.statement(month=month)
    when = statement.month
    told = figures(shop, since=when.since, until=when.until)
    title = f"{statement.merchant_name}: {when.since:%B %Y}"
    return _PAGE.format(
        title=escape(title),
        merchant_id=escape(statement.merchant_id),
        tiles="".join(_tiles(statement, told)),
        chart=_chart(told),
        statements="".join(map(_statement, statement.currencies)),
    )


def _tiles(statement: Statement, told: Figures) -> Iterator[str]:
    yield _tile("Taken", _amounts(told.captured), "for payments of this month")
    rate = told.approval_rate
    shown = "no payments" if rate is None else f"{rate:.1%}"
    yield _tile("Approved", shown, f"{told.approved} approved, {told.declined} declined")
    yield _tile("Given back", _amounts(told.refunded), "of it, by now")
    coming = {part.currency: part.closing for part in statement.currencies if part.closing}
    yield _tile("Coming to you", _amounts(coming), "at the end of the month")


def _tile(name: str, value: str, words: str) -> str:
    return f'<div class="tile"><h2>{name}</h2><p>{value}</p><small>{words}</small></div>'


def _amounts(amounts: Mapping[str, Money]) -> str:
    return "<br>".join(_grouped(money) for money in amounts.values()) or "nothing"


def _grouped(money: Money) -> str:
    """An amount as people read it: thousands apart, the currency behind."""
    return f"{money.amount:,} {money.currency}".replace("-", "\N{MINUS SIGN}")


def _statement(part: CurrencyStatement) -> str:
    lines = "".join(_row(words, getattr(part, name) * sign) for name, words, sign in LINES)
    besides = "".join(_row(words, getattr(part, name)) for name, words in BESIDES)
    return (
        f'<section><h2>Statement in {part.currency}</h2><table class="sum">{lines}</table>'
        f"<h3>At the bank</h3><table>{besides}</table></section>"
    )


def _row(words: str, money: Money) -> str:
    return f"<tr><th>{words}</th><td>{_grouped(money)}</td></tr>"


def _chart(told: Figures) -> str:
    """All panels as one SVG, so that no name in it comes twice."""
    from matplotlib import rc_context  # noqa: PLC0415  # the extra is loaded with the chart alone

    drawn = io.StringIO()
    with rc_context(_LOOK):
        figure = _figure(told)
        figure.savefig(drawn, format="svg", metadata={"Date": None}, transparent=True)
    svg = drawn.getvalue()
    return svg[svg.index("<svg") :]


def _figure(told: Figures) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415  # as in `_chart`

    currencies = list(told.captured)
    reasons = min(len(told.declines), _MOST_REASONS)
    heights = [*(2.2 for _ in currencies), 2.0, 1.2, *([0.6 + 0.28 * reasons] if reasons else [])]
    figure = Figure(figsize=(9, sum(heights) + 0.4 * len(heights)), layout="constrained")
    panels = figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0]
    for panel, currency in zip(panels, currencies, strict=False):
        _draw_volume(panel, told, currency)
    _draw_payments(panels[len(currencies)], told)
    _draw_rate(panels[len(currencies) + 1], told)
    if reasons:
        _draw_reasons(panels[-1], told)
    return figure


def _draw_volume(panel: Axes, told: Figures, currency: str) -> None:
    nothing = Money.zero(currency)
    amounts = [float(day.captured.get(currency, nothing).amount) for day in told.days]
    panel.bar(_days(told), amounts, color=_TAKEN, width=0.7)
    panel.set_title(f"Taken each day, {currency}")
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    panel.grid(axis="y")
    panel.spines["left"].set_visible(False)
    _mark_days(panel, told)


def _draw_payments(panel: Axes, told: Figures) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415  # as in `_chart`

    approved = [day.approved for day in told.days]
    panel.bar(_days(told), approved, color=_YES, width=0.7, label="approved")
    declined = [day.declined for day in told.days]
    panel.bar(_days(told), declined, bottom=approved, color=_NO, width=0.7, label="declined")
    panel.set_title("Payments each day")
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_ylim(0, max(1, *(day.approved + day.declined for day in told.days)) * 1.05)
    panel.grid(axis="y")
    panel.spines["left"].set_visible(False)
    panel.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    _mark_days(panel, told)


def _draw_rate(panel: Axes, told: Figures) -> None:
    decided = [(at, day.approval_rate) for at, day in enumerate(told.days)]
    rates = [(at, 100 * rate) for at, rate in decided if rate is not None]
    panel.plot(
        [at for at, _ in rates],
        [rate for _, rate in rates],
        color=_YES,
        marker="o",
        ms=4,
        clip_on=False,
    )
    whole = "" if told.approval_rate is None else f", {told.approval_rate:.1%} in all"
    panel.set_title(f"Approved of what was decided{whole}")
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:.0f}%")
    panel.set_ylim(0, 105)
    panel.grid(axis="y")
    panel.spines["left"].set_visible(False)
    _mark_days(panel, told)


def _draw_reasons(panel: Axes, told: Figures) -> None:
    commonest = list(told.declines.items())[:_MOST_REASONS]
    names = [str(code).replace("_", " ") for code, _ in commonest]
    bars = panel.barh(names, [count for _, count in commonest], color=_NO, height=0.65)
    panel.bar_label(bars, padding=4)
    panel.invert_yaxis()
    panel.set_title("Why payments were declined")
    panel.set_xticks([])
    panel.spines["bottom"].set_visible(False)
    panel.spines["left"].set_visible(False)


def _days(told: Figures) -> list[int]:
    return list(range(len(told.days)))


def _mark_days(panel: Axes, told: Figures) -> None:
    """The first of each week, and where the month begins."""
    marked = [at for at, day in enumerate(told.days) if at == 0 or day.date.weekday() == 0]
    panel.set_xticks(marked, [f"{told.days[at].date:%a} {told.days[at].date.day}" for at in marked])
    panel.set_xlim(-0.6, len(told.days) - 0.4)


_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1f2933; background: #f5f7fa; margin: 0; }}
main {{ max-width: 60rem; margin: 0 auto; padding: 2rem 1rem; }}
h1 {{ margin: 0; }}
h2 {{ font-size: 1.1rem; margin: 0 0 .5rem; }}
h3 {{ font-size: 1rem; margin: 1rem 0 .5rem; }}
.id {{ color: #616e7c; margin: 0 0 1.5rem; font-size: .85rem; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: 1rem; }}
.tile, section {{ background: #fff; border: 1px solid #e4e7eb; border-radius: .5rem; }}
.tile, section {{ padding: 1rem; }}
.tile h2 {{ font-size: .85rem; font-weight: normal; color: #616e7c; margin: 0; }}
.tile p {{ font-size: 1.35rem; font-weight: 600; margin: .2rem 0; }}
.tile small {{ color: #616e7c; }}
section {{ margin-top: 1rem; }}
svg {{ width: 100%; height: auto; }}
table {{ border-collapse: collapse; width: 100%; }}
th {{ text-align: left; font-weight: normal; }}
td {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
tr + tr > * {{ border-top: 1px solid #e4e7eb; }}
th, td {{ padding: .35rem 0; }}
.sum tr:first-child > *, .sum tr:last-child > * {{ font-weight: 600; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p class="id">{merchant_id}, all times in UTC</p>
<div class="tiles">{tiles}</div>
<section role="img" aria-label="Charts of volume, payments and declines">
{chart}
</section>
{statements}
</main>
</body>
</html>
"""
