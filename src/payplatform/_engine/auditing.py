"""The audit trail: makes entries, to be committed together with what they are about.

Law of this file: whoever does something sensitive puts the entry into the `Changes` that do it, so
that neither is ever stored without the other. Only what has no other effect, a card revealed or a
call refused, is committed by itself; and a card is revealed after its entry is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from attrs import evolve

from payplatform._domain.audit import AuditEntry, AuditKind, AuditOutcome, Caller
from payplatform._domain.changes import Changes
from payplatform._engine.exchange import TRIES
from payplatform._engine.pages import all_entries
from payplatform.errors import Conflict, ErrorCode, NotAllowed, NotFound, StorageUnavailable
from payplatform.ports import Storage


class Auditing:
    """Makes and reads audit entries."""

    def __init__(
        self, *, storage: Storage, now: Callable[[], datetime], new_id: Callable[[str], str]
    ) -> None:
        self._storage = storage
        self._now = now
        self._new_id = new_id

    def entry(
        self,
        merchant_id: str,
        kind: AuditKind,
        caller: Caller,
        *,
        outcome: AuditOutcome = AuditOutcome.DONE,
        object_id: str | None = None,
        purpose: str | None = None,
        details: tuple[tuple[str, str], ...] = (),
    ) -> AuditEntry:
        """An entry for `Changes.audit`.

        Args:
            merchant_id: whose trail it goes into.
            kind: of call.
            caller: on whose behalf.
            outcome: what became of it.
            object_id: what it is about.
            purpose: what for.
            details: what else is worth knowing, as text; never card data.
        """
        return AuditEntry(
            id=self._new_id("aud"),
            merchant_id=merchant_id,
            kind=kind,
            at=self._now(),
            actor=caller.actor,
            outcome=outcome,
            origin=caller.origin,
            object_id=object_id,
            purpose=purpose,
            details=details,
        )

    def write(self, entry: AuditEntry) -> None:
        """Store an entry that is about nothing else that is stored.

        Raises:
            StorageUnavailable: the store failed; the entry may or may not be there.
        """
        changes = Changes(merchant_id=entry.merchant_id, audit=(entry,))
        for _ in range(TRIES):
            with suppress(Conflict):  # it has no guard, so whoever was first is in nobody's way
                self._storage.commit(changes)
                return
        raise StorageUnavailable("others kept the audit trail busy; nothing was done")

    def note_failure(self, entry: AuditEntry, code: ErrorCode) -> None:
        """Store that a call failed; where that fails too, the caller is told of the first."""
        with suppress(StorageUnavailable):
            self.write(_ended(entry, AuditOutcome.FAILED, code))

    def note_refusal(self, entry: AuditEntry, code: ErrorCode) -> None:
        """Store that a call was not let through.

        Raises:
            StorageUnavailable: even that could not be stored.
        """
        self.write(_ended(entry, AuditOutcome.REFUSED, code))

    @contextmanager
    def refusals(self, entry: AuditEntry) -> Iterator[None]:
        """Put it on the trail where what is done inside is not let through, or is not there.

        Raises:
            NotAllowed: and NotFound, as they come, once the entry is stored.
            StorageUnavailable: it was refused, and even that could not be stored.
        """
        try:
            yield
        except (NotAllowed, NotFound) as error:
            self.note_refusal(entry, error.code)
            raise

    def entries(self, merchant_id: str) -> Iterator[AuditEntry]:
        """A merchant's entries, newest first, page by page."""
        return all_entries(self._storage, merchant_id)


def _ended(entry: AuditEntry, outcome: AuditOutcome, code: ErrorCode) -> AuditEntry:
    return evolve(entry, outcome=outcome, details=(*entry.details, ("code", str(code))))
