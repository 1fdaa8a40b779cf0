"""Each row of `docs/explanation/crash-points.md`, played, under the name that the page gives it.

How: a caller makes one call, which stops where the row says. Then it is looked at what is stored,
what recovery makes of it, and what the caller is told who comes back with the same key. The call is
a charge, whose card is never sent a second time, or a capture, which may be; where the row does not
depend on the store it is played on both.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from attrs import evolve
from mortal import World, agree
from shaky import Commit, Fails, Shaky, done_but_uncertain, named, not_done_and_uncertain
from verbs import KEY, VERBS

from payplatform import Operation, PayPlatformError, Settings
from payplatform.banks.simulated import FULL_CAPABILITIES, Call, Fault, SimulatedBank
from payplatform.cli._bank_books import differences
from payplatform.ports import BankNotice, BankReply, Changes, Storage
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing.mortal import Died, Fate, Moment

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "crash-points.md"
LEASE_S = 46
IN_FLIGHT_S = 61
UNCERTAIN = [done_but_uncertain, not_done_and_uncertain]

forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


class Doom(Fate):
    """Death at the n-th port call of a name."""

    def __init__(self, name: str, moment: Moment, nth: int = 1) -> None:
        super().__init__()
        self._name, self._moment, self._nth = name, moment, nth

    def _strikes(self, moment: Moment) -> bool:
        names = [call.name for call in self.calls]
        here = names[-1] == self._name and names.count(self._name) == self._nth
        return here and moment == self._moment


class Caller:
    """Somebody who makes one call, and makes it again with the same key."""

    def __init__(self, world: World, verb: str) -> None:
        self.world, self.verb = world, verb
        prepare, self._act = VERBS[verb]
        self._subject = prepare(world)
        self._sent = len(world.wire.sent)

    def calls(self) -> str:
        """Make the call; what is told, in a word."""
        try:
            result = self._act(self.world.shop, self._subject)
        except PayPlatformError as error:
            return str(error.code)
        return "replayed" if result.replayed else "done"

    def dies(self, call: str, moment: Moment, nth: int = 1) -> None:
        """Make the call in a process that dies there, and start another process."""
        self.world.start(Doom(call, moment, nth))
        with pytest.raises(Died):
            self.calls()
        self.world.start()

    def recovery_dies(self, call: str, moment: Moment, nth: int = 1) -> None:
        """Run recovery in a process that dies there, and start another process."""
        self.world.start(Doom(call, moment, nth))
        with pytest.raises(Died):
            self.world.pay.recover()
        self.world.start()

    def waits(self, seconds: float) -> None:
        self.world.advance(seconds=seconds)

    @property
    def operation(self) -> Operation:
        operation = self.world.shop.operations.find(idempotency_key=KEY)
        assert operation is not None
        return operation

    @property
    def stored(self) -> str:
        """The state that is stored, if anything is."""
        operation = self.world.shop.operations.find(idempotency_key=KEY)
        return "nothing" if operation is None else operation.state

    @property
    def sent(self) -> list[str]:
        """What has gone to the bank since the call was first made."""
        return [str(request.kind) for request in self.world.wire.sent[self._sent :]]

    def ends(self, told: str) -> None:
        """Recovery has done all it can: this is told now, and both books agree on it."""
        self.world.recover_all()
        assert self.calls() == told
        effects = self.world.bank.effects(self.world.merchant_id, self.operation.id)
        assert effects == (told != "aborted")
        agree(self.world)

    def ends_as_not_done(self) -> None:
        """What carried a card is reversed; what carried none was sent again."""
        self.ends("aborted" if self.verb == "charge" else "replayed")


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "shop.db" if request.param == "sqlite" else None)
    yield world
    world.close()


@pytest.fixture(params=["charge", "capture"])
def caller(request: pytest.FixtureRequest, world: World) -> Caller:
    return Caller(world, request.param)


@pytest.fixture
def charger(world: World) -> Caller:
    return Caller(world, "charge")


@pytest.fixture
def file_caller(tmp_path: Path) -> Iterator[Caller]:
    """A caller whose store and bank are both files, which other processes may use as well."""
    world = World(tmp_path / "shop.db")
    world.bank.close()
    world.bank = SimulatedBank(tmp_path / "bank.db", now=world.clock)
    world.start()
    yield Caller(world, "charge")
    world.close()


def shaken(caller: Caller, at: int, fault: Fails, *, goes_blind: bool = False) -> Shaky:
    """The caller's store, from now on one that fails at that commit."""
    stores: list[Shaky] = []

    def shake(storage: Storage) -> Shaky:
        stores.append(Shaky(storage))
        return stores[-1]

    caller.world.through = shake
    caller.world.start()
    stores[0].fail(at, fault, goes_blind=goes_blind)
    return stores[0]


def test_each_row_of_the_page_is_a_test_by_the_same_name() -> None:
    """No row without a test, and no test without a row."""
    lines = PAGE.read_text().splitlines()
    rows = [line for line in lines if re.match(r"\| (?!where it stops|what happens)\w", line)]
    names = [re.findall(r"`(test_\w+)`", row) for row in rows]
    assert [row for row, found in zip(rows, names, strict=True) if len(found) != 1] == []
    told = [name for found in names for name in found]
    here = [name for name in globals() if name.startswith("test_")]
    here.remove("test_each_row_of_the_page_is_a_test_by_the_same_name")
    assert told == here


# -- in the call itself ----------------------------------------------------------------------------


def test_before_the_intent_is_committed(caller: Caller) -> None:
    caller.dies("storage.commit", "before")
    assert (caller.stored, caller.sent) == ("nothing", [])
    assert caller.world.pay.recover().examined == 0
    assert caller.calls() == "done"
    caller.ends("replayed")


@pytest.mark.parametrize("fault", UNCERTAIN, ids=named)
@pytest.mark.parametrize("can_be_read", [True, False])
def test_the_commit_of_the_intent_is_uncertain(
    caller: Caller, fault: Fails, can_be_read: bool
) -> None:
    took_place = fault is done_but_uncertain
    store = shaken(caller, 1, fault, goes_blind=not can_be_read)
    goes_on = took_place and can_be_read
    assert caller.calls() == ("done" if goes_on else "storage_unavailable")
    assert len(caller.sent) == goes_on
    store.get_well()
    assert caller.stored == ("succeeded" if goes_on else "in_flight" if took_place else "nothing")
    if not took_place:
        assert caller.calls() == "done"
    elif not can_be_read:
        assert caller.calls() == "operation_in_progress"
        caller.ends_as_not_done()
        return
    caller.ends("replayed")


def test_after_the_intent_before_the_request_leaves(caller: Caller) -> None:
    caller.dies("storage.commit", "after")
    assert (caller.stored, caller.sent) == ("in_flight", [])
    assert caller.calls() == "operation_in_progress"
    caller.waits(LEASE_S)
    assert caller.calls() == ("outcome_unknown" if caller.verb == "charge" else "replayed")
    caller.ends_as_not_done()


def test_the_request_is_lost_on_its_way(caller: Caller) -> None:
    caller.world.bank.next(Fault.LOSE_REQUEST)
    assert caller.calls() == "outcome_unknown"
    assert caller.stored == "in_doubt"
    caller.ends_as_not_done()


def test_the_bank_did_it_and_its_answer_is_lost(caller: Caller) -> None:
    caller.world.bank.next(Fault.LOSE_REPLY)
    assert caller.calls() == "outcome_unknown"
    assert caller.stored == "in_doubt"
    assert caller.calls() == "replayed"
    caller.ends("replayed")


def test_the_answer_is_here_and_the_program_dies(caller: Caller) -> None:
    caller.dies("bank.send", "after")
    assert caller.stored == "in_flight"
    assert caller.calls() == "operation_in_progress"
    caller.waits(LEASE_S)
    assert caller.calls() == "replayed"
    caller.ends("replayed")


@forks
@pytest.mark.parametrize("statement", ["BEGIN", "UPDATE", "INSERT", "COMMIT"])
def test_in_the_middle_of_the_commit_of_the_outcome(file_caller: Caller, statement: str) -> None:
    """A process of its own is killed at one of the statements."""
    caller, storage = file_caller, file_caller.world.storage

    def kill_at(text: str) -> None:
        if text.startswith(statement):
            os.kill(os.getpid(), signal.SIGKILL)

    def arm(_: object) -> None:
        assert isinstance(storage, SQLiteStorage)
        with storage._connections.mine() as connection:
            connection.set_trace_callback(kill_at)

    caller.world.wire.after = arm
    assert exit_of(caller.calls) == -signal.SIGKILL
    caller.world.wire.after = lambda _: None
    assert caller.stored == "in_flight"
    assert caller.calls() == "operation_in_progress"
    caller.waits(LEASE_S)
    assert caller.calls() == "replayed"
    caller.ends("replayed")


@pytest.mark.parametrize("fault", UNCERTAIN, ids=named)
@pytest.mark.parametrize("can_be_read", [True, False])
def test_the_commit_of_the_outcome_is_uncertain(
    caller: Caller, fault: Fails, can_be_read: bool
) -> None:
    store = shaken(caller, 2, fault, goes_blind=not can_be_read)
    assert caller.calls() == ("done" if can_be_read else "outcome_unknown")
    store.get_well()
    took_place = fault is done_but_uncertain
    assert caller.stored == ("succeeded" if can_be_read or took_place else "in_flight")
    caller.ends("replayed")
    assert len(caller.world.bank.statement()) == (1 if caller.verb == "charge" else 2)


def test_the_disk_is_full_when_the_outcome_is_to_be_committed(
    file_caller: Caller, tmp_path: Path
) -> None:
    """No file may grow beyond what the log has grown to when the bank has answered."""
    caller = file_caller
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(_: object) -> None:
        full = (tmp_path / "shop.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (full, limits[1]))

    caller.world.wire.after = fill
    try:
        assert caller.calls() == "outcome_unknown"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        caller.world.wire.after = lambda _: None
    assert caller.stored == "in_flight"
    assert caller.calls() == "operation_in_progress"
    caller.waits(LEASE_S)
    assert caller.calls() == "replayed"
    caller.ends("replayed")


def test_after_the_outcome_before_the_caller_is_told(caller: Caller) -> None:
    caller.dies("storage.commit", "after", 2)
    assert caller.stored == "succeeded"
    assert caller.world.pay.recover().examined == 0
    assert caller.calls() == "replayed"
    assert len(caller.sent) == 1
    caller.ends("replayed")


# -- on the wire, and among colleagues -------------------------------------------------------------


def test_the_network_delivers_one_request_twice(caller: Caller) -> None:
    caller.world.bank.next(Fault.DELIVER_TWICE)
    assert caller.calls() == "done"
    caller.ends("replayed")


def test_a_slow_caller_comes_back_after_recovery_took_over(caller: Caller) -> None:
    world, epochs = caller.world, list[int]()

    def take_over(_: object) -> None:
        world.wire.after = lambda _: None
        caller.waits(120)
        assert world.start().recover().succeeded == 1
        epochs.append(caller.operation.epoch)

    world.wire.after = take_over
    assert caller.calls() == "done"
    assert [caller.operation.epoch] == epochs
    *_, last = world.storage.events(world.merchant_id, caller.operation.subject_id)
    assert last.type.endswith(".late_answer")
    caller.ends("replayed")


def test_a_caller_is_stalled_before_it_sends(caller: Caller) -> None:
    def slowly(commit: Commit, changes: Changes) -> None:
        commit(changes)
        caller.waits(LEASE_S)

    shaken(caller, 1, slowly)
    assert caller.calls() == "outcome_unknown"
    assert (caller.stored, caller.sent) == ("in_doubt", [])
    caller.ends_as_not_done()


def test_a_late_approval_of_what_was_booked_as_aborted(tmp_path: Path) -> None:
    """The bank forgets reversals, so that a person had to decide, and decided too early."""
    world = World(
        tmp_path / "shop.db",
        capabilities=evolve(FULL_CAPABILITIES, reversal_remembers_unknown=False),
    )
    caller = Caller(world, "charge")

    def give_up(_: object) -> None:
        world.wire.before = lambda _: None
        world.start()
        world.recover_all()
        resolve(caller, "aborted")

    world.wire.before = give_up
    assert caller.calls() == "needs_review"
    assert caller.stored == "needs_review"
    resolve(caller, "succeeded")
    caller.ends("replayed")
    world.close()


@pytest.mark.parametrize("when", ["before it is taken over", "while the bank is asked"])
def test_two_repeats_run_at_once(caller: Caller, when: str) -> None:
    """The second comes from another process, while the first is at it."""
    world, second = caller.world, list[str]()

    def meanwhile() -> None:
        world.through, world.wire.heard = lambda storage: storage, lambda reply: reply
        world.start()
        second.append(caller.calls())

    def overtaken(commit: Commit, changes: Changes) -> None:
        meanwhile()
        commit(changes)

    def heard(reply: BankReply) -> BankReply:
        meanwhile()
        return reply

    world.bank.next(Fault.LOSE_REPLY)
    assert caller.calls() == "outcome_unknown"
    if when == "before it is taken over":
        shaken(caller, 1, overtaken)
    else:
        world.wire.heard = heard
    assert caller.calls() == "replayed"
    assert second == ["replayed" if when == "before it is taken over" else "outcome_unknown"]
    assert len(world.wire.inquired) == 1
    caller.ends("replayed")


def test_the_clock_jumps(caller: Caller) -> None:
    """Half an hour back, another day, and then ten years ahead."""
    caller.dies("bank.send", "after")
    caller.waits(-1_800)
    assert caller.calls() == "operation_in_progress"
    assert caller.world.pay.recover().examined == 0
    caller.waits(-86_400)
    assert caller.calls() == "replayed"
    caller.world.now += timedelta(days=3_650)
    assert caller.calls() == "replayed"
    caller.ends("replayed")


@forks
def test_the_process_forks(file_caller: Caller) -> None:
    """Parent and child go on with the client that was open; what one did, the other is told."""
    caller = file_caller
    assert caller.stored == "nothing", "the parent's connection is open"

    def child() -> None:
        assert caller.calls() == "done"

    assert exit_of(child) == 0
    assert caller.calls() == "replayed"
    caller.ends("replayed")


def exit_of(work: Callable[[], object]) -> int | None:
    """How a forked process ends that does it."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join(60)
    return child.exitcode


def resolve(caller: Caller, outcome: str) -> None:
    caller.world.shop.operations.resolve(
        caller.operation.id, outcome=outcome, actor="Grace", reason="the bank's statement"
    )


# -- in recovery -----------------------------------------------------------------------------------


def test_recovery_stops_before_it_asks_the_bank(caller: Caller) -> None:
    caller.world.bank.next(Fault.LOSE_REPLY)
    assert caller.calls() == "outcome_unknown"
    epoch, asked = caller.operation.epoch, caller.world.wire.calls
    caller.recovery_dies("storage.commit", "after")
    assert (caller.stored, caller.operation.epoch) == ("in_doubt", epoch + 1)
    assert caller.calls() == "outcome_unknown"
    assert caller.world.pay.recover().examined == 0
    assert caller.world.wire.calls == asked
    caller.waits(LEASE_S)
    assert caller.calls() == "replayed"
    caller.ends("replayed")


def test_recovery_stops_before_it_has_decided_to_reverse(charger: Caller) -> None:
    caller = charger
    caller.world.bank.next(Fault.LOSE_REQUEST)
    assert caller.calls() == "outcome_unknown"
    caller.waits(IN_FLIGHT_S)
    caller.recovery_dies("storage.commit", "before", 2)
    assert (caller.stored, caller.sent) == ("in_doubt", ["sale"])
    assert caller.calls() == "outcome_unknown"
    caller.ends("aborted")


@pytest.mark.parametrize("lost", ["never sent", Fault.LOSE_REQUEST, Fault.LOSE_REPLY])
def test_the_reversal_is_not_sent_or_its_answer_is_lost(charger: Caller, lost: Fault | str) -> None:
    caller = charger
    caller.world.bank.next(Fault.LOSE_REQUEST)
    assert caller.calls() == "outcome_unknown"
    caller.waits(IN_FLIGHT_S)
    if isinstance(lost, Fault):
        caller.world.bank.next(lost, on=Call.REVERSAL)
        caller.world.pay.recover()
    else:
        caller.recovery_dies("bank.send", "before")
    assert caller.stored == "reversing"
    assert caller.calls() == "outcome_unknown"
    caller.ends("aborted")
    assert caller.sent.count("reversal") == (2 if isinstance(lost, Fault) else 1)


@pytest.mark.parametrize("stored", ["reversing", "aborted"])
def test_the_first_request_arrives_after_its_reversal(charger: Caller, stored: str) -> None:
    caller, world = charger, charger.world
    world.wire.declares = evolve(FULL_CAPABILITIES, max_in_flight_s=1.0)
    world.start()
    world.bank.next(Fault.DELAY_REQUEST)
    assert caller.calls() == "outcome_unknown"
    caller.waits(2)
    world.bank.next(Fault.LOSE_REPLY if stored == "reversing" else None, on=Call.REVERSAL)
    world.pay.recover()
    assert caller.stored == stored
    assert world.bank.deliver_late() == 1
    caller.ends("aborted")


def test_the_bank_cannot_be_asked_again_and_again(caller: Caller) -> None:
    world = caller.world
    world.bank.next(Fault.LOSE_REPLY)
    assert caller.calls() == "outcome_unknown"
    world.bank.down()
    for _ in Settings().recovery_schedule_s:
        assert caller.stored == "in_doubt"
        caller.waits(104_000)
        world.pay.recover()
    assert caller.calls() == "needs_review"
    assert caller.operation.id in [o.id for o in world.shop.operations.list_unresolved()]
    world.bank.up()
    resolve(caller, "succeeded")
    caller.ends("replayed")


# -- notices ---------------------------------------------------------------------------------------


def the_notice(world: World) -> BankNotice:
    (notice,) = world.bank.notices()
    return notice


def test_a_notice_comes_before_recovery_and_again_after_it(caller: Caller) -> None:
    world = caller.world
    world.bank.next(Fault.DELAY_REQUEST)
    assert caller.calls() == "outcome_unknown"
    caller.waits(30)
    for _ in range(2):
        world.pay.notices.apply(the_notice(world))
        assert caller.stored == "succeeded"
    events = world.storage.events(world.merchant_id, caller.operation.subject_id)
    assert [event.type.partition(".")[2] for event in events].count("succeeded") == 1 + (
        caller.verb == "capture"
    )
    caller.ends("replayed")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_program_dies_while_it_books_a_notice(caller: Caller, moment: Moment) -> None:
    world = caller.world
    world.bank.next(Fault.DELAY_REQUEST)
    assert caller.calls() == "outcome_unknown"
    caller.waits(30)
    world.start(Doom("storage.commit", moment))
    with pytest.raises(Died):
        world.pay.notices.apply(the_notice(world))
    world.start()
    assert caller.stored == ("in_doubt" if moment == "before" else "succeeded")
    world.pay.notices.apply(the_notice(world))
    assert caller.stored == "succeeded"
    caller.ends("replayed")


def test_the_bank_takes_back_what_succeeded(world: World) -> None:
    caller = Caller(world, "capture")
    world.bank.next(Fault.TAKE_BACK)
    assert caller.calls() == "done"
    caller.waits(86_400)
    world.pay.notices.apply(the_notice(world))
    assert caller.stored == "reversed"
    assert caller.calls() == "replayed"
    assert world.shop.payments.get(caller.operation.subject_id).facts.captured == 0
    agree(world)


# -- events ----------------------------------------------------------------------------------------


def test_the_outcome_is_committed_and_its_event_is_not_handed_on(caller: Caller) -> None:
    caller.dies("storage.commit", "after", 2)
    waiting = [event.type for event in caller.world.pay.events.pending()]
    assert f"{caller.operation.kind}.succeeded" in waiting


def test_an_event_is_handed_on_and_not_marked(caller: Caller) -> None:
    world, received = caller.world, list[str]()

    def hand_on() -> None:
        waiting = world.pay.events.pending()
        received.extend(event.id for event in waiting)
        world.pay.events.mark_published(waiting)

    assert caller.calls() == "done"
    world.start(Doom("storage.mark_published", "before"))
    with suppress(Died):
        hand_on()
    world.start()
    hand_on()
    once = len(received) // 2
    assert received[:once] == received[once:] != []
    assert world.pay.events.pending() == ()


# -- after a restore -------------------------------------------------------------------------------


def test_the_books_are_older_than_the_bank(file_caller: Caller, tmp_path: Path) -> None:
    caller, storage = file_caller, file_caller.world.storage
    assert isinstance(storage, SQLiteStorage)
    storage.backup(tmp_path / "older.db")
    assert caller.calls() == "done"
    forgotten = caller.operation.id
    world = caller.world
    world._file = tmp_path / "older.db"
    world.start()
    assert caller.stored == "nothing"
    assert world.pay.recover().examined == 0
    assert world.pay.doctor().ok
    assert differences(world.pay, world.bank) == (0, [forgotten])
