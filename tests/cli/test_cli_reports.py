"""init, cards, list and show."""

from pathlib import Path

import pytest
from command_line import (
    CHALLENGED,
    GOOD,
    POOR,
    Shell,
    typed,
)

from payplatform.banks.simulated import TEST_CARDS


def test_init_makes_a_database_a_key_and_a_merchant_and_says_what_is_next(empty: Shell) -> None:
    said = empty("init", "--name", "Acme Books")

    assert said.code == 0
    assert [file.name for file in empty.files()] == ["shop.db", "shop.db.bank", "shop.db.key"]
    assert "the merchant Acme Books" in said.out
    assert "payplatform charge 19.99 EUR" in said.out
    assert Path(f"{empty.db}.key").stat().st_mode & 0o777 == 0o600


def test_init_again_changes_nothing_and_says_so(shell: Shell) -> None:
    merchant = shell.json("init")["merchant"]
    before = Path(f"{shell.db}.key").read_bytes()

    said = shell("init")
    document = shell.json("init")

    assert "All was there already; nothing was made." in said.out
    assert document == {
        "database": str(shell.db),
        "files_made": [],
        "merchant": merchant,
        "merchant_made": False,
    }
    assert Path(f"{shell.db}.key").read_bytes() == before


def test_init_with_another_name_adds_a_merchant_once(shell: Shell) -> None:
    added = shell.json("init", "--name", "Other shop")
    again = shell.json("init", "--name", "Other shop")

    assert (added["merchant_made"], again["merchant_made"]) == (True, False)
    assert added["merchant"] == again["merchant"]


@pytest.mark.parametrize("name", ["", "x" * 201, "a\x07b"])
def test_init_refuses_a_name_that_breaks_a_rule(empty: Shell, name: str) -> None:
    assert empty("init", "--name", name, "--json").error["field"] == "name"


@pytest.mark.parametrize("db", ["postgres://localhost/shop", ":memory:"])
def test_init_makes_files_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: str
) -> None:
    monkeypatch.chdir(tmp_path)

    assert Shell(tmp_path / "unused")("init", "--db", db).code == 2
    assert list(tmp_path.iterdir()) == []


def test_cards_lists_every_test_card(empty: Shell) -> None:
    said, document = empty("cards"), empty.json("cards")

    assert len(document["cards"]) == len(TEST_CARDS)
    assert document["cards"][0] == {
        "number": "4242 4242 4242 4242",
        "brand": "visa",
        "outcome": "approved",
        "words": "Approved.",
    }
    assert "4000 0000 0000 9995  visa" in said.out
    assert "Declined: not enough money." in said.out


def test_cards_fit_a_narrow_terminal(empty: Shell) -> None:
    said = empty("cards", env={"COLUMNS": "80"})

    assert max(map(len, said.out.splitlines())) <= 80
    assert "4000 0000 0000 9995  insufficient_funds" in said.out


def test_list_is_newest_first_and_filters(shell: Shell) -> None:
    assert "no payments" in shell("list").err
    good = shell.payment(amount="1")
    poor = shell.payment(number=POOR, amount="2")
    shell("charge", "3", "EUR", "--card-stdin", "--reference", "order 3", typing=typed(GOOD))

    def amounts(*words: str) -> list[int]:
        return [p["amount"]["minor"] for p in shell.json("list", *words)["payments"]]

    assert amounts() == [300, 200, 100]
    assert amounts("--status", "declined") == [200]
    assert amounts("--status", "declined", "--status", "captured") == [300, 200, 100]
    assert amounts("--reference", "order 3") == [300]
    assert amounts("--limit", "2") == [300, 200]
    assert shell.json("list", "--limit", "2")["has_more"] is True
    assert shell.json("list", "--limit", "3")["has_more"] is False
    assert "there are more" in shell("list", "--limit", "1").err
    assert shell("list", "--ids", "--limit", "2").out.split()[1] == poor["id"]
    assert good["id"] in shell("list").out


def test_list_by_customer_shows_that_customers_alone(shell: Shell) -> None:
    with shell.platform() as pay:
        customers = shell.shop(pay).customers
        ada, bob = customers.create(name="Ada").id, customers.create(name="Bob").id
    shell.payment()
    shell("charge", "3", "EUR", "--card-stdin", "--customer", ada, typing=typed(GOOD))

    found = shell.json("list", "--customer", ada)["payments"]

    assert [payment["customer"] for payment in found] == [ada]
    assert shell.json("list", "--customer", bob)["payments"] == []
    assert shell("list", "--customer", "cus_1").code == 2


def test_list_fits_a_narrow_terminal(shell: Shell) -> None:
    payment = shell.payment(number=CHALLENGED, amount="12345.67")["id"]
    shell("refund", payment, "1")

    said = shell("list", env={"COLUMNS": "80"})

    heading, line = said.out.splitlines()
    assert max(len(heading.rstrip()), len(line.rstrip())) <= 80
    assert payment in line


def test_show_tells_the_facts_and_the_history_in_words(shell: Shell) -> None:
    payment = shell.payment("authorize", amount="120")["id"]
    shell("capture", payment, "80", "--final")

    said = shell("show", payment)

    assert "captured    80.00 EUR" in said.out
    assert "the capture succeeded (80.00 EUR)" in said.out
    assert "captured +80.00" in said.out
    assert "voided +40.00" in said.out


def test_show_answers_with_facts_events_and_operations(shell: Shell) -> None:
    payment = shell.payment()["id"]

    document = shell.json("show", payment)

    assert document["payment"]["id"] == payment
    assert [event["number"] for event in document["timeline"]] == [1, 2]
    assert document["timeline"][1]["type"] == "sale.succeeded"
    euros = {"amount": "19.99", "currency": "EUR", "minor": 1999}
    assert document["timeline"][1]["changes"] == {"authorized": euros, "captured": euros}
    (operation,) = document["operations"]
    assert (operation["kind"], operation["state"]) == ("sale", "succeeded")
    assert operation["idempotency_key"].startswith("cli-")


def test_show_tells_text_as_it_is(shell: Shell) -> None:
    odd = "[red]50% off[/red] :smile:"
    shell("charge", "1", "EUR", "--card-stdin", "--reference", odd, typing=typed(GOOD))

    assert odd in shell("show", shell("list", "--ids").out.strip()).out
