"""Draws the operations' state machine from `operations.TRANSITIONS`, as an SVG.

Law of this file: nothing about the machine is known here. Which states there are, which of them are
final and what leads where all comes from the table; only the way to draw it is ours. States that
are not final stand in a row; one line, a rail, runs to each state that something leads to, and each
transition is a stub with its trigger's name that joins the rail of where it leads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import NamedTuple

from payplatform._domain.operations import OperationState, Trigger

Table = Mapping[tuple[OperationState, Trigger], OperationState]

PORT_GAP = 21
BOX_GAP = 16
BOX_HEIGHT = 40
STUB = 112
RAIL_GAP = 17
END_GAP = 52
END_WIDTH = 96
RETURN = 84
MARGIN = 14

INK = "#2f3640"
PALETTE = ("#c77700", "#2266bb", "#0b8c8c", "#8a4fbf", "#b5347c", "#23833f", "#c23321", "#5c6773")

STYLE = f"""
text {{ font: 11px ui-sans-serif, system-ui, 'DejaVu Sans', Arial, sans-serif; fill: {INK}; }}
.state {{ font-weight: 600; font-size: 11.5px; text-anchor: middle; dominant-baseline: central; }}
.trigger {{ font-size: 10.5px; }}
.line {{ fill: none; stroke-width: 1.7; stroke-linejoin: round; }}
.halo {{ fill: none; stroke: #fff; stroke-width: 5; }}
"""


class Move(NamedTuple):
    """One line of the table."""

    start: OperationState
    trigger: Trigger
    end: OperationState


class Port(NamedTuple):
    """Where a stub leaves a box, and which way: up is -1, down is 1."""

    move: Move
    x: float
    way: int


def state_diagram(table: Table) -> str:
    """The whole picture, as the text of an SVG file.

    Raises:
        ValueError: the table has a transition of a shape that this way of drawing does not know.
    """
    return _Drawing([Move(start, trigger, end) for (start, trigger), end in table.items()]).svg()


class _Drawing:
    def __init__(self, moves: list[Move]) -> None:
        self.moves = moves
        self.row = [s for s in OperationState if not s.is_final]
        reached = {m.end for m in moves if not m.start.is_final}
        self.ends = [s for s in OperationState if s.is_final and s in reached]
        self.after = [s for s in OperationState if s.is_final and s not in reached]
        self.back = [m for m in moves if m.start in self.ends and m.end in self.row]
        drawable = [m for m in moves if not m.start.is_final or m.end in self.after]
        if len(drawable) + len(self.back) != len(moves):
            raise ValueError("a transition between final states is more than this can draw")
        targets = [*self.row, *self.ends]
        self.colour = dict(zip([s for s in targets if s in reached], PALETTE, strict=False))
        self.upper = [s for s in self.row if any(m.end is s for m in self._between())]
        self._place()

    def svg(self) -> str:
        body = "\n".join(
            [
                *self._rails(),
                *self._stubs(),
                *self._loops(),
                *self._afterlife(),
                *self._returns(),
                *self._boxes(),
            ]
        )
        count = f"{len(self.moves)} transitions between {len(OperationState)} states"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
            f'viewBox="0 0 {_n(self.width)} {_n(self.height)}" '
            f'width="{_n(self.width)}" height="{_n(self.height)}">\n'
            f"<title>The states of an operation</title>\n"
            f"<desc>{count}, drawn from operations.TRANSITIONS.</desc>\n"
            f"<style>{STYLE}</style>\n"
            f'<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
        )

    def _between(self) -> list[Move]:
        """Moves between two different states of the row."""
        open_moves = (m for m in self.moves if not m.start.is_final)
        return [m for m in open_moves if m.end in self.row and m.end is not m.start]

    def _loops_of(self, state: OperationState) -> list[Move]:
        return [m for m in self.moves if m.start is state is m.end]

    def _ups_of(self, state: OperationState) -> list[Move]:
        # The rail that goes furthest starts leftmost, so that rails cross as few stubs as can be.
        ups = [m for m in self._between() if m.start is state]
        return sorted(ups, key=lambda m: -self.row.index(m.end))

    def _downs_of(self, state: OperationState) -> list[Move]:
        downs = [m for m in self.moves if m.start is state and m.end in self.ends]
        return sorted(downs, key=lambda m: -self.ends.index(m.end))

    def _place(self) -> None:
        self.top = MARGIN + (len(self.upper) - 1) * RAIL_GAP + STUB
        self.bottom = self.top + BOX_HEIGHT
        self.left: dict[OperationState, float] = {}
        self.wide: dict[OperationState, float] = {}
        self.arrival: dict[OperationState, float] = {}
        self.ports: list[Port] = []
        self.loops: list[Port] = []
        x: float = MARGIN
        for state in self.row:
            x = self._place_box(state, x) + BOX_GAP
        self.end_x = x + 14
        self.width = self.end_x + END_WIDTH + MARGIN + (RETURN if self.back else 0)
        self.height = self.end_y(self.ends[-1]) + BOX_HEIGHT / 2 + MARGIN

    def _place_box(self, state: OperationState, x: float) -> float:
        ups, downs, loops = self._ups_of(state), self._downs_of(state), self._loops_of(state)
        arrives = int(state in self.upper)
        returns = int(any(m.end is state for m in self.back))
        needed = len(ups) + arrives + returns
        slots = max(needed, len(downs) + len(loops), len(state) // 3 + 1, 5)
        self.left[state], self.wide[state] = x, slots * PORT_GAP
        self.arrival[state] = x + PORT_GAP / 2
        free = slots - arrives - returns
        centres = _spread(ups, x + arrives * PORT_GAP, free * PORT_GAP)
        self.ports += [Port(m, at, -1) for m, at in centres]
        below = _spread([*downs, *loops], x, slots * PORT_GAP)
        self.ports += [Port(m, at, 1) for m, at in below if m in downs]
        self.loops += [Port(m, at, 1) for m, at in below if m in loops]
        return x + self.wide[state]

    def end_y(self, end: OperationState) -> float:
        """The height of the rail to a final state."""
        return self.bottom + STUB + 8 + self.ends.index(end) * END_GAP

    def rail_y(self, state: OperationState) -> float:
        """The height of the rail that leads to a state: the nearest one lies lowest."""
        if state in self.ends:
            return self.end_y(state)
        return self.top - STUB - self.upper.index(state) * RAIL_GAP

    def _rails(self) -> Iterator[str]:
        for state in self.upper:
            joins = [p.x for p in self.ports if p.move.end is state]
            y, to = self.rail_y(state), self.arrival[state]
            path = f"M{_n(min(joins))} {_n(y)}H{_n(to)}V{_n(self.top - 1)}"
            yield from _line(path, self.colour[state])
            yield _arrow(to, self.top - 1, "down", self.colour[state])
        for state in self.ends:
            joins = [p.x for p in self.ports if p.move.end is state]
            y = self.rail_y(state)
            yield from _line(f"M{_n(min(joins))} {_n(y)}H{_n(self.end_x - 1)}", self.colour[state])
            yield _arrow(self.end_x - 1, y, "right", self.colour[state])

    def _stubs(self) -> Iterator[str]:
        for port in self.ports:
            colour = self.colour[port.move.end]
            start = self.top if port.way < 0 else self.bottom
            y = self.rail_y(port.move.end)
            yield from _line(f"M{_n(port.x)} {_n(start)}V{_n(y)}", colour)
            yield f'<circle cx="{_n(port.x)}" cy="{_n(y)}" r="3.2" fill="{colour}"/>'
        for port in self.ports:
            yield self._label(port, self.colour[port.move.end])

    def _loops(self) -> Iterator[str]:
        for port in self.loops:
            colour, y, x = self.colour.get(port.move.end, INK), self.bottom, port.x
            path = f"M{_n(x - 4)} {_n(y)}v9a4 4 0 0 0 8 0v-7"
            yield f'<path class="line" d="{path}" stroke="{colour}"/>'
            yield _arrow(x + 4, y + 1, "up", colour)
            yield self._label(port, colour, away=18)

    def _label(self, port: Port, colour: str, away: float = 6) -> str:
        """A trigger's name, read upwards, beside its stub."""
        words = escape(port.move.trigger)
        if port.way < 0:
            x, y, anchor = port.x - 6, self.top - away, "start"
        else:
            x, y, anchor = port.x - 6, self.bottom + away, "end"
        if port in self.loops:
            x += 9
        return (
            f'<text class="trigger" transform="translate({_n(x)} {_n(y)}) rotate(-90)" '
            f'text-anchor="{anchor}" style="fill:{colour}">{words}</text>'
        )

    def _afterlife(self) -> Iterator[str]:
        """What may still happen to a final state: drawn up the right edge."""
        for m in (m for m in self.moves if m.start.is_final and m.end in self.after):
            x, start = self.end_x + END_WIDTH / 2, self.end_y(m.start) - BOX_HEIGHT / 2
            yield from _line(f"M{_n(x)} {_n(start)}V{_n(self.bottom + 1)}", INK)
            yield _arrow(x, self.bottom + 1, "up", INK)
            yield (
                f'<text class="trigger" transform="translate({_n(x - 6)} {_n(start - 8)}) '
                f'rotate(-90)">{escape(m.trigger)}</text>'
            )

    def _returns(self) -> Iterator[str]:
        """What leads from a final state back into the row: out to the right, up and around."""
        edge = self.end_x + END_WIDTH + RETURN
        out = self.end_x + END_WIDTH
        for m in self.back:
            colour, y = self.colour[m.end], self.end_y(m.start)
            into = self.left[m.end] + self.wide[m.end] - PORT_GAP / 2
            path = f"M{_n(out)} {_n(y)}H{_n(edge)}V{_n(self.rail_y(m.end))}H{_n(into)}"
            yield from _line(f"{path}V{_n(self.top - 1)}", colour)
            yield _arrow(into, self.top - 1, "down", colour)
        for m in self.back:
            colour, y = self.colour[m.end], self.end_y(m.start)
            yield f'<circle cx="{_n(edge)}" cy="{_n(y)}" r="3.2" fill="{colour}"/>'
            yield (
                f'<text class="trigger" x="{_n(out + 7)}" y="{_n(y - 5)}" '
                f'style="fill:{colour}">{escape(m.trigger)}</text>'
            )

    def _boxes(self) -> Iterator[str]:
        for state in self.row:
            yield _box(self.left[state], self.top, self.wide[state], state, self._fill(state))
        for state in self.ends:
            y = self.end_y(state) - BOX_HEIGHT / 2
            yield _box(self.end_x, y, END_WIDTH, state, self._fill(state), final=True)
        for state in self.after:
            yield _box(self.end_x, self.top, END_WIDTH, state, INK, final=True)

    def _fill(self, state: OperationState) -> str:
        return self.colour.get(state, INK)


def _spread(moves: Iterable[Move], left: float, width: float) -> list[tuple[Move, float]]:
    listed = list(moves)
    start = left + (width - len(listed) * PORT_GAP) / 2 + PORT_GAP / 2
    return [(move, start + place * PORT_GAP) for place, move in enumerate(listed)]


def _line(path: str, colour: str) -> Iterator[str]:
    yield f'<path class="halo" d="{path}"/>'
    yield f'<path class="line" d="{path}" stroke="{colour}"/>'


def _arrow(x: float, y: float, to: str, colour: str) -> str:
    turn = {"right": 0, "down": 90, "up": -90}[to]
    return (
        f'<path d="M0 0L-8 -4V4Z" fill="{colour}" '
        f'transform="translate({_n(x)} {_n(y)}) rotate({turn})"/>'
    )


def _box(
    x: float, y: float, width: float, state: OperationState, colour: str, *, final: bool = False
) -> str:
    return (
        f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{BOX_HEIGHT}" '
        f'rx="{18 if final else 6}" fill="#fff" stroke="{colour}" stroke-width="2"/>'
        f'<text class="state" x="{_n(x + width / 2)}" y="{_n(y + BOX_HEIGHT / 2)}">'
        f"{escape(state)}</text>"
    )


def _n(number: float) -> str:
    return f"{number:.1f}".rstrip("0").rstrip(".")
