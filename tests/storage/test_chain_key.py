"""How a link is made; a chain with a key, without which nobody can open the file or make one."""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payplatform.errors import ErrorCode, StorageUnavailable
from payplatform.ports import Chain, ChainHead
from payplatform.storage._chains import NO_LINK, head_at, next_link
from payplatform.storage.sqlite import SQLiteStorage
from payplatform.testing._records import a_payment
from payplatform.testing._storage_talk import MINE, write

KEY, ANOTHER = bytes(range(32)), bytes(32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "books.db"


def begin(path: Path, key: bytes | None) -> None:
    with closing(SQLiteStorage(path, chain_key=key)) as storage:
        write(storage, a_payment(MINE))
        write(storage, a_payment(MINE, version=2))


def test_a_keyed_chain_is_sound_and_goes_on_after_the_file_is_opened_again(path: Path) -> None:
    begin(path, KEY)
    with closing(SQLiteStorage(path, chain_key=KEY)) as storage:
        write(storage, a_payment(MINE, version=3))
        report = storage.verify(MINE, Chain.JOURNAL)
    assert report.ok
    assert report.head.number == 3


@pytest.mark.parametrize(("begun", "opened"), [(KEY, None), (KEY, ANOTHER), (None, KEY)])
def test_a_file_is_opened_with_the_chain_key_it_was_begun_with_alone(
    path: Path, begun: bytes | None, opened: bytes | None
) -> None:
    begin(path, begun)
    with pytest.raises(StorageUnavailable) as caught:
        SQLiteStorage(path, chain_key=opened)
    assert caught.value.code is ErrorCode.STORAGE_SETTINGS
    SQLiteStorage(path, chain_key=begun).close()


@pytest.mark.parametrize("key", [b"", b"short", bytes(33), "x" * 32])
def test_a_chain_key_is_32_bytes(path: Path, key: object) -> None:
    with pytest.raises(StorageUnavailable) as caught:
        SQLiteStorage(path, chain_key=key)  # type: ignore[arg-type]  # what is refused
    assert caught.value.code is ErrorCode.STORAGE_SETTINGS
    assert not path.exists()


def test_a_chain_that_was_made_anew_without_the_key_is_reported(path: Path) -> None:
    begin(path, KEY)
    with closing(sqlite3.connect(path)) as by_hand:
        by_hand.execute("DROP TRIGGER links_refuse_update")
        head = NO_LINK
        for number, body in by_hand.execute("SELECT number, body FROM links").fetchall():
            link = next_link(Chain.JOURNAL, MINE, head, body)
            head = head_at(link)
            by_hand.execute("UPDATE links SET digest = ? WHERE number = ?", (link.digest, number))
        by_hand.execute("UPDATE chain_heads SET digest = ? WHERE chain = 'journal'", (link.digest,))
        by_hand.commit()
    with closing(SQLiteStorage(path, chain_key=KEY)) as storage:
        report = storage.verify(MINE, Chain.JOURNAL)
    assert (report.ok, report.link) == (False, 1)


@given(st.text(), st.integers(min_value=0), st.binary(min_size=32, max_size=32), st.binary())
def test_a_link_is_made_of_plain_json_and_of_what_it_names(
    merchant_id: str, number: int, digest: bytes, body: bytes
) -> None:
    """Anybody can make it anew, with no more than this."""
    head = ChainHead(number=number, digest=digest.hex())
    said = ["payplatform/chain/1", "journal", merchant_id, number + 1, digest.hex()]
    linked = json.dumps(said).encode() + b"\n" + body
    made = next_link(Chain.JOURNAL, merchant_id, head, body)
    assert made == (number + 1, body, hashlib.sha256(linked).digest())
