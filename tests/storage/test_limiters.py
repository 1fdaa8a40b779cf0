"""The limiters that need no server: the contract, and what the one in a file promises beyond it."""

# ruff: noqa: ARG002  # a hook need not heed all it is given

import os
import sqlite3
import stat
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from payplatform.errors import ErrorCode, StorageBusy, StorageUnavailable
from payplatform.ports import Limiter
from payplatform.storage.memory_limiter import MemoryLimiter
from payplatform.storage.sqlite_limiter import SQLiteLimiter
from payplatform.testing.limiter_contract import NOW, LimiterContract, quota

ASKING = """
import sys
from payplatform.storage.sqlite_limiter import SQLiteLimiter
from payplatform.testing.limiter_contract import NOW, quota
path, name, times = sys.argv[1:]
limiter = SQLiteLimiter(path)
counted = [limiter.take(f"{name}-{n}", [quota(most=100)], NOW) is None for n in range(int(times))]
print(sum(counted), flush=True)
"""


class TestInMemory(LimiterContract):
    def make_limiter(self, folder: Path) -> Limiter:
        return MemoryLimiter()

    def test_counters_that_nobody_asks_for_any_more_are_forgotten(self) -> None:
        limiter = MemoryLimiter()
        for number in range(10_000):
            limiter.take("a", [quota(f"c{number}")], NOW + timedelta(seconds=number))
        assert len(limiter._counters) < 2_000


class TestInAFile(LimiterContract):
    is_shared = True

    def make_limiter(self, folder: Path) -> Limiter:
        return SQLiteLimiter(folder / "counts")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.db.limits"


def asking(path: Path, name: str, times: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ASKING, path, name, str(times)], stdout=subprocess.PIPE, text=True
    )


def test_however_many_processes_ask_exactly_as_many_are_counted(path: Path) -> None:
    processes = [asking(path, f"process-{n}", 60) for n in range(4)]
    told = [process.communicate(timeout=60)[0] for process in processes]
    assert sum(map(int, told)) == 100


def test_a_process_that_is_killed_takes_no_second_place_when_it_asks_again(path: Path) -> None:
    """It asks by the same names, however much of it was counted before."""
    process = asking(path, "a", 10_000)
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=60)

    told, _ = asking(path, "a", 100).communicate(timeout=60)
    assert int(told) == 100
    with_others, _ = asking(path, "b", 1).communicate(timeout=60)
    assert int(with_others) == 0


def test_the_file_is_made_when_something_is_first_counted_for_its_owner_alone(path: Path) -> None:
    limiter = SQLiteLimiter(path)
    assert not path.exists()
    limiter.take("a", [quota()], NOW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    limiter.close()


def test_what_is_over_is_dropped_from_the_file(path: Path) -> None:
    limiter = SQLiteLimiter(path)
    for number in range(50):
        limiter.take(f"a{number}", [quota(f"c{number}")], NOW)
    limiter.take("b", [quota()], NOW + timedelta(seconds=60))
    limiter.close()
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM places").fetchone() == (1,)
    db.close()


def test_each_look_is_by_an_index(path: Path) -> None:
    from payplatform.storage import sqlite_limiter as module

    limiter = SQLiteLimiter(path)
    limiter.take("a", [quota()], NOW)
    limiter.close()
    db = sqlite3.connect(path)
    for statement in (module._FREE, module._IS_TAKEN, module._FREE_FIRST, module._GIVE_BACK):
        values = (1,) * statement.count("?")
        plan = db.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
        assert [row[3].partition(" ")[0] for row in plan] == ["SEARCH"], statement
    db.close()


def test_a_damaged_file_is_a_store_that_fails(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)
    limiter = SQLiteLimiter(path)
    for _ in range(2):
        with pytest.raises(StorageUnavailable) as caught:
            limiter.take("a", [quota()], NOW)
        assert caught.value.code is ErrorCode.STORAGE_CORRUPT
        assert caught.value.__context__ is None
    limiter.close()


def test_others_who_hold_the_file_for_too_long_are_a_busy_store(path: Path) -> None:
    limiter = SQLiteLimiter(path, busy_timeout_s=0.01)
    limiter.take("a", [quota()], NOW)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageBusy):
        limiter.take("b", [quota()], NOW)
    holder.execute("ROLLBACK")
    holder.close()
    assert limiter.take("b", [quota()], NOW) is None
    limiter.close()


def test_a_process_may_fork_between_two_counts(path: Path) -> None:
    limiter = SQLiteLimiter(path)
    limiter.take("a", [quota()], NOW)
    child = os.fork()
    if not child:
        os._exit(0 if limiter.take("b", [quota()], NOW) is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert limiter.take("c", [quota()], NOW) is not None
    limiter.close()
