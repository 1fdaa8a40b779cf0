"""Draws histories from a seed: the same ones each time, and each unlike the one before.

Law of this file: a number goes in, a history comes out, and nothing else has a say. Each history
has a temper of its own: some are quiet but for crashes, some have callers that stand still all the
time, some a bank that never answers straight. Histories that have a little of everything alike
would hardly ever have much of one thing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from typing import Final, TypeVar

from attrs import evolve, frozen

from payplatform.banks.simulated import Fault
from payplatform.testing.simulate.steps import (
    NO_TROUBLE,
    AnswerDispute,
    Crash,
    Decide,
    DecideDispute,
    Door,
    FollowUp,
    GoOn,
    Hear,
    History,
    OpenDispute,
    Pay,
    PayOut,
    Plan,
    PowerCut,
    Publish,
    Reconcile,
    Recover,
    Repeat,
    Skew,
    Step,
    StoreFault,
    Trouble,
    Verify,
    Wait,
)
from payplatform.testing.simulate.world import BANKS, is_harmless

T = TypeVar("T")

STEPS: Final = 30
"""How many steps a history has, about."""

HONEST_FAULTS: Final = frozenset(
    fault for fault in Fault if any(is_harmless(fault, bank) for bank in BANKS.values())
)
"""What may go wrong with a bank that keeps every promise our books rest on."""

# Twice the same request at a bank that does it twice: no protocol can help.
_NEEDS_DEDUP: Final = frozenset(
    {
        Fault.DELIVER_TWICE,
        Fault.DELAY_REQUEST,
        Fault.DELAY_PAST_INQUIRY,
        Fault.DELAY_PAST_PROMISE,
    }
)

# Some go wrong together in the same way.
_FAMILIES: Final = (
    (Fault.DELAY_REQUEST, Fault.DELAY_PAST_INQUIRY, Fault.DELAY_PAST_PROMISE),
    (Fault.LOSE_REQUEST, Fault.LOSE_REPLY, Fault.DOWN),
    (Fault.TAKE_BACK, Fault.LOSE_REPLY),
)

_CARDS: Final = (
    *("approves",) * 12,
    *("declines", "lost", "insufficient_funds"),
    *("needs_challenge",) * 3,
    *("needs_challenge_once", "declines_after_challenge"),
    *("refunds_later", "refunds_fail_later", "refuses_refunds"),
)
# Never two: half of it approved, and told with one more on a bad wire, would be what was asked for.
_AMOUNTS: Final = (100, 100, 100, 100, 101, 60, 3, 1)
# Alone they fit, and any two of them are too much by one.
_PARTS: Final = (None, None, 50, 51, 51, 40, 60, 61, 1, 100, 101)
_CURRENCIES: Final = ("EUR", "EUR", "JPY", "KWD")
_WAITS: Final = (
    (1, 46, 46, 46, 61, 61, 120, 600, 3_600, 86_400, 8 * 86_400),
    (46, 61),
    (46, 61, 3_700, 3_700),
)
# Most calls commit their intent at their fifth port call, ask the bank at the sixth, and then book.
_STOPS: Final = (*(5, 6, 7, 8) * 4, *(2, 3) * 2, *range(1, 15))
_SKEWS: Final = (0, 0, 46, -46, 120, 3_600, -3_600, -86_400, 86_400, 10 * 365 * 86_400)
_FOLLOWING: Final = ("capture", "capture", "capture", "refund", "refund", "refund")
_OTHERS: Final = ("void", "void", "increment", "retry", "resume")


@frozen(kw_only=True)
class _Temper:
    """How likely things are in one history.

    Attributes:
        bank: that something goes wrong with a call's bank calls.
        commits: with its commits.
        stops: that a caller stands still.
        bursts: that a follow-up comes several times at once.
        waits: how long may be waited, in seconds.
        faults: what may go wrong with a bank call.
        books: that the books are at work: disputes, reports, payouts.
    """

    bank: float
    commits: float
    stops: float
    bursts: float
    waits: Sequence[int]
    faults: Sequence[Fault]
    books: float


def draw(seed: int, number: int, faults: Collection[Fault] = HONEST_FAULTS) -> History:
    """Draw a history.

    Args:
        seed: which sequence of histories.
        number: which history of it, counted from 0.
        faults: what may go wrong at the bank.
    """
    chance = random.Random(f"{seed}/{number}")  # noqa: S311  # to be repeatable, not unguessable
    return _Drawing(chance, frozenset(faults)).history(chance.getrandbits(32))


def _alone(draw_one: Callable[[], Step]) -> Callable[[], Sequence[Step]]:
    """What draws a step, as what draws several."""
    return lambda: (draw_one(),)


class _Drawing:
    """One history being drawn."""

    def __init__(self, chance: random.Random, faults: frozenset[Fault]) -> None:
        self._chance = chance
        self._bank = chance.choice([*["that can everything"] * 4, *sorted(BANKS)])
        possible = sorted(faults - self._impossible())
        if faults <= HONEST_FAULTS:
            possible = [fault for fault in possible if is_harmless(fault, BANKS[self._bank])]
        if self._happens(0.25):
            family = chance.choice(_FAMILIES)
            possible = [fault for fault in possible if fault in family]
        few = chance.sample(possible, k=min(len(possible), chance.choice([1, 2, 4, 30])))
        books = chance.choice([0.0, 0.0, 0.0, 1.0, 2.0])
        self._temper = _Temper(
            bank=chance.choice([0.0, 0.15, 0.3, 0.6]),
            commits=chance.choice([0.0, 0.0, 0.1, 0.3]),
            stops=chance.choice([0.0, 0.2, 0.5, 0.8]),
            bursts=chance.choice([0.0, 0.2, 0.5]),
            waits=chance.choice(_WAITS),
            faults=few,
            books=books,
        )
        kinds = {
            _alone(self._pay): 4,
            self._follow_ups: 9,
            self._overtaken: 0.7,
            self._overtaken_recovery: 0.4,
            self._arrived_late: 0.3,
            _alone(self._repeat): 3,
            _alone(self._recover): 3,
            _alone(self._go_on): chance.choice([2, 6]),
            _alone(self._wait): 4,
            _alone(self._crash): chance.choice([0, 1, 3]),
            _alone(self._hear): 2,
            _alone(self._publish): 1,
            _alone(self._verify): 0.5,
            _alone(self._power_cut): chance.choice([0, 0, 1]),
            _alone(self._skew): chance.choice([0, 0, 0, 1]),
            self._outage: 0.3,
            _alone(self._decide): 0.5,
            self._payouts: books / 2,
            self._paid_out: books / 2,
            self._two_at_one_report: books / 5,
            self._settled_day: books,
            _alone(self._reconcile): books,
            _alone(self._plan): books / 4,
            _alone(self._open_dispute): books / 2,
            self._disputed: books / 2,
            _alone(self._decide_dispute): books / 2,
            _alone(self._answer_dispute): books / 2,
        }
        self._kinds, self._weights = list(kinds), list(kinds.values())

    def history(self, seed: int) -> History:
        """Draw it."""
        merchants = self._chance.choice([1, 2, 2, 3])
        # The first payment goes well, so that there is something to go on with.
        first = evolve(self._pay(), amount_minor=100, card="approves", payer="customer")
        steps: list[Step] = [evolve(first, trouble=NO_TROUBLE)]
        most = self._chance.randint(STEPS // 2, STEPS * 3 // 2)
        while len(steps) < most:
            (kind,) = self._chance.choices(self._kinds, self._weights)
            steps += kind()
        return History(
            seed=seed,
            bank=self._bank,
            merchants=merchants,
            steps=tuple(steps),
            wakes=self._happens(0.5),
        )

    def _impossible(self) -> frozenset[Fault]:
        """What would have this bank do twice what it does not know again."""
        return _NEEDS_DEDUP if BANKS[self._bank].dedups_operation_id_s == 0 else frozenset()

    def _pay(self) -> Pay:
        return Pay(
            process=self._process(),
            merchant=self._chance.randrange(3),
            verb=self._chance.choice(["authorize", "authorize", "charge"]),
            amount_minor=self._chance.choice(_AMOUNTS),
            currency=self._chance.choice(_CURRENCIES),
            card=self._chance.choice(_CARDS),
            payer=self._chance.choice(["customer", "customer", "customer", "guest", "merchant"]),
            trouble=self._trouble(),
        )

    def _follow_ups(self) -> Sequence[Step]:
        """One, or several of one payment at once."""
        first = self._follow_up()
        if not self._happens(self._temper.bursts):
            return (first,)
        return (first, self._follow_up(payment=first.payment))

    def _overtaken(self) -> Sequence[Step]:
        """A call stands still for longer than its lease, is overtaken, and goes on."""
        call = self._pay() if self._happens(0.3) else self._follow_up()
        before_it_asks = Trouble(stops=(self._chance.choice([*_STOPS, *(6,) * 20]),))
        return (
            evolve(call, trouble=before_it_asks),
            Wait(seconds=self._chance.choice([46, 61, 61, 3_700])),
            self._recover(),
            Wait(seconds=self._chance.choice([1, 46, 3_700, 3_700])),
            # The one who fell asleep last.
            GoOn(caller=-1),
        )

    def _overtaken_recovery(self) -> Sequence[Step]:
        """Whoever recovers what a dead caller left behind stands still, and is overtaken too.

        The amount is one that would fit twice.
        """
        call = evolve(
            self._follow_up(),
            verb=self._chance.choice(["capture", "refund"]),
            amount_minor=self._chance.choice([50, 40, 1]),
            final=False,
        )
        stops = Trouble(stops=(self._chance.choice([2, 3, 4, 5, 5, 5, 6, 6]),))
        return (
            evolve(call, trouble=Trouble(stops=(6,))),
            Crash(process=call.process),
            Wait(seconds=61),
            Recover(process=self._process(), trouble=stops),
            Wait(seconds=61),
            Recover(process=self._process()),
            Wait(seconds=self._chance.choice([1, 46, 3_700, 3_700])),
            GoOn(caller=-1),
        )

    def _arrived_late(self) -> Sequence[Step]:
        """A payment arrives after recovery has asked about it, and before it reverses it."""
        return (
            evolve(self._pay(), card="approves", trouble=Trouble(stops=(7,))),
            Wait(seconds=61),
            Recover(process=0, trouble=Trouble(stops=(self._chance.choice([5, 5, 5, 6]),))),
            GoOn(caller=-2),
            Wait(seconds=61),
            Recover(process=1),
            GoOn(caller=-1),
        )

    def _follow_up(self, payment: int | None = None) -> FollowUp:
        verbs = _FOLLOWING if self._happens(0.75) else _OTHERS
        return FollowUp(
            process=self._process(),
            payment=self._near() if payment is None else payment,
            verb=self._chance.choice(verbs),
            willing=self._happens(0.8),
            amount_minor=self._chance.choice(_PARTS),
            final=self._happens(0.3),
            card=self._chance.choice(_CARDS),
            passes=self._chance.choice([True, True, True, False, None]),
            stranger=self._happens(0.04),
            trouble=self._trouble(),
        )

    def _verify(self) -> Step:
        return Verify(
            process=self._process(),
            merchant=self._chance.randrange(3),
            card=self._chance.choice(_CARDS),
            trouble=self._trouble(),
        )

    def _repeat(self) -> Step:
        return Repeat(
            process=self._process(),
            call=self._near(),
            otherwise=self._happens(0.1),
            trouble=self._trouble(),
        )

    def _recover(self) -> Recover:
        return Recover(process=self._process(), trouble=self._trouble())

    def _hear(self) -> Hear:
        return Hear(
            process=self._process(),
            notice=self._near(),
            again=self._happens(0.3),
            forged=self._happens(0.1),
            trouble=self._trouble(),
        )

    def _publish(self) -> Step:
        return Publish(process=self._process(), trouble=self._trouble())

    def _go_on(self) -> Step:
        calls = self._chance.choice([None, None, 1, 2, 3])
        return GoOn(caller=self._near(), calls=calls)

    def _crash(self) -> Step:
        return Crash(process=self._process())

    def _power_cut(self) -> Step:
        return PowerCut(seed=self._chance.randrange(1_000))

    def _wait(self) -> Step:
        return Wait(seconds=self._chance.choice(self._temper.waits))

    def _skew(self) -> Step:
        return Skew(process=self._process(), seconds=self._chance.choice(_SKEWS))

    def _outage(self) -> Sequence[Step]:
        """The bank is down for a while."""
        meanwhile = self._chance.choice([self._follow_up, self._repeat, self._recover])
        return (Door(is_open=False), meanwhile(), self._wait(), Door(is_open=True))

    def _decide(self) -> Step:
        return Decide(process=self._process())

    def _payouts(self) -> Sequence[Step]:
        """One, or several of one balance at once."""
        first = self._pay_out()
        if not self._happens(self._temper.bursts):
            return (first,)
        return (first, evolve(first, process=self._process(), trouble=self._trouble()))

    def _paid_out(self) -> Sequence[Step]:
        """Something is sold, settled and paid out; somebody else may be first at that."""
        payout = evolve(self._pay_out(), amount_minor=None)
        sold = self._sale(payout.merchant, payout.currency)
        settled = evolve(self._reconcile(), merchant=payout.merchant, report=0, trouble=NO_TROUBLE)
        steps = (sold, Wait(seconds=86_400), settled)
        if self._happens(0.5):
            return (*steps, payout)
        asleep = Trouble(stops=(self._chance.choice([3, 4, 5, 5, 6, 7]),))
        return (*steps, evolve(payout, trouble=asleep), payout, GoOn(caller=-1))

    def _pay_out(self) -> PayOut:
        return PayOut(
            process=self._process(),
            merchant=self._chance.randrange(3),
            currency=self._chance.choice(_CURRENCIES),
            amount_minor=self._chance.choice([None, None, None, *_PARTS]),
            trouble=self._trouble(),
        )

    def _two_at_one_report(self) -> Sequence[Step]:
        """What is settled becomes known between two who reconcile the same report.

        The one who knew less writes first, or last.
        """
        sold = evolve(self._pay(), verb="charge", amount_minor=100, trouble=Trouble(stops=(7,)))
        one, other = (evolve(self._reconcile(), merchant=sold.merchant, report=0) for _ in range(2))
        stops = Trouble(stops=(self._chance.choice([6, 7, 8, 8, 8, 9]),))
        return (
            sold,
            Wait(seconds=86_400),
            evolve(one, trouble=stops),
            Recover(process=self._process()),
            evolve(other, trouble=stops if self._happens(0.5) else NO_TROUBLE),
            GoOn(caller=-2),
            GoOn(caller=-1),
        )

    def _settled_day(self) -> Sequence[Step]:
        """A day is over, and the bank's report comes in."""
        return (Wait(seconds=86_400), evolve(self._reconcile(), report=0))

    def _reconcile(self) -> Reconcile:
        return Reconcile(
            process=self._process(),
            merchant=self._chance.randrange(3),
            report=self._near(),
            trouble=self._trouble(),
        )

    def _plan(self) -> Step:
        return Plan(
            process=self._process(),
            merchant=self._chance.randrange(3),
            currency=self._chance.choice(_CURRENCIES),
            seconds=self._chance.choice([1, 3_600, 86_400]),
            trouble=self._trouble(),
        )

    def _open_dispute(self) -> Step:
        return OpenDispute(payment=self._near(), amount_minor=self._chance.choice(_PARTS))

    def _disputed(self) -> Sequence[Step]:
        """Something is sold and disputed, and the merchant hears of it and answers."""
        sold = self._sale(self._chance.randrange(3), self._chance.choice(_CURRENCIES))
        disputed = OpenDispute(payment=0, amount_minor=self._chance.choice([None, 50, 1]))
        heard = evolve(self._hear(), notice=-1, forged=False, trouble=NO_TROUBLE)
        return (sold, disputed, heard, evolve(self._answer_dispute(), dispute=0))

    def _sale(self, merchant: int, currency: str) -> Pay:
        """One that goes well."""
        return evolve(
            self._pay(),
            merchant=merchant,
            currency=currency,
            verb="charge",
            amount_minor=100,
            card="approves",
            payer="customer",
            trouble=NO_TROUBLE,
        )

    def _decide_dispute(self) -> Step:
        outcome = self._chance.choice(["won", "lost", "reversed"])
        return DecideDispute(dispute=self._near(), outcome=outcome)

    def _answer_dispute(self) -> AnswerDispute:
        return AnswerDispute(
            process=self._process(),
            dispute=self._near(),
            accepts=self._happens(0.3),
            trouble=self._trouble(),
        )

    def _trouble(self) -> Trouble:
        temper, chance = self._temper, self._chance
        bank: tuple[Fault, ...] = ()
        if temper.faults and self._happens(temper.bank):
            bank = tuple(chance.choices(temper.faults, k=chance.choice([1, 1, 2])))
        commits: tuple[tuple[int, StoreFault], ...] = ()
        if self._happens(temper.commits):
            commits = ((chance.randint(1, 3), chance.choice(list(StoreFault))),)
        stops: tuple[int, ...] = ()
        if self._happens(temper.stops):
            stops = (chance.choice(_STOPS),)
        return Trouble(bank=bank, commits=commits, stops=stops)

    def _process(self) -> int:
        return self._chance.randrange(2)

    def _near(self) -> int:
        """A place, rather a recent one."""
        return self._chance.choice([0, 0, 0, 0, 1, 1, 2, 3])

    def _happens(self, likely: float) -> bool:
        return self._chance.random() < likely
