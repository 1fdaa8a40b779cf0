"""Who sent a message, and when: signatures in the form of Standard Webhooks.

Law of this file: it sees bytes and headers, and makes nothing of what they say. A signature is an
HMAC-SHA-256 over id, time and body as they came (standardwebhooks.com, specification 1.0); all that
are given are compared, each in a time that does not tell where it differs.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from payplatform.errors import ErrorCode, NotAuthentic

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
TOLERANCE_S: Final = 300
"""How far the sender's clock and the way may take a message from now, in seconds, either side."""

_VERSION: Final = "v1,"
_LONGEST: Final = 4_096


def sign(raw: bytes, *, name: str, at: datetime, key: bytes) -> dict[str, str]:
    """The headers that go with a message.

    Args:
        raw: its body.
        name: what it is known by, the same when it is delivered again.
        at: when it is delivered.
        key: the secret that both sides have.
    """
    timestamp = str(int(at.timestamp()))
    signature = _VERSION + base64.b64encode(_mac(raw, name, timestamp, key)).decode()
    return {ID: name, TIMESTAMP: timestamp, SIGNATURE: signature}


def verify(raw: bytes, headers: Mapping[str, str], *, key: bytes, now: datetime) -> None:
    """Pass where a message was signed with this key, and not long ago.

    Args:
        raw: its body, as it came.
        headers: as they came; their names in any case.
        key: the secret that both sides have.
        now: the time.

    Raises:
        NotAuthentic: `signature_missing`, `signature_invalid` or `signature_stale`.
    """
    given = {name.lower(): value for name, value in headers.items()}
    name, timestamp, signatures = (given.get(header, "") for header in (ID, TIMESTAMP, SIGNATURE))
    if not (name and timestamp and signatures):
        raise _refused("it lacks a header that every signed message has", "SIGNATURE_MISSING")
    if max(len(name), len(timestamp), len(signatures)) > _LONGEST:
        raise _refused("its headers are longer than any signature is", "SIGNATURE_INVALID")
    right = (_VERSION + base64.b64encode(_mac(raw, name, timestamp, key)).decode()).encode()
    offered = (text.encode("utf-8", "surrogatepass") for text in signatures.split(" "))
    # All are compared: while a key is replaced there may be one for each.
    if not sum(hmac.compare_digest(right, signature) for signature in offered):
        raise _refused("no signature of it is ours", "SIGNATURE_INVALID")
    if not (timestamp.isascii() and timestamp.isdigit()):
        raise _refused("its time is no number of seconds", "SIGNATURE_INVALID")
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE_S:
        raise _refused(f"it was not signed within {TOLERANCE_S} s of now", "SIGNATURE_STALE")


def _mac(raw: bytes, name: str, timestamp: str, key: bytes) -> bytes:
    signed = b".".join((_bytes(name), _bytes(timestamp), raw))
    return hmac.new(key, signed, hashlib.sha256).digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _refused(why: str, code: str) -> NotAuthentic:
    return NotAuthentic(f"the message is not taken: {why}", code=ErrorCode[code])
