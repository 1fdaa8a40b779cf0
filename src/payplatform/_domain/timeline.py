"""A payment's events, each with what the amounts had come to. Pure.

The amounts follow by the rules that a payment's own do: the payment is put together once more as it
was after each event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from attrs import evolve, fields_dict

from payplatform._domain.decisions import open_entry
from payplatform._domain.events import Event, Totals
from payplatform._domain.operations import OpenOperation, Operation
from payplatform._domain.payments import NO_CHANGE, Payment


def with_totals(
    payment: Payment, events: Iterable[Event], operations: Sequence[Operation]
) -> Iterator[Event]:
    """The events, in their order, each with its totals.

    Args:
        payment: whose events they are.
        events: all of them, in the order of their numbers.
        operations: those of the payment, as they are now.
    """
    entries = {operation.id: open_entry(operation) for operation in operations}
    under_way: dict[str, OpenOperation] = {}
    facts = NO_CHANGE
    for event in events:
        facts += event.change
        entry, state = entries.get(event.operation_id or ""), event.state
        if entry is not None and state is not None:
            under_way.pop(entry.id, None)
            if not state.is_final:
                under_way[entry.id] = entry
        then = evolve(payment, facts=facts, open_operations=tuple(under_way.values()))
        totals = Totals(**{name: getattr(then, name) for name in fields_dict(Totals)})
        yield evolve(event, totals=totals)
