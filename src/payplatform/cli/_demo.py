"""`payplatform demo`: plays the tour in a folder of its own, and tells it."""

from __future__ import annotations

import ast
import inspect
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import Any

import click
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from payplatform._domain.money import Money, as_form
from payplatform._domain.payments import PaymentStatus
from payplatform.cli._calls import Clock
from payplatform.cli._exits import Exit
from payplatform.cli._screen import Screen, facts_grid, status_text
from payplatform.cli._session import Session, common_options, examples, pass_session
from payplatform.cli._tour import Part, Scene, Tour

_BEGINS = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""When the story begins: always then, so that it is always told in the same words."""

_WIDEST = 100
_NARROWEST = 40


@click.command(epilog=examples("payplatform demo"))
@common_options("json")
@pass_session
def demo(session: Session) -> Exit:
    """A guided tour, in a few seconds.

    Tokenize, charge, a decline, 3-D Secure, a refund, a lost reply and its recovery, the books.

    Everything is really done, against the simulated bank, in a folder that is removed at the end.
    """
    started = perf_counter()
    screen = _stage()
    with tempfile.TemporaryDirectory(prefix="payplatform-demo-") as name:
        folder = Path(name)
        tour = Tour(folder, Clock(_BEGINS))
        if session.json:
            scenes = [_scene_form(n, scene) for n, scene in enumerate(tour.scenes(), start=1)]
        else:
            screen.print(_title(folder))
            for number, scene in enumerate(tour.scenes(), start=1):
                screen.print(_scene(number, scene))
    seconds = round(perf_counter() - started, 1)
    if session.json:
        told = {"scenes": scenes, "ok": tour.ended_well, "folder": name, "seconds": seconds}
        session.answer(told)
    else:
        screen.print(_ending(tour, seconds))
    return Exit.OK if tour.ended_well else Exit.DOCTOR_FOUND


def _stage() -> Screen:
    """A console for reading: no line longer than the eye likes, in a pipe as in a terminal."""
    width = Screen().width
    return Screen(width=max(_NARROWEST, min(width, _WIDEST)))


def _title(folder: Path) -> RenderableType:
    said = Text.assemble(
        ("A bookshop takes its first payments", "bold"),
        "\n\nThe bank is simulated, so no money moves. The rest is the real thing: everything "
        "below is done while you read, in ",
        (str(folder), "cyan"),
        ", which is removed at the end. Time is the story's own.",
    )
    return Panel(said, title="payplatform", border_style="cyan", padding=(1, 2))


def _scene(number: int, scene: Scene) -> RenderableType:
    heading = Rule(Text(f"{number}  {scene.title}", style="bold cyan"), align="left", style="cyan")
    return Group(Text(), heading, *(Padding(_part(part), (1, 1, 0, 3)) for part in scene.parts))


def _part(part: Part) -> RenderableType:
    return Group(*_lines_of(part))


def _lines_of(part: Part) -> Iterator[RenderableType]:
    yield Text(part.said)
    if part.call is not None:
        yield Padding(_code(part.call), (1, 0, 0, 0))
    if part.rows:
        yield Padding(_table(part), (1, 0, 0, 0))
    if part.facts:
        grid = facts_grid((name, _shown(value)) for name, value in part.facts.items())
        yield Padding(grid, (1, 0, 0, 0))
    if part.moral is not None:
        yield Padding(Text(part.moral, style="bold green"), (1, 0, 0, 0))


def _code(call: Callable[..., Any]) -> Text:
    """Python in colours, along a bar."""
    source = shown_code(call)
    colours = Syntax(source, "python", theme="ansi_dark", background_color="default")
    lines = colours.highlight(source).split("\n")
    return Text("\n").join(Text.assemble(("│ ", "cyan"), line) for line in lines if line)


def _table(part: Part) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for index, column in enumerate(part.columns):
        is_number = all(_is_number(row[index]) for row in part.rows)
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in part.rows:
        table.add_row(*map(_shown, row))
    return table


def _is_number(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, str) and value.replace(".", "").isdigit())


def _shown(value: object) -> Text:
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, PaymentStatus):
        return status_text(value)
    return Text(str(value))


def _ending(tour: Tour, seconds: float) -> RenderableType:
    verdict = (
        ("What we have is what the bank has.", "bold green")
        if tour.ended_well
        else ("The books do not agree. This is a defect; please report it.", "bold red")
    )
    said = Text.assemble(verdict, f"  ({seconds} seconds; the folder is gone)\n")
    what_next = facts_grid(
        [
            ("payplatform init", "a database of your own, here"),
            ("payplatform cards", "the test cards: all that can happen"),
            ("payplatform charge 19.99 EUR", "a payment; it asks for the card"),
        ]
    )
    return Group(Text(), Panel(Group(said, what_next), border_style="cyan", padding=(1, 2)))


def shown_code(call: Callable[..., Any]) -> str:
    """The body of a function, as it stands in the source, but for a last line that only returns.

    Args:
        call: a function of ours, without a docstring.
    """
    source = textwrap.dedent(inspect.getsource(call))
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)  # noqa: S101  # what getsource gives for one
    *_, last = body = function.body
    returned = isinstance(last, ast.Return) and last.value
    if isinstance(returned, ast.Name | ast.Tuple):
        body = body[:-1]
    first_line, last_line = body[0].lineno - 1, body[-1].end_lineno
    lines = textwrap.dedent("\n".join(source.splitlines()[first_line:last_line]))
    return lines.removeprefix("return ")


def _scene_form(number: int, scene: Scene) -> dict[str, Any]:
    return {"number": number, "title": scene.title, "parts": list(map(_part_form, scene.parts))}


def _part_form(part: Part) -> dict[str, Any]:
    return {
        "said": part.said,
        "code": None if part.call is None else shown_code(part.call),
        "facts": {name: _value_form(value) for name, value in part.facts.items()},
        "table": [dict(zip(part.columns, map(_value_form, row), strict=True)) for row in part.rows],
        "moral": part.moral,
    }


def _value_form(value: object) -> object:
    if isinstance(value, Money):
        return as_form(value)
    return str(value) if isinstance(value, StrEnum) else value
