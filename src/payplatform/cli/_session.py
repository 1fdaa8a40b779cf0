"""One run of the command line: which database, which merchant, how to answer.

The command line speaks to the simulated bank and to no other. A database whose books are kept by
another bank is therefore only read: asking the wrong bank what became of an operation would end in
the wrong answer being booked.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import click
from attrs import define, field
from rich.console import RenderableType

from payplatform.banks.simulated import SimulatedBank
from payplatform.cli._exits import Exit
from payplatform.cli._screen import Screen
from payplatform.client.platform import MASTER_KEY_VARIABLE, MerchantClient, PayPlatform
from payplatform.keys.local import LocalKeyService

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

DEFAULT_DB = "payplatform.db"
_MOST_MERCHANTS_NAMED = 10


class Refused(click.ClickException):
    """The command line itself is at fault: what is missing, why, and what to do about it."""

    exit_code = Exit.USAGE

    def __init__(self, message: str, *, code: str, field: str | None, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.hint = hint


@define
class Session:
    """What the options say, and what has to be told if the command fails.

    Attributes:
        repeat: the command that asks for the same again, once there is something to repeat.
        idempotency_key: the key of the money-moving call that is being made.
        payment_method_id: of the card that this command has stored.
    """

    words: Sequence[str] = ()
    db: str = DEFAULT_DB
    merchant: str | None = None
    json: bool = False
    out: Screen = field(factory=Screen)
    err: Screen = field(factory=lambda: Screen(stderr=True))
    repeat: str | None = None
    idempotency_key: str | None = None
    payment_method_id: str | None = None

    @property
    def bank_file(self) -> Path:
        """The books of the simulated bank, where `PayPlatform.open` keeps them."""
        return Path(f"{self.db}.bank")

    @property
    def key_file(self) -> Path:
        """The master key, where `PayPlatform.open` keeps it."""
        return Path(f"{self.db}.key")

    @property
    def key_is_in_environment(self) -> bool:
        """Whether the master key comes from a variable, and not from a file."""
        return MASTER_KEY_VARIABLE in os.environ

    @property
    def files(self) -> Sequence[Path]:
        """What belongs to the database, whether it is there or not."""
        keys = [] if self.key_is_in_environment else [self.key_file]
        return [Path(self.db), *keys, self.bank_file]

    def answer(self, document: dict[str, Any], *shown: RenderableType) -> None:
        """Give the answer: the document with --json, else what is to be shown."""
        if self.json:
            click.echo(json.dumps(document, indent=2))
            return
        for renderable in shown:
            self.out.print(renderable)

    def note(self, text: str) -> None:
        """Say something that is not the answer, on standard error."""
        self.err.print(text, style="dim")

    @contextmanager
    def platform(self, *, asks_bank: bool = False) -> Iterator[tuple[PayPlatform, SimulatedBank]]:
        """The platform on a database that is there, and the bank it speaks to.

        Args:
            asks_bank: whether the bank will be asked, and so has to be the one of this database.
        """
        if not Path(self.db).is_file():
            raise Refused(
                f"there is no database at {self.db}",
                code="database_missing",
                field="db",
                hint="payplatform init makes one; --db PATH, or PAYPLATFORM_DB, names another.",
            )
        has_bank = self.bank_file.is_file()
        if asks_bank and not has_bank:
            raise Refused(
                f"{self.bank_file} is not there: this database is another bank's, or its simulated "
                "bank's books are lost",
                code="bank_missing",
                field="db",
                hint="The command line speaks to the simulated bank alone; ask yours in Python.",
            )
        with (
            closing(SimulatedBank(self.bank_file if has_bank else None)) as bank,
            PayPlatform.open(self.db, bank=bank, keys=self._keys()) as pay,
        ):
            yield pay, bank

    def set_up(self) -> PayPlatform:
        """The platform on a database that is made if it is not there, with all that belongs to it.

        A key is made for a new database alone: an old one's cards are sealed under another.
        """
        keys = self._keys() if Path(self.db).is_file() else None
        return PayPlatform.open(self.db, keys=keys)

    def _keys(self) -> LocalKeyService:
        if self.key_is_in_environment:
            return LocalKeyService.from_env(MASTER_KEY_VARIABLE)
        return LocalKeyService.open(self.key_file, create=False)

    @contextmanager
    def shop(self, *, asks_bank: bool = False) -> Iterator[tuple[MerchantClient, SimulatedBank]]:
        """The chosen merchant's client, and the bank."""
        with self.platform(asks_bank=asks_bank) as (pay, bank):
            yield self._merchant_of(pay), bank

    def _merchant_of(self, pay: PayPlatform) -> MerchantClient:
        if self.merchant is not None:
            return pay.merchant(self.merchant)
        merchants = list(islice(pay.merchants.list(), _MOST_MERCHANTS_NAMED))
        if len(merchants) == 1:
            return pay.merchant(merchants[0].id)
        if not merchants:
            raise Refused(
                f"{self.db} has no merchant yet",
                code="merchant_missing",
                field="merchant",
                hint="payplatform init makes one.",
            )
        raise Refused(
            f"{self.db} has several merchants",
            code="merchant_ambiguous",
            field="merchant",
            hint="Say which with --merchant, or PAYPLATFORM_MERCHANT: "
            + ", ".join(f"{merchant.id} ({merchant.name})" for merchant in merchants),
        )

    def will_ask(self, *, key: str, is_fresh: bool, stored_card: str | None) -> None:
        """Remember, before anything is sent, how to ask for the same again."""
        words = list(self.words if stored_card is None else _without_card(self.words))
        if stored_card is not None:
            words += ["--payment-method", stored_card]
        if is_fresh:
            words += ["--idempotency-key", key]
        self.repeat = shlex.join(["payplatform", *words])
        self.idempotency_key = key
        self.payment_method_id = stored_card
        if stored_card is not None:
            self.note(f"card stored as {stored_card}")
        if is_fresh:
            self.note(f"idempotency key {key}")


def _without_card(words: Sequence[str]) -> Iterator[str]:
    """The arguments without those that said where the card comes from; it is stored now."""
    rest = iter(words)
    for word in rest:
        if word == "--customer":
            next(rest, None)
        elif word not in ("--card-stdin", "--ask-card") and not word.startswith("--customer="):
            yield word


pass_session = click.make_pass_decorator(Session, ensure=True)


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """An option that goes into the session, where it was given."""

    def keep(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
        if value not in (None, False):
            setattr(context.ensure_object(Session), name, value)

    return keep


def common_options(*names: str, with_environment: bool = False) -> Callable[[F], F]:
    """Options that many commands have. They may stand before the command's name, too.

    Args:
        names: which of "db", "merchant" and "json".
        with_environment: whether variables count. They do so once, before the command's name, so
            that whatever is written on the command line wins.
    """

    def add(command: F) -> F:
        for name in names:
            command = _OPTIONS[name](with_environment)(command)
        return command

    return add


_OPTIONS: dict[str, Callable[[bool], Callable[[F], F]]] = {
    "db": lambda with_environment: click.option(
        "--db",
        metavar="PATH",
        expose_value=False,
        callback=_keep("db"),
        envvar="PAYPLATFORM_DB" if with_environment else None,
        help=f"The database.  [PAYPLATFORM_DB; default: {DEFAULT_DB}]",
    ),
    "merchant": lambda with_environment: click.option(
        "--merchant",
        metavar="ID",
        expose_value=False,
        callback=_keep("merchant"),
        envvar="PAYPLATFORM_MERCHANT" if with_environment else None,
        help="Whose.  [PAYPLATFORM_MERCHANT; default: the only one]",
    ),
    "json": lambda _: click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_keep("json"),
        help="Answer with one JSON document.",
    ),
}


def limit_option(default: int, *, words: str = "At most so many.") -> Callable[[F], F]:
    """How many a command lists, or looks at, at most."""
    return click.option(
        "--limit", type=click.IntRange(1, 10_000), default=default, show_default=True, help=words
    )


def first_of(found: Iterator[T], limit: int) -> tuple[list[T], bool]:
    """The first so many of what is read as one goes, and whether there are more."""
    some = list(islice(found, limit + 1))
    return some[:limit], len(some) > limit


def examples(*lines: str) -> str:
    """The end of a command's help: examples that run as they stand."""
    return "\n".join(
        ["\b", "Example:" if len(lines) == 1 else "Examples:", *map("  ".__add__, lines)]
    )
