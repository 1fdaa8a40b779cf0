"""A database that is opened again needs the key and the bank that it was used with."""

from __future__ import annotations

from pathlib import Path

import pytest

from payplatform import InvalidRequest, PayPlatform, VaultError
from payplatform.banks.simulated import SimulatedBank
from payplatform.errors import ErrorCode


def test_a_lost_key_file_is_not_quietly_replaced(tmp_path: Path) -> None:
    """A new key would open no card, and hide that the old one is gone."""
    with PayPlatform.open(tmp_path / "shop.db") as pay:
        pay.merchants.create(name="Acme")
    (tmp_path / "shop.db.key").unlink()

    with pytest.raises(VaultError) as caught:
        PayPlatform.open(tmp_path / "shop.db")

    assert "shop.db.key" in str(caught.value)
    assert not (tmp_path / "shop.db.key").exists()


def test_a_file_used_with_another_bank_is_not_quietly_given_the_simulated_one(
    tmp_path: Path,
) -> None:
    """It would confirm the reversal of charges that the other bank has made."""
    with PayPlatform.open(tmp_path / "shop.db", bank=SimulatedBank()) as pay:
        pay.merchants.create(name="Acme")

    with pytest.raises(InvalidRequest) as caught:
        PayPlatform.open(tmp_path / "shop.db")

    assert (caught.value.code, caught.value.field) == (ErrorCode.VALUE_INVALID, "bank")
    with PayPlatform.open(tmp_path / "shop.db", bank=SimulatedBank()) as pay:
        assert len(list(pay.merchants.list())) == 1


def test_a_database_without_merchants_may_still_get_its_key_and_its_bank(tmp_path: Path) -> None:
    """As when the first process stopped between making the database and the rest."""
    PayPlatform.open(tmp_path / "shop.db").close()
    for beside in ("shop.db.key", "shop.db.bank"):
        (tmp_path / beside).unlink()

    with PayPlatform.open(tmp_path / "shop.db") as pay:
        pay.merchants.create(name="Acme")


def test_every_file_that_is_made_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Who may read them learns who paid how much, or opens the cards."""
    with PayPlatform.open(tmp_path / "shop.db") as pay:
        pay.merchants.create(name="Acme")
        made = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}

    assert {"shop.db", "shop.db.key", "shop.db.bank"} <= set(made)
    assert set(made.values()) == {0o600}


def test_a_bank_in_no_folder_says_so_in_a_typed_error(tmp_path: Path) -> None:
    """And not in one of SQLite's own."""
    with pytest.raises(InvalidRequest) as caught:
        SimulatedBank(tmp_path / "nowhere" / "bank").statement()

    assert caught.value.field == "path"
