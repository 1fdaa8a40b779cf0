"""A shop on asyncio: forty customers pay at once, the bank is slow, and one closes the page.

Each payment waits half a second for its bank. One after the other that would take twenty seconds;
awaited together they take about one. A customer who closes the page cancels the task: nobody knows
then what the bank has done, until recovery has asked it.

    python examples/async_shop.py
"""

import asyncio
from datetime import timedelta

from payplatform import AsyncMerchantClient, AsyncPayPlatform, Card, Money, Operation, Payment
from payplatform.banks.simulated import SimulatedBank
from payplatform.testing import AwaitedBank, FakeClock

PRICE = Money("19.99", "EUR")
CARDS = ("4242424242424242", "5555555555554444", "378282246310005", "6011111111111117")


async def buy(shop: AsyncMerchantClient, number: int, *, key: str) -> Payment:
    card = await shop.payment_methods.create(card=Card(CARDS[number % 4], "12/40"))
    return await shop.payments.charge(PRICE, payment_method=card.id, idempotency_key=key)


async def operation(shop: AsyncMerchantClient, key: str) -> Operation:
    found = await shop.operations.find(idempotency_key=key)
    assert found is not None
    return found


async def main() -> None:
    clock = FakeClock()
    bank = SimulatedBank(now=clock)
    slow = AwaitedBank(bank, latency_s=0.5)
    async with AsyncPayPlatform.sandbox(bank=slow, now=clock) as pay:
        shop = await pay.merchant((await pay.merchants.create(name="Acme")).id)

        paid = await asyncio.gather(*(buy(shop, n, key=f"order-{n}") for n in range(40)))
        print(f"{len(paid)} customers paid at once.")

        page = asyncio.create_task(buy(shop, 0, key="closed"))
        await asyncio.sleep(0.2)
        page.cancel()
        await asyncio.wait([page])
        state = (await operation(shop, "closed")).state
        print(f"One closed the page while the bank was asked: the charge is {state}.")

        clock.advance(timedelta(minutes=1))
        report = await pay.recover()
        state = (await operation(shop, "closed")).state
        print(f"A minute later recovery looked into {report.examined}: the charge is {state}.")

        again = await buy(shop, 0, key="opened-again")
        print(f"Nothing was taken, so the customer pays with a new key: {again.status}.")

        ours = [payment.id async for payment in shop.payments.list(status="captured")]
        theirs = bank.statement(shop.id)
        print(f"{len(ours)} payments in our books, {len(theirs)} movements in the bank's.")


asyncio.run(main())
