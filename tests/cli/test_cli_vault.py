"""payplatform vault: what the keys are like, new ones, and the cards after them."""

from io import StringIO
from pathlib import Path

import pytest
from command_line import Shell

from payplatform import Card, PayPlatform
from payplatform.cli._screen import Screen
from payplatform.cli._session import Session
from payplatform.cli._vault import _brought_to_new_keys


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    path = tmp_path / "shop.db"
    with PayPlatform.open(path) as pay:
        shop = pay.merchant(pay.merchants.create(name="Acme").id)
        for _ in range(3):
            shop.payment_methods.create(card=Card("4242424242424242", "12/40"))
        pay.merchants.create(name="Books")
    return Shell(path)


def test_status_has_every_key_and_what_is_under_it(shell: Shell) -> None:
    told = shell("vault", "status", "--json").document

    keys = [(key["purpose"], key["version"], key["cards"]) for key in told["keys"]]
    assert sorted(keys) == [
        ("data", 1, 0),
        ("data", 1, 3),
        ("fingerprint", 1, 0),
        ("fingerprint", 1, 3),
    ]
    assert (told["cards"], told["left"]) == (3, 0)
    assert told["master_key"]["name"].startswith("mk-")
    assert told["master_key"]["wrapped_by_others"] == 0
    assert not any(key["overdue"] for key in told["keys"])
    shown = shell("vault", "status").out
    assert "data 1" in shown
    assert told["master_key"]["name"] in shown


def test_rotate_gives_new_keys_and_brings_every_card_to_them(shell: Shell) -> None:
    told = shell("vault", "rotate", "data", "fingerprint", "master", "--json").document

    assert told["rotated"] == {"data": 2, "fingerprint": 2, "master": 0}
    assert (told["resealed"], told["refingerprinted"]) == (3, 3)
    assert (told["destroyed"], told["left"], told["damaged"]) == (4, 0, [])
    assert {k["version"] for k in shell("vault", "status", "--json").document["keys"]} == {2}


def test_run_goes_on_where_a_rotation_ended(shell: Shell) -> None:
    assert shell("vault", "rotate", "data", "--limit", "2", "--json").document["left"] == 1
    assert "1: payplatform vault run" in shell("vault", "status").out
    said = shell("vault", "run")
    assert said.code == 0
    assert "1 card" in said.out
    assert shell("vault", "status", "--json").document["left"] == 0


def test_one_merchants_keys_may_be_rotated_alone(shell: Shell) -> None:
    keys = shell("vault", "status", "--json").document["keys"]
    merchant = next(key["merchant_id"] for key in keys if key["cards"])
    told = shell("vault", "rotate", "data", "--merchant", merchant, "--json").document
    assert told["rotated"] == {"data": 1}


def test_only_keys_that_are_older_are_rotated_where_an_age_is_given(shell: Shell) -> None:
    told = shell("vault", "rotate", "data", "--older-than", "1", "--json").document
    assert told["rotated"] == {"data": 0}


@pytest.mark.parametrize("words", [["rotate"], ["run", "data"], ["status", "master"], ["burn"], []])
def test_what_makes_no_sense_is_refused_as_usage(words: list[str], shell: Shell) -> None:
    said = shell("vault", *words)
    assert said.code == 2
    assert said.err


def test_a_bar_is_shown_to_a_person_while_cards_are_brought_to_new_keys(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Screen, "is_terminal", True)
    screen = Screen(stderr=True, width=80)
    screen.file = StringIO()
    with PayPlatform.open(shell.db) as pay:
        pay.vault.rotate_data_key()
        report = _brought_to_new_keys(Session(err=screen), pay.vault, None)

    assert report.resealed == 3
    assert "3/3" in screen.file.getvalue()
