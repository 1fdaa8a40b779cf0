"""What can happen in a history, as data: each step is a value that means the same in any world.

Law of this file: a step holds everything that was drawn for it and nothing of what came before, so
that any step can be left out of a history and the rest still makes sense. That is what lets a long
history that fails be cut down to a short one. It points at things by a number (the second payment,
the third call), which is taken modulo how many there are.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from payplatform.banks.simulated import FAULTS, Fault


class StoreFault(StrEnum):
    """What becomes of a commit.

    The last two look the same to whoever commits: nobody can say whether it took place. They stand
    for an I/O error at the moment of the commit, after which it is there or is not.
    """

    CONFLICT = "conflict"
    BUSY = "busy"
    FAILED = "failed"
    UNCERTAIN_LOST = "uncertain_lost"
    UNCERTAIN_KEPT = "uncertain_kept"


_STORE_WORDS = {
    StoreFault.CONFLICT: "is told that somebody else was first",
    StoreFault.BUSY: "finds the store busy",
    StoreFault.FAILED: "fails",
    StoreFault.UNCERTAIN_LOST: "fails so that nobody knows, and did not take place",
    StoreFault.UNCERTAIN_KEPT: "fails so that nobody knows, and took place",
}


@frozen(kw_only=True)
class Trouble:
    """What goes wrong during one call.

    Attributes:
        bank: what goes wrong with its calls to the bank, in turn; a fault waits for the first call
            that it can strike.
        commits: what becomes of which of its commits, counted from 1.
        stops: before which of its port calls, counted from 1, it stands still until it is told to
            go on. The one after its last is the moment before it answers.
    """

    bank: tuple[Fault, ...] = ()
    commits: tuple[tuple[int, StoreFault], ...] = ()
    stops: tuple[int, ...] = ()

    def __str__(self) -> str:
        said = [f"{FAULTS[fault].words.rstrip('.')}" for fault in self.bank]
        said += [f"commit {at} {_STORE_WORDS[fault]}" for at, fault in self.commits]
        if self.stops:
            said.append("it stands still before port call " + ", ".join(map(str, self.stops)))
        return f" [{'; '.join(said)}]" if said else ""


NO_TROUBLE = Trouble()


@frozen(kw_only=True)
class Pay:
    """A charge or an authorization, with a new key.

    Attributes:
        process: which of the processes makes the call.
        merchant: whose payment.
        payer: a customer, a guest, or the merchant with the card of a customer on file.
    """

    process: int
    merchant: int
    verb: str
    amount_minor: int
    currency: str
    card: str
    payer: str
    trouble: Trouble = NO_TROUBLE

    def __str__(self) -> str:
        whose = {"merchant": ", started by the merchant", "guest": ", as a guest"}
        return (
            f"process {self.process}: {self.verb} {self.amount_minor} {self.currency} at merchant "
            f"{self.merchant} with the card {self.card}{whose.get(self.payer, '')}{self.trouble}"
        )


@frozen(kw_only=True)
class FollowUp:
    """What may follow on a payment, with a new key.

    Attributes:
        payment: which, counted back from the newest.
        verb: what is asked.
        willing: whether to ask for something else where the payment does not allow the verb.
        amount_minor: None for all there is.
        final: of a capture.
        card: of a retry.
        passes: of a resume: whether the cardholder has passed the challenge by then; None: not yet.
        stranger: whether another merchant asks for it, who must not find it.
    """

    process: int
    payment: int
    verb: str
    willing: bool = False
    amount_minor: int | None = None
    final: bool = False
    card: str = "approves"
    passes: bool | None = True
    stranger: bool = False
    trouble: Trouble = NO_TROUBLE

    def __str__(self) -> str:
        amount = "" if self.amount_minor is None else f" {self.amount_minor} of"
        final = " (final)" if self.final else ""
        stranger = ", by another merchant" if self.stranger else ""
        willing = " (or what is allowed)" if self.willing else ""
        return (
            f"process {self.process}: {self.verb}{willing}{amount} payment {-1 - self.payment}"
            f"{final}{stranger}{self.trouble}"
        )


@frozen(kw_only=True)
class Verify:
    """The bank is asked about a card without moving money."""

    process: int
    merchant: int
    card: str
    trouble: Trouble = NO_TROUBLE

    def __str__(self) -> str:
        return (
            f"process {self.process}: verify the card {self.card} of merchant "
            f"{self.merchant}{self.trouble}"
        )


@frozen(kw_only=True)
class Repeat:
    """An earlier call once more, with its key: as it was, or otherwise, which must be refused.

    Attributes:
        call: which, counted back from the newest.
    """

    process: int
    call: int
    otherwise: bool = False
    trouble: Trouble = NO_TROUBLE

    def __str__(self) -> str:
        otherwise = " for something else" if self.otherwise else ""
        return (
            f"process {self.process}: repeat call {-1 - self.call} with its key"
            f"{otherwise}{self.trouble}"
        )


@frozen(kw_only=True)
class Recover:
    """A run of recovery, and of whatever else is due."""

    process: int
    trouble: Trouble = NO_TROUBLE

    def __str__(self) -> str:
        return f"process {self.process}: recover{self.trouble}"


@frozen(kw_only=True)
class Hear:
    """A notice of the bank is handed in: any of those that it has ever sent, in any order.

    Attributes:
        notice: which, counted from the oldest that is not acknowledged; or from all.
        again: whether one that was acknowledged may be handed in once more.
        forged: whether somebody else wrote it, who has seen one of the bank's.
    """

    process: int
    notice: int
    again: bool = False
    forged: bool = False
    trouble: Trouble = NO_TROUBLE

    def __str__(self) -> str:
        again = ", maybe heard before," if self.again else ""
        whose = "somebody who forges notices" if self.forged else "the bank"
        return f"process {self.process}: hear notice {self.notice}{again} of {whose}{self.trouble}"


@frozen(kw_only=True)
class PayOut:
    """The merchant is paid out, with a new key.

    Attributes:
        amount_minor: None for all that is payable.
    """

    process: int
    merchant: int
    currency: str
    amount_minor: int | None = None
    trouble: Trouble = NO_TROUBLE

    def __str__(self) -> str:
        amount = "all there is in" if self.amount_minor is None else f"{self.amount_minor}"
        return (
            f"process {self.process}: pay {amount} {self.currency} out to merchant "
            f"{self.merchant}{self.trouble}"
        )


@frozen(kw_only=True)
class Plan:
    """The merchant is to be paid out every day from here on.

    Attributes:
        seconds: until the first time.
    """

    process: int
    merchant: int
    currency: str
    seconds: int
    trouble: Trouble = NO_TROUBLE

    def __str__(self) -> str:
        return (
            f"process {self.process}: pay {self.currency} out to merchant {self.merchant} every "
            f"day, first in {self.seconds} seconds{self.trouble}"
        )


@frozen(kw_only=True)
class Reconcile:
    """A report of the bank is laid beside the books: any of those there are, in any order.

    Attributes:
        report: which of those that tell of anything, counted back from the latest.
    """

    process: int
    merchant: int
    report: int
    trouble: Trouble = NO_TROUBLE

    def __str__(self) -> str:
        return (
            f"process {self.process}: reconcile report {-1 - self.report} of merchant "
            f"{self.merchant}{self.trouble}"
        )


@frozen(kw_only=True)
class OpenDispute:
    """The cardholder's bank disputes what was taken for a payment.

    Attributes:
        payment: which, counted back from the newest.
        amount_minor: None for all there is.
    """

    payment: int
    amount_minor: int | None = None

    def __str__(self) -> str:
        amount = "all" if self.amount_minor is None else f"{self.amount_minor}"
        return f"the cardholder's bank disputes {amount} of payment {-1 - self.payment}"


@frozen(kw_only=True)
class DecideDispute:
    """The cardholder's bank decides a dispute, maybe otherwise than before, or takes it back.

    Attributes:
        dispute: which, counted back from the newest.
        outcome: `won` or `lost` by the merchant, or `reversed`.
    """

    dispute: int
    outcome: str

    def __str__(self) -> str:
        return f"the cardholder's bank has dispute {-1 - self.dispute} {self.outcome}"


@frozen(kw_only=True)
class AnswerDispute:
    """The merchant says something to a dispute.

    Attributes:
        dispute: which, counted back from the newest.
        accepts: whether it lets the money go, or submits evidence.
    """

    process: int
    dispute: int
    accepts: bool = False
    trouble: Trouble = NO_TROUBLE

    def __str__(self) -> str:
        verb = "accept" if self.accepts else "submit evidence to"
        return f"process {self.process}: {verb} dispute {-1 - self.dispute}{self.trouble}"


@frozen(kw_only=True)
class Publish:
    """A relay reads the outbox, hands the events on, and marks them; or dies before it does."""

    process: int
    trouble: Trouble = NO_TROUBLE

    def __str__(self) -> str:
        return f"process {self.process}: hand on the events that wait{self.trouble}"


@frozen(kw_only=True)
class GoOn:
    """A caller that stands still goes on: for so many port calls, or to its end."""

    caller: int
    calls: int | None = None

    def __str__(self) -> str:
        how = "to its end" if self.calls is None else f"for {self.calls} port calls"
        return f"sleeping caller {self.caller} goes on {how}"


@frozen(kw_only=True)
class Crash:
    """A process dies, with every caller that stands still in it, and starts anew."""

    process: int

    def __str__(self) -> str:
        return f"process {self.process} dies and starts anew"


@frozen(kw_only=True)
class PowerCut:
    """All processes die, and the disk loses what it was not told to keep.

    Attributes:
        seed: which part of what was not synced is lost.
    """

    seed: int

    def __str__(self) -> str:
        return "the power fails"


@frozen(kw_only=True)
class Wait:
    """Time passes."""

    seconds: int

    def __str__(self) -> str:
        return f"{self.seconds} seconds pass"


@frozen(kw_only=True)
class Skew:
    """The clock of one process is wrong from here on by so many seconds; 0 mends it."""

    process: int
    seconds: int

    def __str__(self) -> str:
        return f"the clock of process {self.process} is {self.seconds} seconds ahead"


@frozen(kw_only=True)
class Door:
    """The bank refuses connections, or takes them again."""

    is_open: bool

    def __str__(self) -> str:
        return "the bank is up" if self.is_open else "the bank is down"


@frozen(kw_only=True)
class Decide:
    """A person looks at the bank's statement and resolves what needs review."""

    process: int

    def __str__(self) -> str:
        return f"process {self.process}: a person resolves what needs review"


Call = (
    Pay
    | FollowUp
    | Verify
    | Repeat
    | Recover
    | Hear
    | Publish
    | PayOut
    | Plan
    | Reconcile
    | AnswerDispute
)
Step = Call | GoOn | Crash | PowerCut | Wait | Skew | Door | Decide | OpenDispute | DecideDispute


@frozen(kw_only=True)
class History:
    """What happens, in order, and to whom.

    Attributes:
        seed: what ids are made from.
        bank: what the bank can do; a name of `worlds.BANKS`.
        merchants: how many share the platform.
        steps: what happens.
        wakes: whether callers that stand still at the end go on, or die.
    """

    seed: int
    bank: str
    merchants: int
    steps: tuple[Step, ...]
    wakes: bool = True
