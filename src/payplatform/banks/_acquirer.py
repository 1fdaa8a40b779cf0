"""The acquirer's rules: what is done with an order, and what is written for it.

Law of this file: an order is looked for among those that were answered before it is done, and what
it may do is bounded by the books alone, never by what the caller believes. Orders come without
their card. Nothing here reads a clock: a desk is told what time it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

import attrs
from attrs import evolve, frozen

from payplatform._domain.declines import ISO8583_DECLINES, DeclineCode
from payplatform._domain.disputes import DisputeState
from payplatform._domain.messages import BankCapabilities, ReplyOutcome, RequestKind
from payplatform._domain.money import MAX_MINOR
from payplatform.banks._books import Transaction
from payplatform.banks._positions import Position, position_of
from payplatform.banks._rows import (
    ASKED,
    Answer,
    Late,
    Line,
    LineKind,
    LineState,
    Order,
    Reversal,
)
from payplatform.banks._test_cards import Refunds


class _Refused(Exception):
    """The acquirer's own no: the decline's code, and a word for the rule that was broken."""

    def __init__(self, code: DeclineCode, bank_code: str) -> None:
        super().__init__(code, bank_code)
        self.code = code
        self.bank_code = bank_code


@frozen(kw_only=True)
class Terms:
    """What the bank offers, and how long things take it.

    Attributes:
        challenge: for how long a cardholder may take up a challenge.
        pending: after how long a pending refund is decided, or what is to be taken back is.
        challenge_url: what an action's address starts with.
    """

    capabilities: BankCapabilities
    challenge: timedelta
    pending: timedelta
    challenge_url: str


@frozen(kw_only=True)
class _Account:
    """An approved sale or authorization that an order works on."""

    target: Answer
    position: Position
    is_expired: bool

    def held(self) -> int:
        """What may be captured, voided or raised now; more than nothing."""
        if self.is_expired:
            raise _Refused(DeclineCode.TRANSACTION_NOT_ALLOWED, "authorization_expired")
        if self.position.uncaptured <= 0:
            raise _Refused(DeclineCode.TRANSACTION_NOT_ALLOWED, "nothing_held")
        return self.position.uncaptured


_STARTING: Final = frozenset({RequestKind.SALE, RequestKind.AUTHORIZE})
REVERSED: Final = (DeclineCode.GENERIC_DECLINE, "reversed")
_TAKEN_BACK: Final = (DeclineCode.GENERIC_DECLINE, "taken_back")
_OTHER_CONTENT: Final = (DeclineCode.DUPLICATE_TRANSACTION, "other_content")


@frozen(kw_only=True)
class Desk:
    """Where orders are taken: the bank's terms, its books in one transaction, and the time."""

    terms: Terms
    books: Transaction
    now: datetime

    def handle(self, order: Order) -> Answer:
        """Answer an order: as before if it was answered, else by doing it.

        The same operation id with other content is declined and changes nothing. So is one that was
        reversed, seen or unseen. Where ids are not remembered, or no longer, it is done once more.
        """
        if order.kind is RequestKind.REVERSAL:
            return self._do(order)
        earlier = self.books.answer(order.merchant_id, order.operation_id)
        told = None if order.forgets else self._told_before(order, earlier)
        if told is not None:
            return told
        answer = self._do(order)
        self.books.forget_reversal(order.merchant_id, order.operation_id)
        if earlier is None or earlier.outcome is ReplyOutcome.DECLINED:
            return self._kept(answer)
        return answer  # what was approved once stays what an inquiry is told

    def _told_before(self, order: Order, earlier: Answer | None) -> Answer | None:
        """The answer to an order that the bank remembers, be it by its reversal; else None."""
        reversal = self.books.reversal(order.merchant_id, order.operation_id)
        remembers = self._offers.reversal_remembers_unknown
        if reversal and (remembers or self._is_recent(reversal.at)):
            return earlier or self._kept(self._declined(order, *REVERSED))
        if earlier and self._is_recent(earlier.answered_at):
            same = earlier.content == order.content
            return earlier if same else self._declined(order, *_OTHER_CONTENT)
        return None

    def fall_due(self) -> None:
        """Let everything happen that was to happen by now, in the order of its time."""
        while True:
            due = next(iter(self.books.due_answers(self.now)), None)
            late = next(iter(self.books.late(self.now)), None)
            due_at = due.due_at if due else None
            if late and (due_at is None or late.arrives_at < due_at):
                evolve(self, now=late.arrives_at).deliver(late)
            elif due is None or due_at is None:
                return
            else:
                evolve(self, now=due_at).let_happen(due)

    def let_happen(self, due: Answer) -> None:
        """Decide what an answer has been waiting for, or let it expire, and tell."""
        if due.outcome is ReplyOutcome.PENDING:
            self.end_pending(due, succeed=due.refunds is Refunds.PENDING_THEN_APPROVED)
        elif due.kind is RequestKind.AUTHORIZE and due.outcome is ReplyOutcome.APPROVED:
            self.books.save(evolve(due, due_at=None))
            self._tell_of_expiry(due)
        elif due.outcome is ReplyOutcome.APPROVED:
            self._take_back(due)
        else:
            self.tell(self.end_challenge(due, passed=False))

    def deliver(self, late: Late) -> None:
        """Take an order off the way and answer it; nobody hears the answer, so a notice tells."""
        self.books.arrived(late)
        self.handle(Order(**{name: getattr(late, name) for name in attrs.fields_dict(Order)}))
        told = self.books.answer(late.merchant_id, late.operation_id)
        if told is not None:
            self.tell(told)

    def tell(self, answer: Answer) -> None:
        """Leave a notice of an answer for its merchant."""
        self.books.tell(answer, self.now)

    def _take_back(self, approved: Answer) -> None:
        """Go back on a capture or a refund, unless what came after it rests on it."""
        if self._stands_without(approved):
            self.tell(self._unbook(approved, *_TAKEN_BACK))
            target = self.books.answer(approved.merchant_id, approved.target_id or "")
            if target is not None and target.due_at is None:
                self._tell_of_expiry(target)
        else:
            self.books.save(evolve(approved, due_at=None))

    def _tell_of_expiry(self, authorization: Answer) -> None:
        """Tell how much of an authorization has expired in all, if anything has."""
        for line in self.expiry(authorization):
            self.books.tell(authorization, self.now, expired_minor=line.amount_minor)

    def end_pending(self, pending: Answer, *, succeed: bool) -> None:
        """Decide a pending refund, and tell."""
        state = LineState.BOOKED if succeed else LineState.REVERSED
        self.books.mark_lines(pending.merchant_id, pending.operation_id, state, self.now)
        if succeed:
            ended = evolve(pending, outcome=ReplyOutcome.APPROVED, due_at=None)
        else:
            ended = _turned_down(pending, DeclineCode.CLOSED_ACCOUNT)
        self.books.save(ended)
        self.tell(ended)

    def end_challenge(self, waiting: Answer, *, passed: bool) -> Answer:
        """Decide what waited for its cardholder."""
        if not passed:
            ended = _turned_down(waiting, DeclineCode.AUTHENTICATION_FAILED)
        elif waiting.after_challenge is not None:
            ended = _turned_down(waiting, waiting.after_challenge)
        else:
            ended = self._approved_start(waiting)
        self.books.save(ended)
        return ended

    def position(self, merchant_id: str, authorization_id: str) -> Position:
        """Where an authorization stands; all zeros if there is none."""
        lines = list(self.books.lines(merchant_id, authorization_id))
        authorization = self.books.answer(merchant_id, authorization_id)
        if authorization is not None:
            lines += self.expiry(authorization)
        return position_of(lines)

    def expiry(self, authorization: Answer) -> list[Line]:
        """The line for what is held no more because its time has passed, if anything is."""
        expires_at = authorization.expires_at
        approved = authorization.outcome is ReplyOutcome.APPROVED
        if expires_at is None or expires_at > self.now or not approved:
            return []
        lines = self.books.lines(authorization.merchant_id, authorization.operation_id)
        rest = position_of(lines).uncaptured
        if rest <= 0:
            return []
        line = self._line(authorization, authorization, LineKind.EXPIRY, rest)
        return [evolve(line, at=expires_at)]

    @property
    def _offers(self) -> BankCapabilities:
        return self.terms.capabilities

    def _is_recent(self, at: datetime) -> bool:
        return self.now - at < timedelta(seconds=self._offers.dedups_operation_id_s)

    def _kept(self, answer: Answer) -> Answer:
        self.books.save(answer)
        return answer

    def _do(self, order: Order) -> Answer:
        try:
            return self._done(order)
        except _Refused as refused:
            return self._declined(order, refused.code, refused.bank_code)

    def _done(self, order: Order) -> Answer:
        match order.kind:
            case RequestKind.SALE | RequestKind.AUTHORIZE:
                return self._start(order)
            case RequestKind.VERIFY:
                return self._verify(order)
            case RequestKind.RESUME:
                return self._resume(order)
            case RequestKind.PAYOUT:
                return self._pay_out(order)
            case RequestKind.REVERSAL:
                return self._reverse(order)
            case RequestKind.SUBMIT_EVIDENCE | RequestKind.ACCEPT_DISPUTE:
                return self._answer_case(order)
            case _:
                return self._follow_up(order, self._account(order))

    def _follow_up(self, order: Order, account: _Account) -> Answer:
        """Work on what was authorized before."""
        match order.kind:
            case RequestKind.INCREMENT:
                return self._increment(order, account)
            case RequestKind.CAPTURE:
                return self._capture(order, account)
            case RequestKind.VOID:
                return self._void(order, account)
            case _:
                return self._refund(order, account)

    def _start(self, order: Order) -> Answer:
        _require_positive(order)
        if order.decline_code is not None:
            return self._answer(order, ReplyOutcome.DECLINED)
        if not order.challenged:
            return self._approved_start(self._answer(order, ReplyOutcome.APPROVED))
        until = self.now + self.terms.challenge
        return evolve(
            self._answer(order, ReplyOutcome.REQUIRES_ACTION),
            action_url=self.terms.challenge_url + _name("challenge", order),
            expires_at=until,
            due_at=until,
        )

    def _approved_start(self, answer: Answer) -> Answer:
        halved = answer.in_part and answer.amount_minor > 1
        amount_minor = answer.amount_minor // 2 if halved else answer.amount_minor
        self.books.append(self._line(answer, answer, LineKind(answer.kind), amount_minor))
        lifetime_s = self._offers.authorization_lifetime_s
        holds = answer.kind is RequestKind.AUTHORIZE and lifetime_s is not None
        expires_at = self.now + timedelta(seconds=lifetime_s or 0) if holds else None
        return evolve(
            answer,
            outcome=ReplyOutcome.APPROVED,
            approved_minor=amount_minor,
            network_transaction_id=_name("net", answer),
            action_url=None,
            expires_at=expires_at,
            due_at=expires_at,
        )

    def _verify(self, order: Order) -> Answer:
        _require_offered(self._offers.zero_amount_verification)
        if order.amount_minor:
            raise _Refused(DeclineCode.INVALID_AMOUNT, "not_zero")
        if order.decline_code is not None:
            return self._answer(order, ReplyOutcome.DECLINED)
        answer = self._answer(order, ReplyOutcome.APPROVED)
        return evolve(answer, network_transaction_id=_name("net", order))

    def _resume(self, order: Order) -> Answer:
        waiting = self.books.answer(order.merchant_id, order.target_id or "")
        if waiting is None or waiting.kind not in _STARTING:
            raise _Refused(DeclineCode.TRANSACTION_NOT_ALLOWED, "no_such_operation")
        if (order.amount_minor, order.currency) != (waiting.amount_minor, waiting.currency):
            raise _Refused(DeclineCode.INVALID_AMOUNT, "other_amount")
        if waiting.outcome is ReplyOutcome.REQUIRES_ACTION and waiting.passed is not None:
            waiting = self.end_challenge(waiting, passed=waiting.passed)
        asked = {name: getattr(order, name) for name in ASKED}
        return evolve(waiting, **asked, answered_at=self.now, due_at=None)

    def _increment(self, order: Order, account: _Account) -> Answer:
        _require_offered(self._offers.increments)
        _require_positive(order)
        account.held()
        if account.position.captured:
            raise _Refused(DeclineCode.TRANSACTION_NOT_ALLOWED, "captured_already")
        if account.position.authorized + order.amount_minor > MAX_MINOR:
            raise _Refused(DeclineCode.INVALID_AMOUNT, "amount_too_large")
        return self._booked(order, account, LineKind.INCREMENT)

    def _capture(self, order: Order, account: _Account) -> Answer:
        rest = _rest_of(account.held(), order)
        answer = self._booked(order, account, LineKind.CAPTURE)
        if rest and self._closes(order):
            self.books.append(self._line(order, account.target, LineKind.RELEASE, rest))
        return self._for_a_while(answer, order.taken_back or account.target.taken_back)

    def _void(self, order: Order, account: _Account) -> Answer:
        rest = _rest_of(account.held(), order)
        _require_offered(self._offers.partial_void or not rest)
        return self._booked(order, account, LineKind.VOID)

    def _refund(self, order: Order, account: _Account) -> Answer:
        if account.position.refundable <= 0:
            raise _Refused(DeclineCode.TRANSACTION_NOT_ALLOWED, "nothing_to_refund")
        _rest_of(account.position.refundable, order)
        whole = order.amount_minor == account.position.captured
        _require_offered(self._offers.partial_refund or whole)
        refunds = account.target.refunds
        if refunds is Refunds.DECLINED:
            return _turned_down(
                self._answer(order, ReplyOutcome.DECLINED), DeclineCode.CLOSED_ACCOUNT
            )
        if refunds in (Refunds.APPROVED, Refunds.TAKEN_BACK):
            answer = self._booked(order, account, LineKind.REFUND)
            return self._for_a_while(answer, order.taken_back or refunds is Refunds.TAKEN_BACK)
        pending = self._booked(order, account, LineKind.REFUND, LineState.PENDING)
        due_at = self.now + self.terms.pending
        return evolve(pending, outcome=ReplyOutcome.PENDING, refunds=refunds, due_at=due_at)

    def _answer_case(self, order: Order) -> Answer:
        _require_offered(self._offers.answers_disputes)
        case = self.books.case(order.dispute_id or "")
        if case is None or case.merchant_id != order.merchant_id:
            raise _Refused(DeclineCode.TRANSACTION_NOT_ALLOWED, "no_such_dispute")
        if case.state is not DisputeState.OPENED:
            raise _Refused(DeclineCode.TRANSACTION_NOT_ALLOWED, "dispute_not_open")
        accepts = order.kind is RequestKind.ACCEPT_DISPUTE
        state = DisputeState.ACCEPTED if accepts else DisputeState.SUBMITTED
        self.books.save(evolve(case, state=state, evidence=order.evidence))
        return self._answer(order, ReplyOutcome.APPROVED)

    def _pay_out(self, order: Order) -> Answer:
        """Pay a merchant out. How much is owed to whom is not the bank's to know."""
        _require_offered(self._offers.payouts)
        _require_positive(order)
        self.books.append(self._line(order, order, LineKind.PAYOUT, order.amount_minor))
        return self._for_a_while(self._answer(order, ReplyOutcome.APPROVED), order.taken_back)

    def _reverse(self, order: Order) -> Answer:
        """Undo an operation whatever its kind, or remember that it is never to be done."""
        approved = self._answer(order, ReplyOutcome.APPROVED)
        if self.books.reversal(order.merchant_id, order.operation_id) is not None:
            return approved
        earlier = self.books.answer(order.merchant_id, order.operation_id)
        if earlier is not None:
            self._undo(earlier)
        elif not self._offers.reversal_remembers_unknown:
            raise _Refused(DeclineCode.TRANSACTION_NOT_ALLOWED, "no_such_operation")
        elif order.forgets:
            return approved
        self.books.save(
            Reversal(
                merchant_id=order.merchant_id,
                operation_id=order.operation_id,
                amount_minor=order.amount_minor,
                currency=order.currency,
                at=self.now,
            )
        )
        return approved

    def _undo(self, earlier: Answer) -> None:
        if earlier.kind is RequestKind.RESUME and earlier.outcome is not ReplyOutcome.DECLINED:
            # What it has set going is undone by the name of the operation that it resumed.
            raise _Refused(DeclineCode.TRANSACTION_NOT_ALLOWED, "reverse_the_resumed_operation")
        if earlier.dispute_id is not None or not self._stands_without(earlier):
            raise _Refused(DeclineCode.TRANSACTION_NOT_ALLOWED, "already_used")
        self._unbook(earlier, *REVERSED)

    def _stands_without(self, answer: Answer) -> bool:
        """Whether the books stay sound without what this operation has moved."""
        own = self.books.lines_by(answer.merchant_id, answer.operation_id)
        accounts = {line.authorization_id for line in own}
        books = (self.books.lines(answer.merchant_id, account) for account in accounts)
        return all(
            position_of(line for line in lines if line.operation_id != answer.operation_id).is_sound
            for lines in books
        )

    def _unbook(self, answer: Answer, code: DeclineCode, bank_code: str) -> Answer:
        """Let what an operation has moved count no more, and answer for it with a decline."""
        self.books.mark_lines(answer.merchant_id, answer.operation_id, LineState.REVERSED, self.now)
        if answer.kind is RequestKind.CAPTURE:
            self._release_rest(answer)
        if answer.outcome is ReplyOutcome.DECLINED:
            return answer
        return self._kept(_turned_down(answer, code, bank_code))

    def _release_rest(self, undone: Answer) -> None:
        """Let go of what comes back to an authorization that another capture has closed."""
        target = self.books.answer(undone.merchant_id, undone.target_id or "")
        if target is None:
            return
        lines = self.books.lines(undone.merchant_id, target.operation_id)
        rest = position_of(lines).uncaptured
        standing = (line for line in lines if line.state is LineState.BOOKED)
        captures = (line for line in standing if line.kind is LineKind.CAPTURE)
        answers = (self.books.answer(at.merchant_id, at.operation_id) for at in captures)
        closing = next((answer for answer in answers if answer and self._closes(answer)), None)
        if closing is not None and rest > 0:
            self.books.append(self._line(closing, target, LineKind.RELEASE, rest))

    def _closes(self, order: Order) -> bool:
        """Whether a capture lets go of the rest for as long as it stands."""
        return order.final or not self._offers.multi_capture

    def _account(self, order: Order) -> _Account:
        target = self.books.answer(order.merchant_id, order.target_id or "")
        approved = target is not None and target.outcome is ReplyOutcome.APPROVED
        if target is None or not approved or target.kind not in _STARTING:
            raise _Refused(DeclineCode.TRANSACTION_NOT_ALLOWED, "no_such_operation")
        if order.currency != target.currency:
            raise _Refused(DeclineCode.CURRENCY_NOT_SUPPORTED, "other_currency")
        lines = self.books.lines(order.merchant_id, target.operation_id)
        expires_at = target.expires_at
        return _Account(
            target=target,
            position=position_of(lines),
            is_expired=expires_at is not None and expires_at <= self.now,
        )

    def _booked(
        self,
        order: Order,
        account: _Account,
        kind: LineKind,
        state: LineState = LineState.BOOKED,
    ) -> Answer:
        line = self._line(order, account.target, kind, order.amount_minor)
        self.books.append(evolve(line, state=state))
        return self._answer(order, ReplyOutcome.APPROVED)

    def _for_a_while(self, answer: Answer, taken_back: bool) -> Answer:
        """The answer, falling due if it is to be taken back."""
        return evolve(answer, due_at=self.now + self.terms.pending if taken_back else None)

    def _line(self, order: Order, target: Order, kind: LineKind, amount_minor: int) -> Line:
        return Line(
            merchant_id=order.merchant_id,
            authorization_id=target.operation_id,
            operation_id=order.operation_id,
            kind=kind,
            amount_minor=amount_minor,
            currency=order.currency,
            brand=target.brand,
            last4=target.last4,
            at=self.now,
        )

    def _answer(self, order: Order, outcome: ReplyOutcome) -> Answer:
        return Answer(
            **attrs.asdict(order, recurse=False),
            outcome=outcome,
            approved_minor=order.amount_minor,
            reference=_name("ref", order),
            answered_at=self.now,
        )

    def _declined(self, order: Order, code: DeclineCode, bank_code: str) -> Answer:
        return _turned_down(self._answer(order, ReplyOutcome.DECLINED), code, bank_code)


_ISSUER_CODES: Final[Mapping[DeclineCode, str]] = MappingProxyType(
    {code: response for response, code in reversed(list(ISO8583_DECLINES.items()))}
    | {
        DeclineCode.EXPIRED_CARD: "54",
        DeclineCode.ISSUER_UNAVAILABLE: "91",
        DeclineCode.PROCESSING_ERROR: "96",
    }
)


def issuer_code(code: DeclineCode) -> str | None:
    """What an issuer sends for this decline: its commonest ISO 8583 code, if it has one."""
    return _ISSUER_CODES.get(code)


def _turned_down(answer: Answer, code: DeclineCode, bank_code: str | None = None) -> Answer:
    return evolve(
        answer,
        outcome=ReplyOutcome.DECLINED,
        decline_code=code,
        bank_code=bank_code or issuer_code(code),
        advice_code=None,
        approved_minor=answer.amount_minor,
        network_transaction_id=None,
        action_url=None,
        expires_at=None,
        due_at=None,
    )


def _require_positive(order: Order) -> None:
    if order.amount_minor <= 0:
        raise _Refused(DeclineCode.INVALID_AMOUNT, "not_positive")


def _require_offered(offered: bool) -> None:
    if not offered:
        raise _Refused(DeclineCode.TRANSACTION_NOT_ALLOWED, "not_offered")


def _rest_of(limit_minor: int, order: Order) -> int:
    """What an order leaves of the limit that it has to keep to."""
    _require_positive(order)
    if order.amount_minor > limit_minor:
        raise _Refused(DeclineCode.INVALID_AMOUNT, "amount_too_large")
    return limit_minor - order.amount_minor


_LETTERS: Final = str.maketrans("0123456789abcdef", "bcdfghjkmnpqrstv")


def _name(prefix: str, order: Order) -> str:
    """A name that follows from the operation alone, in letters: no digits, so never a card."""
    known_by = f"{prefix}/{len(order.merchant_id)}/{order.merchant_id}/{order.operation_id}"
    digest = hashlib.sha256(known_by.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{prefix}_{digest[:24].translate(_LETTERS)}"
