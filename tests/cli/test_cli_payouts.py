"""payouts."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

from command_line import Shell

from payplatform import Money, PayPlatform
from payplatform.banks.settlement_files import read_report
from payplatform.banks.simulated import SimulatedBank


def tomorrow() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


def settle_and_pay(shell: Shell, *amounts: str) -> None:
    """What was sold today is settled; then so much is paid out."""
    with (
        closing(SimulatedBank(f"{shell.db}.bank", now=tomorrow)) as bank,
        PayPlatform.open(shell.db, bank=bank, now=tomorrow) as pay,
    ):
        shop = shell.shop(pay)
        shop.reconcile(read_report(bank.settlement_report(shop.id)))
        for amount in amounts:
            money, key = Money(amount, "EUR"), f"payout-of-{amount}"
            shop.payouts.create(money, idempotency_key=key, reference=f"week {amount}")
        shop.payouts.set_plan(minimum=Money("1", "EUR"), reserve=Money("3", "EUR"))


def test_what_is_payable_is_what_the_bank_has_settled_less_what_stays(shell: Shell) -> None:
    shell.payment(amount="40")
    assert shell.json("payouts")["payable"][0]["payable"]["minor"] <= 0

    settle_and_pay(shell, "10")
    shell.payment(amount="7")
    document = shell.json("payouts")

    [eur] = document["payable"]
    assert eur["payable"] == {"amount": "27.00", "currency": "EUR", "minor": 2700}
    assert (eur["interval"], eur["next_at"]) == ("manual", None)
    assert (eur["minimum"]["minor"], eur["reserve"]["minor"]) == (100, 300)
    [payout] = document["payouts"]
    assert (payout["status"], payout["amount"]["amount"]) == ("paid", "10.00")
    assert (payout["reference"], payout["decline"]) == ("week 10", None)
    assert payout["operation"].startswith("op_")


def test_payouts_are_listed_with_what_is_payable(shell: Shell) -> None:
    shell.payment(amount="40")
    settle_and_pay(shell, "10")

    said = shell("payouts")

    assert said.code == 0
    assert "27.00 EUR" in said.out
    assert "week 10" in said.out


def test_more_payouts_than_the_limit_are_said_to_be_there(shell: Shell) -> None:
    assert "no payouts" in shell("payouts").err
    assert shell.json("payouts") == {"payable": [], "payouts": [], "has_more": False}
    shell.payment(amount="40")
    settle_and_pay(shell, "10", "20")

    assert "there are more" in shell("payouts", "--limit", "1").err
    document = shell.json("payouts", "--limit", "1")
    assert [each["amount"]["amount"] for each in document["payouts"]] == ["20.00"]
    assert document["has_more"] is True


def test_what_is_due_is_done_from_a_shell(shell: Shell) -> None:
    assert "Nothing was due." in shell("due").out
    shell.payment(amount="40")
    settle_and_pay(shell)
    with shell.platform() as pay:
        first_at = datetime.now(UTC) - timedelta(minutes=1)
        shell.shop(pay).payouts.set_plan(
            minimum=Money("1", "EUR"), interval="daily", first_at=first_at
        )

    document = shell.json("due")
    assert document["payouts"] == {"made": 1, "unclear": 0, "carried": 0}
    assert document["disputes"] == {"reminded": 0, "answered": 0, "unanswered": 0}
    assert document["recovered"]["examined"] == 0
    assert [each["amount"]["amount"] for each in shell.json("payouts")["payouts"]] == ["40.00"]


def test_a_payout_that_waits_is_told_in_words(shell: Shell) -> None:
    shell.payment(amount="40")
    with shell.platform() as pay:
        first_at = datetime.now(UTC) - timedelta(minutes=1)
        shell.shop(pay).payouts.set_plan(
            minimum=Money("1", "EUR"), interval="daily", first_at=first_at
        )
    said = shell("due")
    assert (said.code, said.err) == (0, "")
    assert "1" in said.out
    assert "wait for their next time" in said.out
