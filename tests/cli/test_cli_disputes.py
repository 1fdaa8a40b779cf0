"""disputes."""

from command_line import Shell

from payplatform.banks.simulated import SimulatedBank


def a_dispute(shell: Shell, reason_code: str) -> str:
    """The payment of a dispute that the bank has opened and told of."""
    payment_id = str(shell.payment(amount="40")["id"])
    bank = SimulatedBank(f"{shell.db}.bank")
    with shell.platform() as pay:
        shop = shell.shop(pay)
        sale = shop.payments.get(payment_id).authorization_id or ""
        bank.disputes.open(shop.id, sale, reason_code=reason_code)
        for notice in bank.notices():
            pay.notices.apply(notice)
            bank.acknowledge(notice.id)
    bank.close()
    return payment_id


def test_disputes_are_listed_with_their_reason_and_deadline(shell: Shell) -> None:
    payment_id = a_dispute(shell, "13.1")

    said = shell("disputes")

    assert said.code == 0
    assert payment_id in said.out
    assert "not_received (13.1)" in said.out
    assert "40.00 EUR" in said.out


def test_the_document_says_all_of_a_dispute(shell: Shell) -> None:
    payment_id = a_dispute(shell, "10.4")

    document = shell.json("disputes", "--state", "opened", "--payment", payment_id)

    assert document["has_more"] is False
    [dispute] = document["disputes"]
    assert (dispute["payment"], dispute["state"]) == (payment_id, "opened")
    assert (dispute["reason"], dispute["reason_code"]) == ("fraud", "10.4")
    assert dispute["amount"] == dispute["held"]
    assert dispute["held"] == {"amount": "40.00", "currency": "EUR", "minor": 4000}
    assert dispute["evidence_due_at"] > dispute["created_at"]


def test_what_is_more_than_the_limit_is_said_to_be_there(shell: Shell) -> None:
    assert "no disputes" in shell("disputes").err
    for _ in range(2):
        a_dispute(shell, "10.4")
    assert "there are more" in shell("disputes", "--limit", "1").err
    assert shell.json("disputes", "--limit", "1")["has_more"] is True
    assert shell.json("disputes", "--state", "won")["disputes"] == []
