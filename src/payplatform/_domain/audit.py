"""Who did what with card data and with the books, and what proves that nobody rewrote it since.

Law of this file: an entry holds no card number, no security code, no key and no fingerprint; it
names things by their ids (PCI DSS v4.0.1, 10.2.1 and 10.2.2 say what it has to tell). Kinds and
outcomes are API: they are added to, never renamed.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from attrs import frozen


class AuditKind(StrEnum):
    """What kind of sensitive call an entry is about."""

    REVEAL = "reveal"
    EXPORT = "export"
    IMPORT = "import"
    ROTATE = "rotate"
    DELETE = "delete"
    ERASE = "erase"
    RESOLVE = "resolve"
    LIMIT_REACHED = "limit_reached"
    LIMIT_OVERRIDDEN = "limit_overridden"
    KEY_USED = "key_used"
    ACCESS_REFUSED = "access_refused"
    DISPUTE_ANSWERED = "dispute_answered"


class AuditOutcome(StrEnum):
    """What became of the call."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@frozen(kw_only=True)
class Caller:
    """On whose behalf a call is made.

    Attributes:
        actor: a person, a program, a job: whoever the merchant's own access control has let in.
        origin: where the call comes from: an address, a host, a screen.
    """

    actor: str = "unnamed"
    origin: str | None = None


UNNAMED = Caller()
"""Whoever uses a client that was opened without saying for whom."""


@frozen(kw_only=True)
class AuditEntry:
    """One sensitive call. It is written in the same commit as what the call did.

    Attributes:
        actor: who called.
        origin: where the call came from, where that was told.
        object_id: what it was about: a payment method, a customer, an operation, a key.
        purpose: what for, in the caller's words where the call asks for them.
        details: what else is worth knowing, as text; never card data.
    """

    id: str
    merchant_id: str
    kind: AuditKind
    at: datetime
    actor: str
    outcome: AuditOutcome = AuditOutcome.DONE
    origin: str | None = None
    object_id: str | None = None
    purpose: str | None = None
    details: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        words = [f"{self.kind} {self.outcome} by {self.actor}"]
        words += [f"from {self.origin}"] if self.origin else []
        words += [f"of {self.object_id}"] if self.object_id else []
        words += [f"for {self.purpose}"] if self.purpose else []
        return ", ".join([" ".join(words), *(f"{name}: {value}" for name, value in self.details)])


class Chain(StrEnum):
    """The two chains of each merchant."""

    JOURNAL = "journal"
    AUDIT = "audit"


@frozen(kw_only=True)
class ChainHead:
    """The end of a chain, as it was at one moment. Kept elsewhere, it shows a tail that was cut.

    Attributes:
        number: of the last link; 0 for a chain that has none.
        digest: of the last link, in hex; empty for a chain that has none.
    """

    number: int = 0
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.number}:{self.digest}"


@frozen(kw_only=True)
class ChainReport:
    """What came of looking through a chain and the rows that it vouches for.

    Attributes:
        head: where the chain ends.
        rows: how many rows were compared.
        archived: how many rows lie in archives that are not here, and were not compared.
        unvouched: how many rows are here, and the link that vouches for them in such an archive:
            they agree with their own digests, and nothing more is known.
        archives: those archives, by the names of their files.
        link: the number of the first broken link, or of the link that vouches for the first row
            that is broken; None where nothing is.
        row: the row that is broken, by table and id; or the link.
        text: what is wrong with it, in words without values.
    """

    head: ChainHead
    rows: int = 0
    archived: int = 0
    unvouched: int = 0
    archives: tuple[str, ...] = ()
    link: int | None = None
    row: str | None = None
    text: str | None = None

    @property
    def ok(self) -> bool:
        """Whether all that is here is as it was written, and nothing of it is missing."""
        return self.text is None
