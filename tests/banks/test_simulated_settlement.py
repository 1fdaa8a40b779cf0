"""What the simulated bank reports of a day: what moved, once, and always the same."""

from datetime import date, timedelta

import pytest
from bank_requests import SOLD, START, Clock, Counter, do

from payplatform import Money
from payplatform.banks.settlement_files import read_report
from payplatform.ports import SettlementReport

TODAY, TOMORROW = START.date(), START.date() + timedelta(days=1)
TAKES_CAPTURES_BACK = "4000000000010332"
REFUND_PENDS_THEN_SUCCEEDS = "4000000000007726"


def report(counter: Counter, day: date) -> SettlementReport:
    return read_report(counter.bank.settlement_report(counter.merchant_id, day))


def moved(counter: Counter, day: date) -> list[tuple[str, int, bool]]:
    """Amounts and directions of a day, each with the operation in the place of its name."""
    return [
        (str(line.operation_id), line.amount.amount_minor, line.is_reversal)
        for line in report(counter, day).lines
    ]


def op(number: int) -> str:
    return f"op_{number:026d}"


def test_captures_and_refunds_are_reported_and_nothing_else(counter: Counter, clock: Clock) -> None:
    counter.send("authorize", op(1), 100)
    counter.send("capture", op(2), 60, target_id=op(1))
    counter.send("void", op(3), 40, target_id=op(1))
    counter.send("refund", op(4), 25, target_id=op(1))
    counter.send("sale", op(5), 70)
    counter.send("sale", op(6), 70, card="4000000000000002")
    clock.forward(86_400)

    wanted = [(op(2), 60, False), (op(4), -25, False), (op(5), 70, False)]
    assert moved(counter, TODAY) == wanted
    assert moved(counter, TODAY - timedelta(days=1)) == []


def test_a_day_has_one_report_whatever_happens_later(counter: Counter, clock: Clock) -> None:
    counter.send("authorize", op(1), 100, card=TAKES_CAPTURES_BACK)
    clock.forward(11.5 * 3_600)
    counter.send("capture", op(2), 100, target_id=op(1))
    clock.forward(1_799)
    with pytest.raises(LookupError):
        report(counter, TODAY)
    clock.forward(1)
    before = counter.bank.settlement_report(counter.merchant_id, TODAY)
    assert counter.bank.settlement_report(counter.merchant_id) == before

    clock.forward(86_400)
    assert counter.bank.settlement_report(counter.merchant_id, TODAY) == before
    assert moved(counter, TODAY) == [(op(2), 100, False)]
    assert moved(counter, TOMORROW) == [(op(2), -100, True)]


def test_what_came_to_nothing_in_a_day_is_not_reported(counter: Counter, clock: Clock) -> None:
    counter.send("sale", op(1), 100)
    counter.send("reversal", op(1), 100)
    clock.forward(86_400)

    assert moved(counter, TODAY) == []


def test_a_refund_is_reported_on_the_day_that_it_is_decided(counter: Counter, clock: Clock) -> None:
    counter.send("sale", op(1), 100, card=REFUND_PENDS_THEN_SUCCEEDS)
    clock.forward(11.5 * 3_600)
    counter.send("refund", op(2), 30, target_id=op(1))
    clock.forward(2 * 86_400)

    assert moved(counter, TODAY) == [(op(1), 100, False)]
    assert moved(counter, TOMORROW) == [(op(2), -30, False)]


@pytest.mark.parametrize(
    ("minor", "kept"),
    [(10_000, (30, 10, 20)), (500, (2, 0, 1)), (1_500, (4, 2, 3)), (1, (0, 0, 0))],
)
def test_what_it_keeps_is_rounded_half_to_even(
    counter: Counter, clock: Clock, minor: int, kept: tuple[int, int, int]
) -> None:
    """0.30, 0.10 and 0.20 percent: of 15.00, 4.5 and 1.5 cents are rounded down and up."""
    counter.send("sale", op(1), minor)
    clock.forward(86_400)

    (line,) = report(counter, TODAY).lines
    fees = line.fees
    shares = (fees.interchange, fees.scheme, fees.acquirer)
    assert tuple(share.amount_minor for share in shares) == kept
    assert fees.total == Money.minor(sum(kept), "EUR")


def test_merchants_have_reports_of_their_own(counter: Counter, clock: Clock) -> None:
    do(counter, SOLD)
    clock.forward(86_400)

    other = Counter(counter.bank, "mer_2")
    assert (len(report(counter, TODAY).lines), len(report(other, TODAY).lines)) == (1, 0)
