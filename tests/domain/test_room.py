"""What is under way counts as spent, whatever else would make it look like nothing."""

import pytest
from attrs import evolve

from payplatform import Card, Money, Payment, PayPlatform
from payplatform._domain.invariants import has_room
from payplatform._domain.operations import OpenOperation, OperationKind, OperationState


@pytest.fixture
def held() -> Payment:
    """100 minor units, authorized."""
    with PayPlatform.sandbox() as pay:
        shop = pay.merchant(pay.merchants.create(name="Acme").id)
        card = shop.payment_methods.create(card=Card("4242424242424242", "12/40"))
        return shop.payments.authorize(
            Money.minor(100, "EUR"), payment_method=card.id, idempotency_key="hold"
        )


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("kind", [OperationKind.CAPTURE, OperationKind.VOID])
@pytest.mark.parametrize(("amount_minor", "fits"), [(100, True), (101, False)])
def test_no_more_may_be_under_way_than_is_held(
    held: Payment, kind: OperationKind, final: bool, amount_minor: int, fits: bool
) -> None:
    """Also while a final capture is under way, when nothing more may be captured."""
    under_way = OpenOperation(
        id="op_1",
        kind=kind,
        state=OperationState.NEEDS_REVIEW,
        amount_minor=amount_minor,
        final=final,
    )

    assert has_room(evolve(held, open_operations=(under_way,))) is fits
