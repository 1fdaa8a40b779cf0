"""`shop.journal` and `shop.audit`: is what is stored what was written, and who did what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Final

from payplatform._domain.audit import AuditEntry, Chain, ChainHead, ChainReport
from payplatform.client._room import Room
from payplatform.errors import ErrorCode, InvalidRequest

_HEAD: Final = re.compile(r"(?P<number>0|[1-9][0-9]{0,17}):(?P<digest>(?:[0-9a-f]{64})?)")


class Journal(Room):
    """The chain of everything that the merchant has but its audit trail."""

    _chain: ClassVar[Chain] = Chain.JOURNAL

    def head(self) -> ChainHead:
        """Where the chain ends now. Keep it elsewhere, and it shows when the tail was cut off.

        Returns:
            The head; `str()` of it is what `verify` takes, too.

        Raises:
            StorageUnavailable: the store failed.
        """
        return self._engine.storage.head(self._merchant_id, self._chain)

    def verify(self, *, expected_head: ChainHead | str | None = None) -> ChainReport:
        """Go along the chain and all it vouches for. Others may read and write meanwhile.

        Args:
            expected_head: the head as it was once: it has to be in the chain still.

        Returns:
            The report: `ok`, or the first row that was changed, taken away or put in.

        Raises:
            InvalidRequest: that is no head.
            StorageUnavailable: the store failed, or is damaged so that it cannot be read.
        """
        expected = None if expected_head is None else _a_head(expected_head)
        return self._engine.storage.verify(self._merchant_id, self._chain, expected)


class Audit(Journal):
    """The merchant's audit trail."""

    _chain: ClassVar[Chain] = Chain.AUDIT

    def entries(self) -> Iterator[AuditEntry]:
        """All entries, newest first, read page by page as you go.

        Returns:
            A lazy iterator; entries added meanwhile do not disturb it.

        Raises:
            StorageUnavailable: the store failed, while iterating.
        """
        return self._engine.auditing.entries(self._merchant_id)


def _a_head(head: object) -> ChainHead:
    if not isinstance(head, str | ChainHead):
        raise _wrong(ErrorCode.TYPE_INVALID)
    found = _HEAD.fullmatch(str(head))
    if found is None or (found["number"] == "0") is bool(found["digest"]):
        raise _wrong(ErrorCode.VALUE_INVALID)
    return ChainHead(number=int(found["number"]), digest=found["digest"])


def _wrong(code: ErrorCode) -> InvalidRequest:
    return InvalidRequest(
        "expected_head must be a head, or its text", code=code, field="expected_head"
    )
