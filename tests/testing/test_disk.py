"""The disk that remembers: what is sure after a power cut is what was synced, and nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from payplatform.testing.disk import Disk, Image, Loss, recording_disk

SYNCS = {"wal": "FULL", "delete": "EXTRA"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


@contextmanager
def opened(folder: Path, *, mode: str = "wal", sync: str = "FULL") -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(folder / "x.db", isolation_level=None)) as connection:
        # Or what ends the journal of this change is not sure: see test_born_twice.py.
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute(f"PRAGMA synchronous = {sync}")
        connection.execute("CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY)")
        yield connection


def add(connection: sqlite3.Connection, number: int) -> None:
    connection.execute("INSERT INTO numbers VALUES (?)", (number,))


def add_many(connection: sqlite3.Connection) -> None:
    for number in range(2, 20):
        add(connection, number)


def numbers_in(folder: Path) -> set[int]:
    with closing(sqlite3.connect(folder / "x.db")) as connection:
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return set()
        return {number for (number,) in connection.execute("SELECT number FROM numbers")}


def recorded(folder: Path, numbers: int, *, mode: str, sync: str) -> Disk:
    """Add numbers, each marked once it was committed."""
    with recording_disk(folder) as disk, opened(folder, mode=mode, sync=sync) as connection:
        for number in range(numbers):
            add(connection, number)
            disk.mark(number)
    return disk


def lost(image: Image, folder: Path) -> set[object]:
    image.write_to(folder)
    return set(image.marks) - numbers_in(folder)


@pytest.mark.parametrize("mode", SYNCS)
def test_what_is_committed_to_a_store_that_waits_for_the_disk_is_in_every_image(
    mode: str, folder: Path
) -> None:
    disk = recorded(folder, 5, mode=mode, sync=SYNCS[mode])
    images = list(disk.images())
    assert len(images) > 40
    assert not any(lost(image, folder) for image in images)


@pytest.mark.parametrize(("mode", "sync"), [("wal", "NORMAL"), ("delete", "FULL")])
def test_what_is_committed_to_one_that_does_not_is_missing_in_some(
    mode: str, sync: str, folder: Path
) -> None:
    """Also where the end of a journal's name was not synced: then it comes back and undoes."""
    disk = recorded(folder, 5, mode=mode, sync=sync)
    assert any(lost(image, folder) for image in disk.images([Loss.DROPPED]))


def test_where_nothing_is_lost_the_image_is_what_the_folder_was(folder: Path) -> None:
    with recording_disk(folder) as disk, opened(folder) as connection:
        for number in range(5):
            add(connection, number)
            *_, last = disk.images([Loss.NOTHING])
            assert last.files == {name: (folder / name).read_bytes() for name in last.files}
            assert last.files.keys() == {"x.db", "x.db-wal"}


def test_each_image_is_told_once_and_the_same_again(folder: Path) -> None:
    disk = recorded(folder, 3, mode="wal", sync="FULL")
    images = list(disk.images(seeds=range(3)))
    assert images == list(disk.images(seeds=range(3)))
    contents = [(len(i.marks), tuple(sorted(i.files.items()))) for i in images]
    assert len(set(contents)) == len(contents)


def test_a_torn_write_is_there_in_some_of_its_sectors(folder: Path) -> None:
    disk = recorded(folder, 1, mode="wal", sync="OFF")
    whole = {len(image.files.get("x.db-wal", b"")) for image in disk.images([Loss.NOTHING])}
    torn = [image.files.get("x.db-wal", b"") for image in disk.images([Loss.TORN], seeds=range(9))]
    assert any(len(log) not in whole and len(log) % 512 == 0 for log in torn)


@settings(max_examples=25)
@given(
    lives=st.lists(st.tuples(st.integers(1, 80), st.sampled_from(Loss)), min_size=1, max_size=4),
    seed=st.integers(0, 2**16),
)
@example(lives=[(11, Loss.SCATTERED), (21, Loss.DROPPED)], seed=1292)
def test_a_power_cut_in_place_loses_nothing_that_was_committed(
    tmp_path_factory: pytest.TempPathFactory, lives: list[tuple[int, Loss]], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("disk")
    committed = set[int]()
    with recording_disk(folder) as disk:
        for life, (at, loss) in enumerate(lives):
            disk.power_off(at)
            try:
                with opened(folder) as connection:
                    for number in range(life * 100, life * 100 + 20):
                        add(connection, number)
                        committed.add(number)
            except sqlite3.OperationalError:
                pass
            disk.power_off()
            disk.power_on(loss, seed=seed)
            assert numbers_in(folder) >= committed


FAILURES: dict[str, Callable[[Disk], None]] = {
    "SQLITE_IOERR_FSYNC": lambda disk: disk.fail_sync(2),
    "SQLITE_IOERR_WRITE": lambda disk: disk.fail_write(3),
    "SQLITE_FULL": lambda disk: disk.full_after(10_000),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_call_that_fails_is_seen_by_sqlite_and_the_disk_can_be_mended(
    name: str, folder: Path
) -> None:
    with recording_disk(folder) as disk, opened(folder) as connection:
        add(connection, 1)
        FAILURES[name](disk)
        with pytest.raises(sqlite3.OperationalError) as caught:
            add_many(connection)
        assert caught.value.sqlite_errorname == name
        disk.mend()
        add(connection, 99)
    assert {1, 99} <= numbers_in(folder)


def test_what_a_failed_sync_was_to_make_sure_is_not_made_sure_by_a_later_one(folder: Path) -> None:
    """As Linux does it: once a sync has failed, the next one says nothing of what was before."""
    with recording_disk(folder) as disk, opened(folder, sync="NORMAL") as connection:
        add(connection, 1)
        disk.fail_sync()
        with pytest.raises(sqlite3.OperationalError):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA synchronous = FULL")
        add(connection, 2)
        disk.mark(2)
        images = list(disk.images([Loss.DROPPED]))
    images[-1].write_to(folder)
    assert 2 in images[-1].marks
    assert 2 not in numbers_in(folder)


def test_a_folder_is_recorded_by_one_at_a_time_and_then_left_alone(folder: Path) -> None:
    with recording_disk(folder) as disk, pytest.raises(RuntimeError), recording_disk(folder):
        pass
    with opened(folder) as connection:
        add(connection, 1)
    assert disk.calls == 0


def test_what_goes_wrong_while_recording_is_not_kept_quiet(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Disk, "perform", stop)
    with (
        pytest.raises(KeyboardInterrupt),
        recording_disk(folder),
        pytest.raises(sqlite3.OperationalError),
    ):
        sqlite3.connect(folder / "x.db").close()
