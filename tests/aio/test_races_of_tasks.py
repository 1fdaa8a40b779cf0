"""Many tasks of one event loop want a cent more than there is: as many win as can.

How: in a race from 2 to 16 tasks begin at once, each with a share of a payment of a hundred, or all
with the same key. Who wins is chance. How many win is not.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from harbour import Quay, quay

from payplatform import AsyncMerchantClient, Money, PayPlatformError
from payplatform.banks.simulated import SimulatedBank
from payplatform.cli._bank_books import differences
from payplatform.testing import AwaitedBank

SIZES = (2, 3, 4, 2, 8, 2, 3, 4, 2, 16)
RACES = 50
HUNDRED = Money("100.00", "EUR")


async def told(shop: AsyncMerchantClient, verb: str, about: str, share: Money, key: str) -> str:
    """What a caller is told, in a word."""
    try:
        if verb == "charge":
            payment = await shop.payments.charge(share, payment_method=about, idempotency_key=key)
        else:
            payment = await getattr(shop.payments, verb)(about, share, idempotency_key=key)
    except PayPlatformError as error:
        return str(error.code)
    return "replayed" if payment.replayed else "done"


async def race(shop: Quay, verb: str, starts: str, number: int) -> tuple[int, Counter[str]]:
    """How many ran, and what they were told."""
    of = SIZES[number % len(SIZES)]
    start = getattr(shop.shop.payments, starts)
    key = f"{verb}-{number}"
    about = await start(HUNDRED, payment_method=shop.card, idempotency_key=key)
    share = 10_001 // of
    shares = [10_001 - share * (of - 1)] + [share] * (of - 1)
    calls = (
        told(shop.shop, verb, about.id, Money.minor(minor, "EUR"), f"{key}-{place}")
        for place, minor in enumerate(shares)
    )
    return of, Counter(await asyncio.gather(*calls))


@pytest.mark.parametrize(
    ("verb", "starts"), [("capture", "authorize"), ("refund", "charge"), ("void", "authorize")]
)
def test_of_all_tasks_that_ask_for_a_cent_too_much_one_is_refused(
    verb: str, starts: str, tmp_path: Path
) -> None:
    async def main() -> None:
        bank = SimulatedBank()
        async with quay(AwaitedBank(bank), tmp_path / "shop.db") as shop:
            for number in range(RACES):
                of, ended = await race(shop, verb, starts, number)
                assert ended["done"] == of - 1, ended
            assert (await shop.pay.doctor()).ok
            assert differences(shop.pay._room, bank) == (RACES, [])

    asyncio.run(main())


def test_of_all_tasks_with_one_key_one_pays(tmp_path: Path) -> None:
    async def main() -> None:
        bank = SimulatedBank()
        async with quay(AwaitedBank(bank), tmp_path / "shop.db") as shop:
            for number in range(RACES):
                of = SIZES[number % len(SIZES)]
                key = f"key-{number}"
                calls = [told(shop.shop, "charge", shop.card, HUNDRED, key) for _ in range(of)]
                ended = Counter(await asyncio.gather(*calls))
                assert ended["done"] == 1, ended
                assert set(ended) <= {"done", "replayed", "operation_in_progress"}
            assert differences(shop.pay._room, bank) == (RACES, [])

    asyncio.run(main())
