"""Whatever is asked in whatever order: the books stay sound, and memory and file agree."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest
from bank_requests import WITH_CARD, Clock, Counter
from hypothesis import given
from hypothesis import strategies as st

from payplatform.banks.simulated import FULL_CAPABILITIES, Call, Fault, LineState, SimulatedBank
from payplatform.ports import BankReply, ReplyOutcome, RequestKind

CARDS = [
    "4242424242424242",
    "4000000000009995",
    "4000000000003220",
    "4000008260003178",
    "4000000000007726",
    "4000000000010308",
]
IDS = ["a", "b", "c", "d", "e"]
LOSSES = [Fault.LOSE_REQUEST, Fault.LOSE_REPLY, Fault.DELAY_REQUEST, Fault.DELIVER_TWICE]


class Step(NamedTuple):
    """One thing that happens; what it has no use for is left as it is."""

    what: str
    id: str = "a"
    amount_minor: int = 0
    target_id: str = "a"
    final: bool = False
    card: str = CARDS[0]
    fault: Fault | None = None
    succeed: bool = True
    seconds: int = 0


ids = st.sampled_from(IDS)
requests = st.builds(
    Step,
    what=st.sampled_from([str(kind) for kind in RequestKind]),
    id=ids,
    amount_minor=st.sampled_from([0, 1, 30, 60, 100]),
    target_id=ids,
    final=st.booleans(),
    card=st.sampled_from(CARDS),
    fault=st.none() | st.none() | st.sampled_from(LOSSES),
)
others = st.builds(
    Step,
    what=st.sampled_from(["challenge", "pending", "forward", "deliver"]),
    id=ids,
    succeed=st.booleans(),
    seconds=st.sampled_from([1, 60, 1_000, 5_000, 8 * 86_400]),
)
steps = st.one_of(requests, requests, requests, others)
histories = st.lists(steps, max_size=25)

examples = count()


@pytest.fixture(scope="module")
def in_a_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SimulatedBank, Clock]]:
    """One file for all examples: each has a merchant and ids of its own."""
    clock = Clock()
    path: Path = tmp_path_factory.mktemp("bank") / "bank.db"
    bank = SimulatedBank(path, now=clock)
    yield bank, clock
    bank.close()


def take(counter: Counter, clock: Clock, prefix: str, step: Step) -> object:
    """Take one step; what comes of it, the type of an expected exception included."""
    try:
        match step.what:
            case "challenge":
                counter.bank.complete_challenge(prefix + step.id, succeed=step.succeed)
            case "pending":
                counter.bank.finish_pending(prefix + step.id, succeed=step.succeed)
            case "forward":
                clock.forward(step.seconds)
            case "deliver":
                return counter.bank.deliver_late()
            case _:
                return ask(counter, prefix, step)
    except (TimeoutError, LookupError) as error:
        return type(error)
    return None


def ask(counter: Counter, prefix: str, step: Step) -> BankReply:
    if step.fault is not None and step.what != "reversal":
        counter.bank.next(step.fault, on=Call.SEND)
    return counter.send(
        step.what,
        prefix + step.id,
        step.amount_minor,
        target_id=None if step.what in WITH_CARD else prefix + step.target_id,
        final=step.final,
        card=step.card,
    )


def check_books(counter: Counter, prefix: str, *, forgotten: int) -> None:
    """What must hold after every step.

    An id is done once for as long as the bank remembers it, as it declares; `forgotten` tells how
    often that time has passed.
    """
    lines = counter.bank.statement(counter.merchant_id)
    for operation_id in (prefix + letter for letter in IDS):
        position = counter.bank.position(counter.merchant_id, operation_id)
        assert position.is_sound
        assert position.captured <= position.authorized
        assert position.refunded + position.pending_refund <= position.captured
        assert counter.effects(operation_id) <= 1 + forgotten
        own = [line for line in lines if line.authorization_id == operation_id]
        pending = sum(line.amount.amount_minor for line in own if line.state is LineState.PENDING)
        assert pending == position.pending_refund


def passed(history: list[Step]) -> int:
    waited = sum(step.seconds for step in history if step.what == "forward")
    return int(waited // FULL_CAPABILITIES.dedups_operation_id_s)


def check_told(counter: Counter, step: Step, told: object) -> None:
    """An inquiry knows what was just told, unless the id belongs to another request."""
    if not isinstance(told, BankReply):
        return
    known = counter.inquire(told.operation_id)
    if step.what == "reversal":
        assert told.outcome is ReplyOutcome.DECLINED or known.outcome is ReplyOutcome.DECLINED
    elif told.decline is None or told.decline.bank_code != "other_content":
        # An id that comes again long after may be declined; what was approved once stays known.
        assert known == told or known.outcome is ReplyOutcome.APPROVED


@given(history=histories)
def test_any_history_keeps_sound_books_that_agree(
    in_a_file: tuple[SimulatedBank, Clock], history: list[Step]
) -> None:
    number = next(examples)
    merchant_id, prefix = f"mer_{number}", f"{number}-"
    bank, clock = in_a_file
    memory_clock = Clock()
    memory_clock.time = clock.time
    in_memory = Counter(SimulatedBank(now=memory_clock), merchant_id)
    in_file = Counter(bank, merchant_id)

    for at, step in enumerate(history, start=1):
        told = take(in_memory, memory_clock, prefix, step)

        assert take(in_file, clock, prefix, step) == told
        check_books(in_memory, prefix, forgotten=passed(history[:at]))
        check_told(in_memory, step, told)

    assert in_file.bank.statement(merchant_id) == in_memory.bank.statement(merchant_id)
    assert [in_file.inquire(prefix + letter) for letter in IDS] == [
        in_memory.inquire(prefix + letter) for letter in IDS
    ]
    in_memory.bank.close()
    # What is on its way still belongs to this example alone.
    bank.deliver_late()
