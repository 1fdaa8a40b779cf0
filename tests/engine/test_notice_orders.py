"""Five notices of one bank, in all orders and some of them twice: one end.

How: a shop has payments in all sorts of trouble, the bank makes its notices by itself, and the post
does its worst: it delivers signed messages out of order and more than once. What is compared in the
end is all that a merchant can see of money: amounts, status, books. Each story is played anew for
every order, so that whatever differs comes of the order alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import permutations
from random import Random

import pytest
from mortal import World, agree
from test_notices import CAPTURES_TAKEN_BACK, PENDING_THEN_DECLINED, REFUNDS_TAKEN_BACK
from verbs import a_card, eur

from payplatform import OutcomeUnknown
from payplatform.banks.simulated import Delivery, Fault

ORDERS = tuple(permutations(range(5)))


def of_several_payments() -> World:
    """A capture comes late, a refund fails, one is taken back, so is a capture, which expires."""
    world = World()
    payments = world.shop.payments
    late = held(world, "4242424242424242", "late")
    for name, number in (("failed", PENDING_THEN_DECLINED), ("returned", REFUNDS_TAKEN_BACK)):
        refunded = held(world, number, name)
        payments.capture(refunded, idempotency_key=f"capture-{name}")
        payments.refund(refunded, eur("60"), idempotency_key=f"refund-{name}")
    captured = held(world, CAPTURES_TAKEN_BACK, "captured")
    payments.capture(captured, eur("70"), idempotency_key="capture")
    lose(world, late, "40", final=True)
    world.advance(days=8)
    return world


def of_one_payment() -> World:
    """All are about one payment, and what one tells makes room for what another does."""
    world = World()
    payment_id = held(world, REFUNDS_TAKEN_BACK, "auth")
    payments = world.shop.payments
    world.bank.next(Fault.TAKE_BACK)
    payments.capture(payment_id, eur("30"), idempotency_key="first")
    lose(world, payment_id, "20")
    payments.refund(payment_id, eur("25"), idempotency_key="refund")
    payments.capture(payment_id, eur("10"), idempotency_key="third")
    world.advance(hours=1)
    world.bank.next(Fault.TAKE_BACK)
    payments.capture(payment_id, eur("15"), idempotency_key="last")
    world.advance(days=8)
    return world


def of_what_was_found_out() -> World:
    """Recovery was faster: nothing is open, and our own clock has let go of some."""
    world = of_one_payment()
    world.pay.recover()
    assert not list(world.shop.operations.list_unresolved())
    return world


def of_a_disputed_payment() -> World:
    """A refund fails, a dispute is opened, won, and lost after all, and the rest expires."""
    world = World()
    payment_id = held(world, REFUNDS_TAKEN_BACK, "auth")
    payments, disputes = world.shop.payments, world.bank.disputes
    payments.capture(payment_id, eur("80"), idempotency_key="capture")
    payments.refund(payment_id, eur("30"), idempotency_key="refund")
    capture = world.shop.operations.find(idempotency_key="capture")
    assert capture is not None
    world.advance(hours=2)
    case = disputes.open(world.merchant_id, capture.id, eur("60"))
    world.advance(days=1)
    disputes.decide(case, merchant_wins=True)
    world.advance(days=1)
    disputes.decide(case, merchant_wins=False)
    world.advance(days=6)
    return world


def held(world: World, number: str, key: str) -> str:
    method = a_card(world, number)
    return world.shop.payments.authorize(eur("100"), payment_method=method, idempotency_key=key).id


def lose(world: World, payment_id: str, amount: str, *, final: bool = False) -> None:
    """A capture that arrives when nobody waits any more."""
    world.bank.next(Fault.DELAY_PAST_INQUIRY)
    with suppress(OutcomeUnknown):
        world.shop.payments.capture(payment_id, eur(amount), final=final, idempotency_key="lost")


STORIES = {
    "of several payments": of_several_payments,
    "of one payment": of_one_payment,
    "of what was found out": of_what_was_found_out,
    "of a disputed payment": of_a_disputed_payment,
}


@pytest.mark.parametrize("story", STORIES)
def test_all_orders_and_duplications_of_five_notices_give_the_same_end(story: str) -> None:
    ends = Counter(end_of(story, order) for order in deliveries_in_all_orders())

    assert len(ends) == 1, [end for end, _ in ends.most_common()]
    assert ends.total() == len(ORDERS)


def deliveries_in_all_orders() -> Iterator[Sequence[int]]:
    """Each order, with up to five of them delivered once more, anywhere after."""
    post = Random(5)  # noqa: S311  # no secret: the same duplicates in every run
    for order in ORDERS:
        twice = [*order, *post.choices(order, k=post.randrange(6))]
        first, rest = twice[: len(order)], twice[len(order) :]
        for again in rest:
            first.insert(post.randint(first.index(again) + 1, len(first)), again)
        yield first


def end_of(story: str, order: Sequence[int]) -> tuple[object, ...]:
    """What there is to see once the post has delivered in this order, and recovery has run."""
    world = STORIES[story]()
    messages: Sequence[Delivery] = world.bank.deliveries()
    assert len(messages) == 5
    for at in order:
        world.pay.notices.receive(*messages[at])
        assert world.pay.doctor().ok
    for _ in range(12):
        world.advance(days=1)
        world.pay.recover()
    agree(world)
    assert {notice.state for notice in world.shop.notices.list()} == {"applied"}
    end = seen(world)
    world.close()
    return end


def seen(world: World) -> tuple[object, ...]:
    """Of each payment amounts and status, of each operation whether it stands; and the books."""
    shop, storage = world.shop, world.storage
    payments = list(shop.payments.list())
    books: Counter[tuple[str, str]] = Counter()
    for payment in payments:
        for line in storage.postings(world.merchant_id, payment.id):
            books[line.account, line.currency] += line.amount_minor
    stand = [
        (operation.idempotency_key, operation.state == "succeeded")
        for payment in payments
        for operation in shop.payments.operations(payment.id)
    ]
    return (
        tuple(sorted((str(p.facts), p.status) for p in payments)),
        tuple(sorted(stand)),
        tuple(sorted(books.items())),
    )
