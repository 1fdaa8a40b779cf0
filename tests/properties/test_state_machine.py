"""Any history, of several merchants, on memory and SQLite side by side.

How: hypothesis draws commands, answers of cardholders, faults on the wire, deaths of our process at
any port call, processes that overtake one another, waiting, recovery. `Twins` has both platforms do
the same. After each step both must have told and written the same, and whatever was touched must
keep every invariant. In the end the bank is well again, time passes, recovery runs until nothing is
left to find out, a person decides what only a person can; then our books must say what the bank's
say, payment by payment.

A failure is told as it was found, since to shrink it takes longer than one test may take here. For
a longer run that also shrinks, say how many examples and steps:

    PAYPLATFORM_HISTORIES=2000,60 .venv/bin/pytest -o faulthandler_timeout=0 \\
        tests/properties/test_state_machine.py
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import evolve, field, frozen
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from sides import Overtaking, Side, Trouble
from twins import Told, Twins, challenge_of

from payplatform import Card, Money, NotFound, Operation, OperationKind, Payment, PaymentStatus
from payplatform._domain.operations import ANSWERED_STATES
from payplatform.banks.simulated import WIRE_FAULTS, Fault
from payplatform.testing.mortal import Death
from payplatform.testing.simulate.world import BANKS

APPROVES = ("4242424242424242", "5555555555554444", "378282246310005")
CARDS = (
    *(APPROVES * 4),
    "4000000000000002",  # declined
    "4000000000009987",  # lost
    "4000000000003220",  # a challenge each time
    "4000000000003220",
    "4000002500003155",  # a challenge until it is on file
    "4000008260003178",  # declined after a challenge
    "4000000000007726",  # a refund is pending, then succeeds
    "4000000000010308",  # a refund is pending, then is declined
    "4000000000010316",  # a refund is declined
)
CODES = {15: "9731", 16: "973"}
EXPIRY = "12/40"

NO_DEDUP = BANKS["that does not know an id again"]
# Twice the same request at a bank that does it twice: no protocol can help (reliability.md, 2.4 E).
NEEDS_DEDUP = frozenset({Fault.DELIVER_TWICE, Fault.DELAY_REQUEST, Fault.DELAY_PAST_INQUIRY})

PaymentOf = tuple[str, str]
"""A merchant's id and a payment's."""
Call = tuple[str, tuple[Any, ...], dict[str, Any]]
"""A method of `shop.payments`, what it is about, and further arguments but the key."""

faults = st.sampled_from(WIRE_FAULTS)
deaths = st.builds(Death, st.integers(1, 14), st.sampled_from(["before", "after"]))
overtakings = st.builds(
    Overtaking, st.sampled_from([46, 107, 4_000]), st.sampled_from(["before", "after"])
)
troubles = st.one_of(*[st.none()] * 5, faults, faults, deaths, overtakings)
numbers = st.sampled_from(CARDS)
starts = st.sampled_from(["authorize", "authorize", "charge"])
# Never two: half of it approved, and told with one more on a bad wire, would be what was asked for.
moneys = st.builds(
    Money.minor, st.sampled_from([1, 10, 99, 250, 600]), st.sampled_from(["EUR", "JPY", "KWD"])
)
waits = st.sampled_from([1, 46, 46, 61, 61, 600, 3_600, 86_400, 8 * 86_400])

FOLLOW_UPS = ("retry", "resume", "capture", "void", "refund", "increment")
LIMITS = {"capture": "capturable", "void": "voidable", "refund": "refundable"}


def known(what: str) -> st.SearchStrategy[Any]:
    """One of those that the history has made so far."""
    return st.runner().flatmap(lambda histories: st.sampled_from(getattr(histories, what)))


@frozen
class Asked:
    """A money-moving call: how to make it again, how to make it otherwise, and what it told.

    `state` is the operation's when it was told.
    """

    merchant_id: str
    key: str
    call: Call
    again: Callable[[Side], Any] = field(repr=False)
    otherwise: Callable[[Side], Any] = field(repr=False)
    told: Told = field(repr=False)
    state: str

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(repr(self))


class Histories(RuleBasedStateMachine):
    """What may happen next. Every rule is possible at any time, so that none crowds others out."""

    twins: Twins

    @initialize(bank=st.sampled_from(sorted(BANKS)), number=numbers, verb=starts, money=moneys)
    def open(self, bank: str, number: str, verb: str, money: Money) -> None:
        """One merchant, and one payment that nothing went wrong with."""
        self.bank = BANKS[bank]
        self.twins = Twins(self.bank, secrets={*CARDS, *CODES.values()})
        self.merchants: list[str] = []
        self.customers: dict[str, str] = {}
        self.payments: list[PaymentOf] = []
        self.asked: list[Asked] = []
        self.keys = 0
        self._add_merchant()
        self._start(self.merchants[0], number, verb, money)

    # -- taking money and giving it back

    @rule(
        merchant_id=known("merchants"),
        number=numbers,
        verb=starts,
        money=moneys,
        how=st.sampled_from(["customer", "customer", "guest", "merchant"]),
        trouble=troubles,
    )
    def start(self, **drawn: Any) -> None:
        self._start(**drawn)

    @rule(payment=known("payments"), data=st.data(), trouble=troubles)
    def go_on(self, payment: PaymentOf, data: st.DataObject, trouble: Trouble) -> None:
        self._go_on(payment, data, trouble)

    @rule(data=st.data(), trouble=troubles)
    def go_on_with_the_latest(self, data: st.DataObject, trouble: Trouble) -> None:
        self._go_on(self.payments[-1], data, trouble)

    @rule(data=st.data())
    def go_on_without_trouble(self, data: st.DataObject) -> None:
        self._go_on(self.payments[-1], data, None)

    @rule(asked=known("asked"), trouble=troubles)
    def repeat(self, asked: Asked, trouble: Trouble) -> None:
        """The same call with the same key: the same outcome, and nothing done twice."""
        before = self._operation(asked)
        is_final = before.state.is_final
        effects, written = self.twins.effects(before), self.twins.written
        told = self.twins.both(asked.again, None if is_final else self._possible(trouble))
        after = self._operation(asked)
        if is_final:
            assert after == before
            assert (effects, written) == (self.twins.effects(before), self.twins.written)
        if told.payment is not None:
            assert told.payment.replayed
            assert after.state in ANSWERED_STATES
        if after.state == asked.state:
            _same(asked.told, told)
        again = evolve(asked, told=told, state=str(after.state))
        self.asked[self.asked.index(asked)] = again

    # -- time, and what is no command about a payment

    @rule(seconds=waits, recovers=st.booleans(), trouble=troubles)
    def wait(self, seconds: int, recovers: bool, trouble: Trouble) -> None:
        self.twins.wait(seconds=seconds)
        if recovers:
            self.twins.both(lambda side: side.pay.recover(), self._possible(trouble))

    @rule(
        what=st.sampled_from(
            [
                "_add_merchant",
                "_add_customer",
                "_browse",
                "_come_up",
                "_delete_card",
                "_erase_customer",
                "_erase_merchant",
                "_go_down",
                "_look_at_anothers",
                "_restart",
                "_reuse_a_key",
                "_verify",
            ]
        ),
        merchant_id=known("merchants"),
        number=numbers,
        trouble=troubles,
    )
    def meanwhile(self, what: str, merchant_id: str, number: str, trouble: Trouble) -> None:
        getattr(self, what)(merchant_id=merchant_id, number=number, trouble=trouble)

    def _add_merchant(self, **_: Any) -> None:
        told = self.twins.both(lambda side: side.pay.merchants.create(name="Acme"))
        self.merchants.append(told.value.id)
        self._add_customer(merchant_id=told.value.id)

    def _add_customer(self, *, merchant_id: str, **_: Any) -> None:
        """From now on it is this one who pays this merchant."""
        told = self.twins.both(lambda side: side.shop(merchant_id).customers.create(name="Ada"))
        self.customers[merchant_id] = told.value.id

    def _delete_card(self, *, merchant_id: str, number: str, trouble: Trouble) -> None:
        """Its payments go on without it."""
        method_id = self._method(merchant_id, number)
        told = self.twins.both(
            lambda side: side.shop(merchant_id).payment_methods.delete(method_id),
            trouble if isinstance(trouble, Death) else None,
        )
        if not told.is_death:
            assert method_id not in self._stored_cards(merchant_id)

    def _erase_customer(self, *, merchant_id: str, trouble: Trouble, **_: Any) -> None:
        """With all their cards, and nobody else's."""
        customer_id, before = self.customers[merchant_id], self._stored_cards(merchant_id)
        told = self.twins.both(
            lambda side: side.shop(merchant_id).customers.erase(customer_id),
            trouble if isinstance(trouble, Death) else None,
        )
        if not told.is_death:
            left = {id_: owner for id_, owner in before.items() if owner != customer_id}
            assert self._stored_cards(merchant_id) == left
        self._add_customer(merchant_id=merchant_id)

    def _erase_merchant(self, *, merchant_id: str, trouble: Trouble, **_: Any) -> None:
        """Refused while money is under way; then its books stay, and the doctor looks at them."""
        if len(self._payments_of(merchant_id)) == len(self.payments):
            return  # the history is to go on with somebody
        is_busy = any(self._now(p).open_operations for p in self._payments_of(merchant_id))
        told = self.twins.both(
            lambda side: side.pay.merchants.erase(merchant_id),
            trouble if isinstance(trouble, Death) else None,
        )
        if self.twins.both(lambda side: side.pay.merchant(merchant_id).id).error is None:
            assert told.is_death or told.code == "operation_open"
            return
        assert not is_busy
        self.twins.erased.add(merchant_id)
        self.merchants.remove(merchant_id)
        self.payments = [payment for payment in self.payments if payment[0] != merchant_id]
        self.asked = [asked for asked in self.asked if asked.merchant_id != merchant_id]

    def _payments_of(self, merchant_id: str) -> list[PaymentOf]:
        return [payment for payment in self.payments if payment[0] == merchant_id]

    def _stored_cards(self, merchant_id: str) -> dict[str, str | None]:
        """The merchant's payment methods, each with its customer."""
        told = self.twins.both(lambda side: side.shop(merchant_id).payment_methods.list())
        return {method.id: method.customer_id for method in told.value}

    def _verify(self, *, merchant_id: str, number: str, trouble: Trouble) -> None:
        method_id, key = self._method(merchant_id, number), self._unused_key(merchant_id)
        self.twins.both(
            lambda side: side.shop(merchant_id).payment_methods.verify(
                method_id, idempotency_key=key, security_code=CODES[len(number)]
            ),
            self._possible(trouble),
        )

    def _go_down(self, **_: Any) -> None:
        self.twins.set_down(down=True)

    def _come_up(self, **_: Any) -> None:
        self.twins.set_down(down=False)

    def _restart(self, **_: Any) -> None:
        self.twins.restart()

    def _browse(self, *, merchant_id: str, **_: Any) -> None:
        """Lists are the same on both sides, newest first, and filters agree with what is read."""
        told = self.twins.both(lambda side: side.shop(merchant_id).payments.list()).value
        ids = sorted((id_ for _, id_ in self._payments_of(merchant_id)), reverse=True)
        assert [payment.id for payment in told] == ids
        for status in PaymentStatus:
            listed = self.twins.both(partial(_listed, merchant_id, status)).value
            assert listed == tuple(payment for payment in told if payment.status is status)
        self.twins.both(lambda side: side.shop(merchant_id).payment_methods.list())
        self.twins.both(lambda side: side.shop(merchant_id).customers.list())
        self._unresolved()

    def _reuse_a_key(self, **_: Any) -> None:
        """Another request under a used key: a conflict that tells nothing of the first."""
        for asked in self.asked:
            operation, written = self._operation(asked), self.twins.written
            error = self.twins.both(asked.otherwise).error
            assert error is not None
            assert error.code == "idempotency_key_reused"
            assert (error.operation_id, error.payment_id) == (None, None)
            assert operation.id not in str(error)
            assert operation.subject_id not in str(error)
            assert written == self.twins.written

    def _look_at_anothers(self, *, merchant_id: str, **_: Any) -> None:
        """Another merchant's ids give what ids give that nobody has."""
        others = [payment for payment in self.payments if payment[0] != merchant_id]
        if not others:
            return
        owner, payment_id = others[-1]
        method_id = self._now(others[-1]).payment_method_id
        key = self._unused_key(merchant_id)
        for id_ in (payment_id, method_id, self.customers[owner]):
            absent = f"{id_.partition('_')[0]}_{'0' * 26}"
            theirs, nobodys = (
                self.twins.both(partial(_use, merchant_id, each, key)).value
                for each in (id_, absent)
            )
            assert type(theirs) is type(nobodys) is NotFound
            assert vars(theirs) == vars(nobodys)

    # -- the commands

    def _start(
        self,
        merchant_id: str,
        number: str,
        verb: str,
        money: Money,
        *,
        how: str = "customer",
        trouble: Trouble = None,
    ) -> None:
        """A payment by a customer, by a guest, or started by the merchant with a card on file."""
        method_id = self._method(merchant_id, number, of_guest=how == "guest")
        given: dict[str, Any] = {"payment_method": method_id}
        if how == "merchant":
            given["initiated_by"] = "merchant"
        else:
            given["security_code"] = CODES[len(number)]
        more = money + Money.minor(1, money.currency)
        self._move(merchant_id, (verb, (money,), given), (verb, (more,), given), trouble)
        self._note_new_payment(merchant_id)

    def _go_on(self, payment: PaymentOf, data: st.DataObject, trouble: Trouble) -> None:
        """Mostly what is allowed, so that a history gets somewhere; now and then anything."""
        now = self._now(payment)
        allowed = [kind if kind in FOLLOW_UPS else "retry" for kind in now.allowed_operations]
        verbs = st.sampled_from([*(sorted(allowed) * 2), "any"])
        verb = str(data.draw(verbs, label="verb"))
        if verb == "any":
            verb = data.draw(st.sampled_from(FOLLOW_UPS), label="any verb")
        if verb in LIMITS:
            self._take(now, verb, data, trouble)
        elif verb == "increment":
            self._increment(now, data, trouble)
        elif verb == "resume":
            self._resume(now, data, trouble)
        else:
            self._retry(now, data, trouble)

    def _take(self, payment: Payment, verb: str, data: st.DataObject, trouble: Trouble) -> None:
        """Capture, void or refund: all by default, a part, all, or one minor unit too much."""
        left = getattr(payment, LIMITS[verb]).amount_minor
        parts = [None, 1, max(left // 2, 1), max(left, 1), left + 1]
        minor = data.draw(st.sampled_from(parts), label="minor")
        amount = None if minor is None else Money.minor(minor, payment.currency)
        final = verb == "capture" and data.draw(
            st.sampled_from([False, False, True]), label="final"
        )
        other: Call = ("void" if verb == "refund" else "refund", (payment.id, amount), {})
        call: Call = (verb, (payment.id, amount), {"final": True} if final else {})
        self._move(payment.merchant_id, call, other, trouble)

    def _increment(self, payment: Payment, data: st.DataObject, trouble: Trouble) -> None:
        minor = data.draw(st.sampled_from([1, 40]), label="minor")
        less, more = (Money.minor(m, payment.currency) for m in (minor, minor + 1))
        call: Call = ("increment", (payment.id, less), {})
        self._move(payment.merchant_id, call, ("increment", (payment.id, more), {}), trouble)

    def _retry(self, payment: Payment, data: st.DataObject, trouble: Trouble) -> None:
        number = data.draw(st.sampled_from([None, *CARDS]), label="another card")
        given = {"payment_method": self._method(payment.merchant_id, number)} if number else {}
        call: Call = ("retry", (payment.id,), given)
        self._move(payment.merchant_id, call, ("resume", (payment.id,), {}), trouble)

    def _resume(self, payment: Payment, data: st.DataObject, trouble: Trouble) -> None:
        """The cardholder passes the challenge, fails it, or has not come back yet."""
        operation_id = challenge_of(payment)
        passes = data.draw(st.sampled_from([True, True, True, False, None]), label="passes")
        if operation_id is not None and passes is not None:
            self.twins.challenge(operation_id, succeed=passes)
        call: Call = ("resume", (payment.id,), {})
        self._move(payment.merchant_id, call, ("void", (payment.id,), {}), trouble)

    def _move(self, merchant_id: str, call: Call, other: Call, trouble: Trouble) -> None:
        """Make a money-moving call on both sides, and remember how to repeat and to misuse it."""
        key = self._unused_key(merchant_id)
        again = partial(_call, merchant_id, key, call)
        told = self.twins.both(again, self._possible(trouble))
        operation = self._find(merchant_id, key)
        if operation is None:
            # Refused, or dead before it was stored; then nothing must have come of it.
            assert told.payment is None
            return
        _consistent(operation, told)
        otherwise = partial(_call, merchant_id, key, other)
        state = str(operation.state)
        self.asked.append(Asked(merchant_id, key, call, again, otherwise, told, state))

    # -- the end

    def teardown(self) -> None:
        if not hasattr(self, "twins"):
            return
        try:
            self._end()
        finally:
            self.twins.close()

    def _end(self) -> None:
        self.twins.make_well()
        self._find_everything_out()
        assert self._open_payments() == []
        assert self._unresolved() == []
        self.twins.wait(days=8)
        self.twins.both(lambda side: side.pay.recover())
        assert self.twins.both(lambda side: side.pay.doctor()).value.findings == ()
        for merchant_id, payment_id in self.payments:
            self.twins.agree_with_the_bank(merchant_id, payment_id)

    def _find_everything_out(self) -> None:
        """Let time pass, and a person decide what only a person can, until nothing is open."""
        for _ in range(30):
            self.twins.wait(hours=29)
            self.twins.both(lambda side: side.pay.recover())
            for operation in self._unresolved():
                if operation.state == "needs_review":
                    outcome = self.twins.look_up(operation)
                    self.twins.both(partial(_resolve, operation, outcome))
            if not self._open_payments() and not self._unresolved():
                return

    def _open_payments(self) -> list[str]:
        payments = [self._now(payment) for payment in self.payments]
        return [payment.id for payment in payments if payment.open_operations]

    def _unresolved(self) -> list[Operation]:
        def ask(side: Side) -> list[Operation]:
            lists = (side.shop(id_).operations.list_unresolved() for id_ in self.merchants)
            return [operation for unresolved in lists for operation in unresolved]

        found: list[Operation] = self.twins.both(ask).value
        return found

    # -- what the rules share

    def _method(self, merchant_id: str, number: str, *, of_guest: bool = False) -> str:
        """The payment method of this card: a new one for each guest, one for each customer."""
        customer_id = None if of_guest else self.customers[merchant_id]
        told = self.twins.both(
            lambda side: side.shop(merchant_id).payment_methods.create(
                customer=customer_id, card=Card(number, EXPIRY)
            )
        )
        return str(told.value.id)

    def _unused_key(self, merchant_id: str) -> str:
        """A key that this merchant has not used; others may: what they use must not matter."""
        self.keys += 1
        key = f"key-{self.keys // 2}"
        return key if self._find(merchant_id, key) is None else f"key-{merchant_id}-{self.keys}"

    def _find(self, merchant_id: str, key: str) -> Operation | None:
        told = self.twins.both(
            lambda side: side.shop(merchant_id).operations.find(idempotency_key=key)
        )
        found: Operation | None = told.value
        return found

    def _operation(self, asked: Asked) -> Operation:
        found = self._find(asked.merchant_id, asked.key)
        assert found is not None, "what a key was used for is never forgotten"
        return found

    def _now(self, payment: PaymentOf) -> Payment:
        merchant_id, payment_id = payment
        told = self.twins.both(lambda side: side.shop(merchant_id).payments.get(payment_id))
        assert told.payment is not None
        return told.payment

    def _note_new_payment(self, merchant_id: str) -> None:
        """The payment that a call has just made, which it may not have lived to tell."""
        told = self.twins.both(lambda side: next(side.shop(merchant_id).payments.list(), None))
        newest = told.payment
        if newest is not None and (merchant_id, newest.id) not in self.payments:
            self.payments.append((merchant_id, newest.id))

    def _possible(self, trouble: Trouble) -> Trouble:
        if self.bank is NO_DEDUP and trouble in NEEDS_DEDUP:
            return Fault.LOSE_REPLY
        return trouble


def _call(merchant_id: str, key: str, call: Call, side: Side) -> Any:
    verb, subject, given = call
    return getattr(side.shop(merchant_id).payments, verb)(*subject, **given, idempotency_key=key)


def _listed(merchant_id: str, status: PaymentStatus, side: Side) -> Any:
    return side.shop(merchant_id).payments.list(status=status)


def _use(merchant_id: str, id_: str, key: str, side: Side) -> Any:
    shop = side.shop(merchant_id)
    if id_.startswith("pay_"):
        return shop.payments.capture(id_, idempotency_key=key)
    if id_.startswith("cus_"):
        return shop.customers.get(id_)
    return shop.payments.charge(Money("1", "EUR"), payment_method=id_, idempotency_key=key)


def _resolve(operation: Operation, outcome: str, side: Side) -> Operation:
    operations = side.shop(operation.merchant_id).operations
    return operations.resolve(operation.id, outcome=outcome, actor="Ada", reason="statement")


def _consistent(operation: Operation, told: Told) -> None:
    """What was told is what is stored: no caller is told yes while the books say no."""
    payment = told.payment
    if payment is None:
        assert operation.state not in {"succeeded", "declined"} or told.is_death
        return
    assert not payment.replayed
    assert operation.state in ANSWERED_STATES
    assert payment.latest_operation_id == operation.id
    is_resume = operation.kind is OperationKind.RESUME
    if operation.state == "declined" or (operation.state == "succeeded" and not is_resume):
        assert (payment.decline is None) is (operation.state == "succeeded")


def _same(first: Told, second: Told) -> None:
    """Told twice while nothing became of the operation in between."""
    if first.payment is not None and second.payment is not None:
        assert first.payment == second.payment, "a replay tells another outcome"
    elif first.error is not None and second.error is not None:
        assert (type(first.error), first.code) == (type(second.error), second.code)


_LONGER = os.environ.get("PAYPLATFORM_HISTORIES")
_EXAMPLES, _STEPS = map(int, (_LONGER or "70,40").split(","))
_PHASES = [Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if _LONGER else [])]

TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=_EXAMPLES,
    stateful_step_count=_STEPS,
    deadline=None,
    phases=_PHASES,
    suppress_health_check=list(HealthCheck),
)
