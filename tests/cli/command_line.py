"""Runs the command line, in this process or in one of its own, and holds what it said."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from click.testing import CliRunner

from payplatform import Card, MerchantClient, Money, OutcomeUnknown, PayPlatform
from payplatform.banks.simulated import FULL_CAPABILITIES, Fault, SimulatedBank
from payplatform.cli._app import app

GOOD = "4242424242424242"
POOR = "4000000000009995"
CHALLENGED = "4000000000003220"
LOSES_REQUEST = "4000000000010407"
LOSES_REPLY = "4000000000010415"
DOWN = "4000000000010431"

PROGRAM = [sys.executable, "-m", "payplatform.cli"]
VARIABLES = (
    "PAYPLATFORM_DB",
    "PAYPLATFORM_MERCHANT",
    "PAYPLATFORM_MASTER_KEY",
    "COLUMNS",
    "PYTHONUNBUFFERED",
)


def typed(number: str, code: str = "123") -> str:
    """A card as it comes on standard input."""
    return f"{number}\n12/30\n{code}\n"


@frozen
class Said:
    """What one run said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error in the document."""
        return self.document["error"]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's variables, without those that the command line heeds."""
    return {name: v for name, v in os.environ.items() if name not in VARIABLES} | dict(more or {})


def in_own_process(
    words: Sequence[str], *, typing: str = "", env: Mapping[str, str] | None = None
) -> Said:
    """One run in a process of its own."""
    done = subprocess.run(
        [*PROGRAM, *words],
        input=typing,
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


@frozen
class Shell:
    """Runs commands on one database."""

    db: Path

    def __call__(
        self, *words: str, typing: str | bytes = "", env: Mapping[str, str | None] | None = None
    ) -> Said:
        """One run in this process; the words as typed after `payplatform`."""
        nothing: dict[str, str | None] = dict.fromkeys(VARIABLES)
        variables = nothing | {"PAYPLATFORM_DB": str(self.db)} | dict(env or {})
        done = CliRunner().invoke(app, list(words), input=typing, env=variables)
        return Said(done.exit_code, done.stdout, done.stderr)

    def json(self, *words: str, typing: str = "") -> Any:
        """The document of a run that went well."""
        said = self(*words, "--json", typing=typing)
        assert said.code == 0, said
        return said.document

    def payment(self, verb: str = "charge", number: str = GOOD, amount: str = "19.99") -> Any:
        """A new payment, as a document, whatever became of it."""
        said = self(verb, amount, "EUR", "--card-stdin", "--json", typing=typed(number))
        return said.document["payment"]

    def in_review(self) -> str:
        """A sale that only a person can decide about: its bank lost it, and forgets reversals."""
        time = datetime.now(UTC)
        forgetful = evolve(FULL_CAPABILITIES, reversal_remembers_unknown=False)
        with (
            closing(SimulatedBank(f"{self.db}.bank", capabilities=forgetful)) as bank,
            PayPlatform.open(self.db, bank=bank, now=lambda: time) as pay,
        ):
            shop = self.shop(pay)
            card = shop.payment_methods.create(card=Card(GOOD, "12/40"))
            bank.next(Fault.LOSE_REQUEST)
            with suppress(OutcomeUnknown):
                shop.payments.charge(
                    Money("7", "EUR"), payment_method=card.id, idempotency_key="lost"
                )
            time += timedelta(hours=1)
            pay.recover()
            operation = shop.operations.find(idempotency_key="lost")
        assert operation is not None
        assert operation.state == "needs_review"
        return operation.id

    def files(self) -> list[Path]:
        """Every file beside the database, and the database."""
        return sorted(self.db.parent.glob(f"{self.db.name}*"))

    def platform(self) -> PayPlatform:
        """The same database, in Python."""
        return PayPlatform.open(self.db)

    def shop(self, pay: PayPlatform) -> MerchantClient:
        """The newest merchant's client."""
        return pay.merchant(next(pay.merchants.list()).id)


def copied(template: Path, folder: Path) -> Shell:
    """A shell on a copy of a database that nobody has open."""
    for file in template.parent.iterdir():
        shutil.copy(file, folder / file.name)
    return Shell(folder / template.name)
