"""Writes what the docs take from the code: tables, the error tree, the state diagram, the commands.

    python tools/generate_docs.py            writes what has changed
    python tools/generate_docs.py --check    writes nothing; fails when something would change

A page is written by hand but for its regions, each between two comments:

    <!-- generated: NAME -->
    <!-- /generated -->

A test runs the check, so a page that no longer says what the code does fails the tests.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import click
from error_words import ERROR_WORDS
from state_diagram import state_diagram

from payplatform import Advice, Brand, DeclineCode, DeclineKind, OperationKind, Settings, errors
from payplatform._domain._iso4217 import EXPONENTS
from payplatform._domain.brands import RANGES, RULES
from payplatform._domain.declines import (
    DECLINE_RULES,
    ISO8583_DECLINES,
    MASTERCARD_DECLINES,
    MERCHANT_ADVICE,
)
from payplatform._domain.dispute_reasons import DISPUTE_REASONS, DisputeReason
from payplatform._domain.disputes import HOLDINGS
from payplatform._domain.events import EVENT_TYPES
from payplatform._domain.invariants import CAUSES
from payplatform._domain.ledger import RULES as POSTING_RULES
from payplatform._domain.ledger import balances
from payplatform._domain.limits import LIMITS, RETRY_RULES
from payplatform._domain.operations import TRANSITIONS
from payplatform._domain.payments import Facts
from payplatform.banks.simulated import FAULTS, test_cards_table
from payplatform.cli import EXIT_CODES
from payplatform.cli._app import app
from payplatform.errors import ErrorCode, PayPlatformError
from payplatform.ports import Account, BankCapabilities

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DIAGRAM = DOCS / "reference" / "operations.svg"
REGION = re.compile(
    r"(<!-- generated: (?P<name>[a-z-]+) -->\n)(?P<text>.*?)(<!-- /generated -->)", re.DOTALL
)

Section = Callable[[], str]
SECTIONS: dict[str, Section] = {}


def section(name: str) -> Callable[[Section], Section]:
    """Register what a region of that name holds."""

    def register(write: Section) -> Section:
        SECTIONS[name] = write
        return write

    return register


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def code(value: object) -> str:
    """As code, in Markdown."""
    return f"`{value}`"


def first_sentence(thing: Any) -> str:
    """The first sentence of a docstring."""
    text = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.:])\s(?=[A-Z`])", text)[0]


def attribute_words(thing: type) -> dict[str, str]:
    """What the `Attributes:` of a docstring say, by name."""
    text = inspect.getdoc(thing) or ""
    listed = text.partition("Attributes:\n")[2].partition("\n\n")[0]
    words = re.split(r"\n {4}(?=\w+: )", "\n" + listed)
    pairs = (entry.partition(": ") for entry in words if entry.strip())
    return {name: " ".join(said.split()) for name, _, said in pairs}


# errors


def _classes(root: type[PayPlatformError]) -> Iterator[tuple[int, type[PayPlatformError]]]:
    def walk(kind: type[PayPlatformError], depth: int) -> Iterator[tuple[int, Any]]:
        yield depth, kind
        for below in kind.__subclasses__():
            if below.__module__ == errors.__name__:
                yield from walk(below, depth + 1)

    yield from walk(root, 0)


@section("error-tree")
def error_tree() -> str:
    """Every class and what it says, indented under its parent."""
    lines = [
        f"{'    ' * (depth - 1)}- `{kind.__name__}`: {first_sentence(kind)}"
        for depth, kind in _classes(PayPlatformError)
        if depth
    ]
    return "\n".join(lines)


def _code_groups() -> Iterator[tuple[str, list[ErrorCode]]]:
    """The groups that `ErrorCode` is written in, each under the comment above it."""
    heading, group = "", list[ErrorCode]()
    for line in inspect.getsource(ErrorCode).splitlines():
        comment, member = re.match(r"\s+# of (.+)", line), re.match(r"\s+([A-Z_]+) = ", line)
        if comment:
            if group:
                yield heading, group
            heading, group = comment[1], []
        elif member:
            group.append(ErrorCode[member[1]])
    yield heading, group


@section("error-codes")
def error_codes() -> str:
    """Every code, grouped by its class."""
    parts = []
    for heading, group in _code_groups():
        name, _, what = heading.partition(", ")
        title = f"### {name}" + (f": {what}" if what else "")
        rows = [(code(c), ERROR_WORDS[c], "yes" if _retryable(c) else "no") for c in group]
        parts.append(f"{title}\n\n" + table(["code", "what it says", "retryable"], rows))
    return "\n\n".join(parts)


def _retryable(error_code: ErrorCode) -> bool:
    return PayPlatformError("", code=error_code).retryable


# operations and events


@section("operation-kinds")
def operation_kinds() -> str:
    """Which kinds carry a card, and what recovery may do with each."""
    rows = [
        (code(k), "yes" if k.carries_card else "no", "yes" if k.may_be_resent else "no")
        for k in OperationKind
    ]
    return table(["kind", "carries a card", "may be sent again with the same id"], rows)


@section("transitions")
def transitions() -> str:
    """The table of the state machine, as it is."""
    rows = [(code(s), code(t), code(end)) for (s, t), end in TRANSITIONS.items()]
    return table(["state", "trigger", "next state"], rows)


@section("event-types")
def event_types() -> str:
    """Every event type and its words, grouped by what it is about."""
    parts = []
    for subject in dict.fromkeys(name.partition(".")[0] for name in EVENT_TYPES):
        rows = [(code(t), w) for t, w in EVENT_TYPES.items() if t.partition(".")[0] == subject]
        parts.append(f"### {subject}\n\n" + table(["type", "in words"], rows))
    return "\n\n".join(parts)


# declines


def _wait(wait: timedelta | None) -> str:
    if wait is None:
        return ""
    units = ((86_400, "day"), (3_600, "hour"), (60, "minute"))
    seconds = int(wait.total_seconds())
    size, name = next((s, n) for s, n in units if seconds % s == 0)
    count = seconds // size
    return f"{count} {name}{'s' if count > 1 else ''}"


@section("doctor-rules")
def doctor_rules() -> str:
    """What the doctor looks for, and what may be at work where it finds something."""
    return table(["rule", "what may have been at work"], [(code(r), c) for r, c in CAUSES.items()])


@section("decline-advice")
def decline_advice() -> str:
    """What each advice means."""
    said = re.findall(r"`(\w+)`: (.+?)(?=\n`|\Z)", inspect.getdoc(Advice) or "", re.DOTALL)
    words = {Advice(name): " ".join(text.split()) for name, text in said}
    return table(["advice", "what to do"], [(code(a), words[a]) for a in Advice])


@section("decline-codes")
def decline_codes() -> str:
    """Every code by kind, with what follows from it."""
    parts = []
    for kind in DeclineKind:
        rows = [
            (
                code(c),
                code(r.advice),
                _wait(r.retry_after),
                "yes" if r.code_may_be_shown else "no",
                r.message,
                r.customer_message,
            )
            for c, r in DECLINE_RULES.items()
            if r.kind is kind
        ]
        head = ["code", "advice", "wait", "show the code", "for your log", "for the customer"]
        parts.append(f"### {kind}\n\n" + table(head, rows))
    return "\n\n".join(parts)


@section("response-codes")
def response_codes() -> str:
    """Which ISO 8583 response codes become which code."""
    rows = [
        (code(c), _responses(ISO8583_DECLINES, c), _responses(MASTERCARD_DECLINES, c))
        for c in DeclineCode
    ]
    kept = [row for row in rows if any(row[1:])]
    return table(["code", "response code", "of Mastercard and Maestro"], kept)


def _responses(meanings: Any, wanted: DeclineCode) -> str:
    return " ".join(sorted(response for response, c in meanings.items() if c is wanted))


@section("merchant-advice")
def merchant_advice() -> str:
    """What Mastercard's advice codes mean here."""
    rows = [(code(c), code(r.advice), _wait(r.retry_after)) for c, r in MERCHANT_ADVICE.items()]
    return table(["advice code", "advice", "wait"], rows)


# disputes


@section("dispute-states")
def dispute_states() -> str:
    """What each state of a dispute means for the money."""
    yes_no = {True: "yes", False: "no"}
    rows = [(code(s), yes_no[h.held], yes_no[h.lost]) for s, h in HOLDINGS.items()]
    return table(["state", "held", "lost"], rows)


@section("dispute-reasons")
def dispute_reasons() -> str:
    """What the schemes' codes come down to."""
    brands = list(dict.fromkeys(brand for brand, _ in DISPUTE_REASONS))
    rows = []
    for reason in DisputeReason:
        listed = [
            " ".join(c for (b, c), r in DISPUTE_REASONS.items() if (b, r) == (brand, reason))
            for brand in brands
        ]
        rows.append((code(reason), reason.words, *listed))
    return table(["reason", "in words", *brands], rows)


# the books

_WORDS_OF_FACT = {
    "requested": "something is asked for",
    "authorized": "the issuer promises it",
    "captured": "it is taken",
    "voided": "it is let go",
    "expired": "its time has passed",
    "refunded": "it is given back",
    "disputed": "the cardholder's bank takes it back",
    "dispute_lost": "it is taken back for good",
    "fees": "the merchant is charged for it",
    "settled": "the acquirer settles it",
    "acquirer_fees": "the acquirer keeps it",
    "reserved": "it is set aside for a payout",
    "paid_out": "it leaves for the merchant's bank",
    "suspended": "the acquirer settles it, and nobody knows what for",
}


@section("posting-rules")
def posting_rules() -> str:
    """Which account each fact debits and credits."""
    rows = [(code(f), _WORDS_OF_FACT[f], code(d), code(c)) for f, d, c in POSTING_RULES]
    return table(["fact that grows", "when", "debited", "credited"], rows)


_OUTCOMES = (
    ("authorize 100 succeeds", Facts(requested=100, authorized=100)),
    ("sale of 100 succeeds", Facts(requested=100, authorized=100, captured=100)),
    ("capture of 30 succeeds", Facts(captured=30)),
    ("final capture of 30 succeeds, 70 released", Facts(captured=30, voided=70)),
    ("void of 70 succeeds", Facts(voided=70)),
    ("70 expire", Facts(expired=70)),
    ("increment of 20 succeeds", Facts(requested=20, authorized=20)),
    ("refund of 30 succeeds", Facts(refunded=30)),
    ("refund of 30 is taken back by the bank", Facts(refunded=-30)),
    ("dispute of 30 is opened", Facts(disputed=30)),
    ("dispute of 30 is won", Facts(disputed=-30)),
    ("dispute of 30 is lost", Facts(dispute_lost=30)),
    ("3 are charged for a payment", Facts(fees=3)),
    ("100 are settled, 2 of them kept", Facts(settled=100, acquirer_fees=2)),
    ("100 are settled, and match nothing", Facts(suspended=100)),
    ("payout of 50 is started", Facts(reserved=50)),
    ("payout of 50 succeeds", Facts(paid_out=50)),
    ("payout of 50 fails", Facts(reserved=-50)),
    ("payout of 50 comes back", Facts(reserved=-50, paid_out=-50)),
    ("anything is declined, aborted, or still open", Facts()),
)


@section("postings")
def postings() -> str:
    """The signed amount each outcome adds to each account."""
    rows = []
    for words, change in _OUTCOMES:
        amounts = balances(change)
        if sum(amounts.values()):
            raise ValueError(f"{words}: the postings do not balance")
        rows.append((words, *(f"{amounts[a]:+d}" if amounts[a] else "" for a in Account)))
    return table(["outcome", *(code(a) for a in Account)], rows)


# money and cards


@section("currencies")
def currencies() -> str:
    """The currencies by their number of decimal places, but for those with two."""
    rows = []
    for exponent in sorted(set(EXPONENTS.values())):
        names = sorted(name for name, e in EXPONENTS.items() if e == exponent)
        said = " ".join(names) if exponent != 2 else f"the other {len(names)}"
        rows.append((exponent, said))
    return table(["decimal places", "currencies"], rows)


@section("brands")
def brands() -> str:
    """What is known of each brand."""
    rows = []
    for brand in Brand:
        rule = RULES[brand]
        ranges = sum(r.brand is brand for r in RANGES)
        rows.append(
            (
                code(brand),
                _numbers(rule.lengths),
                _numbers(rule.security_code_lengths),
                "yes" if rule.has_check_digit else "not always",
                ranges or "",
            )
        )
    head = ["brand", "digits", "security code", "check digit", "number ranges known"]
    return table(head, rows)


def _numbers(numbers: Iterable[int]) -> str:
    listed = sorted(numbers)
    if len(listed) > 2 and listed == list(range(listed[0], listed[-1] + 1)):
        return f"{listed[0]} to {listed[-1]}"
    return ", ".join(map(str, listed))


# the simulated bank


@section("test-cards")
def test_cards() -> str:
    """Every test card and what it does."""
    rows = [(code(n), brand, code(o), words) for n, brand, o, words in test_cards_table()]
    return table(["number", "brand", "outcome", "what happens"], rows)


@section("faults")
def faults() -> str:
    """What can go wrong on the wire."""
    rows = [
        (code(f), code(r.moment), ", ".join(sorted(r.calls)), r.words) for f, r in FAULTS.items()
    ]
    return table(["fault", "strikes", "on", "what happens, and what we see of it"], rows)


@section("fault-harms")
def fault_harms() -> str:
    """Which faults break a promise, and which harm they can do."""
    rows = [(code(f), r.harm) for f, r in FAULTS.items() if r.harm is not None]
    return table(["fault", "which harm it can do, and which it cannot"], rows)


# the command line

_WIDTH = 92


@section("commands")
def commands() -> str:
    """What every command says of itself."""
    root = click.Context(
        app, info_name="payplatform", terminal_width=_WIDTH, **app.context_settings
    )
    names = app.list_commands(root)
    found = ((name, app.get_command(root, name)) for name in names)
    return "\n\n".join(f"### {n}\n\n{_help_of(c, n, root)}" for n, c in found if c is not None)


def _help_of(command: click.Command, name: str, root: click.Context) -> str:
    context = click.Context(command, parent=root, info_name=name, terminal_width=_WIDTH)
    lines = command.get_help(context).splitlines()
    return "\n".join(f"    {line}".rstrip() for line in lines)


@section("exit-codes")
def exit_codes() -> str:
    """How a run ends."""
    return table(["code", "what it says"], [(int(e), words) for e, words in EXIT_CODES.items()])


# settings and capabilities


def _fields(kind: Any) -> str:
    words = attribute_words(kind)
    rows = [
        (code(f.name), _default(f.default), _sentence(words.get(f.name)))
        for f in attrs.fields(kind)
    ]
    return table(["name", "default", "what it is"], rows)


def _default(value: Any) -> str:
    is_table = isinstance(value, tuple) and any(map(attrs.has, map(type, value)))
    return "below" if is_table else code(value)


def _sentence(words: str | None) -> str:
    return "" if words is None else words[0].upper() + words[1:]


@section("settings")
def settings() -> str:
    """Every setting with its default."""
    return _fields(Settings)


@section("limits")
def limits() -> str:
    """What is too often."""
    rows = [
        (code(limit.per), code(limit.counted), limit.most, _wait(timedelta(seconds=limit.period_s)))
        for limit in LIMITS
    ]
    return table(["per", "counted", "most", "in"], rows)


@section("retry-rules")
def retry_rules() -> str:
    """What the networks allow."""
    rows = [
        (code(rule.brand), rule.most, _wait(timedelta(seconds=rule.period_s)))
        for rule in RETRY_RULES
    ]
    return table(["brand", "most", "in"], rows)


@section("capabilities")
def capabilities() -> str:
    """What a bank may declare."""
    return _fields(BankCapabilities)


# writing


def fresh(page: str, name: str) -> str:
    """The page with every region as the code has it now.

    Raises:
        KeyError: the page names a region that nobody writes.
    """

    def rewritten(region: re.Match[str]) -> str:
        if region["name"] not in SECTIONS:
            raise KeyError(f"{name}: no such region: {region['name']}")
        return f"{region[1]}\n{SECTIONS[region['name']]()}\n\n{region[4]}"

    return REGION.sub(rewritten, page)


def stale() -> dict[Path, str]:
    """Every file that is not what the code says, with what it ought to be."""
    pages = {path: path.read_text() for path in sorted(DOCS.rglob("*.md"))}
    wanted = {path: fresh(text, path.name) for path, text in pages.items()}
    wanted[DIAGRAM] = state_diagram(TRANSITIONS)
    old = {**pages, DIAGRAM: DIAGRAM.read_text() if DIAGRAM.exists() else ""}
    return {path: text for path, text in wanted.items() if text != old[path]}


def unused() -> set[str]:
    """Sections that no page shows."""
    shown = {m["name"] for path in DOCS.rglob("*.md") for m in REGION.finditer(path.read_text())}
    return set(SECTIONS) - shown


def main(arguments: Sequence[str]) -> int:
    """Write what is stale, or only tell."""
    found = stale()
    for path, text in found.items():
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
        if "--check" not in arguments:
            path.write_text(text)
    return int("--check" in arguments and bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
