"""A report with faults of each kind planted in it: all of them are listed, and nothing else.

It has 100,000 lines with PAYPLATFORM_SETTLEMENT=full, as in `make test-settlement`; else fewer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from itertools import islice
from pathlib import Path
from random import Random
from time import process_time

from attrs import evolve
from till import START, Till, eur

from payplatform import DifferenceKind, Money, Operation, OperationKind, OperationState, Payment
from payplatform._domain.changes import Changes
from payplatform._domain.payments import Facts
from payplatform.banks._settlement_csv import written
from payplatform.banks.settlement_files import read_report
from payplatform.ports import AcquirerFees, SettlementLine, SettlementReport
from payplatform.testing._records import a_payment, an_operation

IS_FULL = os.environ.get("PAYPLATFORM_SETTLEMENT") == "full"
LINES = 100_000 if IS_FULL else 1_500
OF_EACH = 50 if IS_FULL else 5
MOST_S = 60.0

AMOUNT = eur("19.99")
FEES = AcquirerFees(interchange=eur("0.06"), scheme=eur("0.02"), acquirer=eur("0.04"))
IN_DOLLARS = AcquirerFees(
    interchange=Money("0.06", "USD"), scheme=Money("0.02", "USD"), acquirer=Money("0.04", "USD")
)

Plant = Callable[[SettlementLine], list[SettlementLine]]
PLANTED: dict[DifferenceKind, Plant] = {
    DifferenceKind.MISSING_AT_BANK: lambda _line: [],
    DifferenceKind.MISSING_HERE: lambda line: [
        line,
        evolve(line, operation_id="op_7" + (line.operation_id or "")[4:]),
    ],
    DifferenceKind.AMOUNT_DIFFERS: lambda line: [evolve(line, amount=line.amount - eur("0.01"))],
    DifferenceKind.CURRENCY_DIFFERS: lambda line: [
        evolve(line, amount=Money("19.99", "USD"), fees=IN_DOLLARS)
    ],
    DifferenceKind.DUPLICATE: lambda line: [line, line],
    DifferenceKind.LATE: lambda line: [evolve(line, booked_at=START - timedelta(days=1))],
}


def sell(till: Till, number: int) -> tuple[Payment, Operation, SettlementLine]:
    """A sale as it is stored, made without asking anybody: it is the report that is tested."""
    made = {"created_at": START, "updated_at": START}
    facts = Facts(requested=1999, authorized=1999, captured=1999)
    payment = a_payment(till.merchant_id, number, facts=facts, **made)
    operation = an_operation(
        till.merchant_id,
        number,
        kind=OperationKind.SALE,
        state=OperationState.SUCCEEDED,
        subject_id=payment.id,
        amount=AMOUNT,
        next_try_at=None,
        **made,
    )
    line = SettlementLine(
        number=1, operation_id=operation.id, amount=AMOUNT, fees=FEES, booked_at=START
    )
    return payment, operation, line


def shop_with(till: Till, sales: int) -> list[SettlementLine]:
    lines = []
    made = (sell(till, number) for number in range(1, sales + 1))
    while some := list(islice(made, 1_000)):
        records: list[Payment | Operation] = [record for a, b, _ in some for record in (a, b)]
        till.storage.commit(Changes(merchant_id=till.merchant_id, records=tuple(records)))
        lines += [line for *_, line in some]
    return lines


def test_every_planted_fault_is_listed_and_nothing_else(tmp_path: Path) -> None:
    """In under a minute for 100,000 lines; and a second time nothing is booked."""
    till = Till(tmp_path / "books.db")
    lines = shop_with(till, LINES)
    drawn = Random(20260301)  # noqa: S311  # which lines are spoilt is no secret
    spoilt = drawn.sample(range(LINES), OF_EACH * len(PLANTED))
    kinds = dict(zip(spoilt, [kind for kind in PLANTED for _ in range(OF_EACH)], strict=True))
    wanted = sorted((kind, lines[at].operation_id or "") for at, kind in kinds.items())
    told = [
        one
        for at, line in enumerate(lines)
        for one in (PLANTED[kinds[at]](line) if at in kinds else [line])
    ]
    raw = written(
        SettlementReport(
            reference="a large one",
            merchant_id=till.merchant_id,
            since=START - timedelta(hours=12),
            until=START + timedelta(hours=12),
            lines=tuple(told),
            digest=b"",
        )
    )
    till.advance(days=1)

    began = process_time()
    result = till.shop.reconcile(read_report(raw))
    took = process_time() - began

    found = [
        (one.kind, (one.operation_id or "").replace("op_7", "op_0", 1))
        for one in result.differences
    ]
    assert sorted(found) == wanted
    assert took < MOST_S
    suspended = [one for one in result.differences if one.kind.is_suspense]
    assert (result.booked, result.matched) == (len(told) - len(suspended),) * 2
    cash = sum((one.amount - one.fees.total for one in told if one.fees is FEES), eur("0"))
    assert till.shop.ledger.balance(account="bank_cash", currency="EUR") == cash
    again = till.shop.reconcile(read_report(raw))
    assert again == evolve(result, booked=0)
    till.close()
