"""What things cost as the file grows: the same things in files of three sizes, in turns.

How: the first charges of a shop are real. The rows that the last of them left are then written
again under other names, as many times as it takes, in the order in which a shop would have written
them: ids that ascend as time does, numbers that go on, each row with a digest of its own. Only the
links of the chains repeat what was recorded. So such a file is read and charged in like a real one,
and costs what that does, but its chains do not verify.
"""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen

from benchmarks.figures import Figure, Target
from benchmarks.floors import DIGITS, ID, another
from benchmarks.measuring import Contestant, in_turns
from benchmarks.shops import Shop
from payplatform import Event, Payment
from payplatform.keys.local import LocalKeyService
from payplatform.ports import Operation, PlaceInBooks, Posting
from payplatform.storage._rows import DIGEST, digester
from payplatform.storage.sqlite import SQLiteStorage

MOST: Final = 100_000
"""How many payments the largest file has, where nobody says otherwise."""

_FEWEST: Final = 1_000
_LEFT_OPEN: Final = 5
_IN_ONE_GO: Final = 10_000
_PAGE: Final = 50
_LINES: Final = 6  # that a charge has in the books
_AT_ONCE: Final = 50
_CHARGES: Final = 500
_FLAT: Final = 1 / 1.15  # 1.15 times the cost, as a part of the rate
_ROOT: Final = Path(__file__).parent.parent

Row = tuple[Any, ...]


# -- one payment's rows, again and again -----------------------------------------------------------

_KEY: Final = "the-key-of-the-last"
_NUMBER: Final = "\N{WHITE SQUARE}"
# The chains go on from the last link of theirs.
_MOVE_HEADS: Final = """
    UPDATE chain_heads SET number = (
        SELECT max(number) FROM links AS l
        WHERE l.merchant_id = chain_heads.merchant_id AND l.chain = chain_heads.chain
    ) WHERE chain <> 'key'
"""


@frozen
class _Rows:
    """Rows of one table."""

    table: str
    columns: Sequence[str]
    rows: Sequence[Row]


@frozen
class _Again:
    """A row that can be written again for other payments.

    Attributes:
        items: as they were recorded, with a mark wherever a number is to stand.
        named: which of them have that mark.
        counted: which of them counts on with every payment, and by how many; None if none does.
        digest: makes the last of them from the others, where it is their digest.
    """

    items: Row
    named: Sequence[int]
    counted: tuple[int, int] | None
    digest: Callable[[Sequence[Any]], bytes] | None

    def row(self, number: int) -> list[Any]:
        """The row of the `number`th payment after the one that was recorded, from 1."""
        row, digits = list(self.items), f"{number:0{DIGITS}}"
        for at in self.named:
            row[at] = _put(row[at], {_NUMBER: digits})
        if self.counted is not None:
            at, by = self.counted
            row[at] += number * by
        if self.digest is not None:
            row[-1] = self.digest(row[:-1])
        return row


class Seed:
    """A file with a few real charges, which grows by the rows of the last of them.

    Args:
        folder: is made for it, and for the keys of its cards.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._file, self._keys = folder / "seed.db", folder / "master.key"
        self._payments = 0
        shop = Shop(SQLiteStorage(self._file), keys=LocalKeyService.open(self._keys))
        for number in range(_LEFT_OPEN):
            shop.left_open(f"open-{number}")
        with closing(sqlite3.connect(self._file)) as file:
            before = _rows_in(file)
            self._last = shop.charge(_KEY)
            added = [_added(some, before) for some in _rows_in(file)]
        shop.pay.close()
        new = sorted(_ids_in(added) - _ids_in(before))
        self._names = {id_: another(id_, _NUMBER, at) for at, id_ in enumerate(new)}
        self._names[_KEY] = _NUMBER
        self._again = [(some, list(_again(some, self._names))) for some in added if some.rows]

    def copy(self, payments: int) -> Grown:
        """A copy, once there are so many payments more than at first."""
        self._grow(payments)
        return self._grown(shutil.copyfile(self._file, self._file.with_name(f"{payments}.db")))

    def itself(self, payments: int) -> Grown:
        """The file itself, once there are so many. It grows no further."""
        self._grow(payments)
        return self._grown(self._file)

    def _grown(self, file: Path) -> Grown:
        return Grown(
            file=file,
            keys=self._keys,
            payments=self._payments,
            id_=self._names[self._last.id],
            at=self._last.updated_at,
        )

    def _grow(self, payments: int) -> None:
        with closing(_careless(self._file)) as file:
            for first in range(self._payments + 1, payments + 1, _IN_ONE_GO):
                self._write(file, range(first, min(first + _IN_ONE_GO, payments + 1)))
        self._payments = payments

    def _write(self, file: sqlite3.Connection, numbers: range) -> None:
        file.execute("BEGIN")
        for some, again in self._again:
            places = ", ".join("?" * len(some.columns))
            file.executemany(
                f"INSERT INTO {some.table} ({', '.join(some.columns)}) VALUES ({places})",  # noqa: S608  # names of the schema
                (each.row(number) for number in numbers for each in again),
            )
        file.execute(_MOVE_HEADS)
        file.execute("COMMIT")


def _rows_in(file: sqlite3.Connection) -> list[_Rows]:
    """What is in each table, but for the heads of the chains: they move."""
    tables = file.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    return [_rows_of(file, table) for (table,) in tables if table != "chain_heads"]


def _rows_of(file: sqlite3.Connection, table: str) -> _Rows:
    """The rows of a table, without a number that SQLite gives them, and with their digest last."""
    told = file.execute(f"PRAGMA table_info({table})").fetchall()
    keys = [name for _, name, kind, *_, at in told if at and kind == "INTEGER"]
    given = keys if sum(at > 0 for *_, at in told) == 1 else []
    names = [name for _, name, *_ in told if name not in given]
    columns = sorted(names, key=lambda name: name == DIGEST)
    rows = file.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()  # noqa: S608  # as above
    return _Rows(table, columns, rows)


def _added(after: _Rows, before: Sequence[_Rows]) -> _Rows:
    known = {row for some in before if some.table == after.table for row in some.rows}
    return evolve(after, rows=[row for row in after.rows if row not in known])


def _ids_in(tables: Iterable[_Rows]) -> set[str]:
    items = (item for some in tables for row in some.rows for item in row)
    return {id_ for item in items if isinstance(item, str) for id_ in ID.findall(item)}


def _again(some: _Rows, names: Mapping[str, str]) -> Iterator[_Again]:
    digest = digester(some.table, some.columns[:-1]) if some.columns[-1] == DIGEST else None
    for row in some.rows:
        items = tuple(_put(item, names) for item in row)
        named = [at for at, item in enumerate(items) if item != row[at]]
        yield _Again(items, named, _counted(some, row), digest)


def _put(item: Any, names: Mapping[str, str]) -> Any:
    """The item with names put in the place of others, where it is text, or text as bytes."""
    if isinstance(item, str):
        for before, after in names.items():
            item = item.replace(before, after)
    elif isinstance(item, bytes):
        for before, after in names.items():
            item = item.replace(before.encode(), after.encode())
    return item


def _counted(some: _Rows, row: Row) -> tuple[int, int] | None:
    """Links have numbers; of each chain one payment has as many as it has rows there."""
    if some.table != "links":
        return None
    chain, number = (some.columns.index(name) for name in ("chain", "number"))
    return number, sum(other[chain] == row[chain] for other in some.rows)


def _careless(file: Path) -> sqlite3.Connection:
    """A connection that is quick, and whose file is lost if anything goes wrong."""
    connection = sqlite3.connect(file, isolation_level=None)
    for pragma in ("journal_mode = off", "synchronous = off", "cache_size = -200000"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


# -- what is done in such a file -------------------------------------------------------------------


@frozen(kw_only=True)
class Grown:
    """A file of so many payments.

    Attributes:
        keys: the file with the keys of its cards.
        id_: that of each payment, with a mark where its number is to stand.
        at: when all of them were charged.
    """

    file: Path
    keys: Path
    payments: int
    id_: str
    at: datetime

    @property
    def name(self) -> str:
        """What it is called in a figure."""
        return f"{self.payments:,} payments"

    def id_of(self, number: int) -> str:
        """The id of the `number`th payment, from 1, the oldest."""
        return str(_put(self.id_, {_NUMBER: f"{number:0{DIGITS}}"}))


class GrownShop(Shop):
    """The shop whose payments they are. Whatever it does is told a number, for a key."""

    def __init__(self, grown: Grown) -> None:
        self.storage = SQLiteStorage(grown.file)
        super().__init__(self.storage, keys=LocalKeyService.open(grown.keys))
        self._grown = grown

    def charge_one(self, number: int) -> Payment:
        """A sale."""
        return self.charge(f"grown-{number}")

    def first_page(self, number: int) -> Sequence[Payment]:
        """The newest payments."""
        del number
        return self.storage.page(self.client.id, Payment, limit=_PAGE)

    def last_page(self, number: int) -> Sequence[Payment]:
        """The oldest payments, to which the list comes last."""
        del number
        before = self._grown.id_of(_PAGE + 1)
        return self.storage.page(self.client.id, Payment, before=before, limit=_PAGE)

    def history(self, number: int) -> Sequence[Event]:
        """The events of the oldest payment."""
        del number
        return self.client.payments.timeline(self._grown.id_of(1))

    def last_lines(self, number: int) -> Sequence[Posting]:
        """The newest lines of the books, to which a reader comes last."""
        del number
        newest = self._grown.id_of(max(1, self._grown.payments - _PAGE // _LINES))
        after = PlaceInBooks(self._grown.at, newest, 1, 1)
        return self.storage.ledger(self.client.id, after=after, limit=_PAGE)

    def due(self, number: int) -> Sequence[Operation]:
        """What recovery picks: the few that were left open, of all there are."""
        del number
        return self.storage.due_operations(self._grown.at + timedelta(days=1), limit=_PAGE)

    def to_publish(self, number: int) -> Sequence[Event]:
        """What is to be published first, of all that nobody has fetched yet."""
        del number
        return self.storage.outbox(limit=_PAGE)


DOINGS: Final[Mapping[str, Callable[[GrownShop, int], object]]] = {
    "charge": GrownShop.charge_one,
    "first page of payments": GrownShop.first_page,
    "last page of payments": GrownShop.last_page,
    "history of the oldest payment": GrownShop.history,
    "last page of the books": GrownShop.last_lines,
    "what recovery picks": GrownShop.due,
    "what the outbox picks": GrownShop.to_publish,
}
"""What is done in each file, by name."""


def files(folder: Path, most: int) -> list[Grown]:
    """Files of up to so many payments: few, a tenth, and all of them."""
    seed = Seed(folder)
    smaller = sorted({min(_FEWEST, most // 10), most // 10})
    return [*map(seed.copy, smaller), seed.itself(most)]


def figures(grown: Sequence[Grown], rounds: int) -> Iterator[Figure]:
    """What each thing costs in each of the files."""
    shops = {each.name: GrownShop(each) for each in grown}
    fewest, *_, most = shops
    for name, do in DOINGS.items():
        yield Figure(
            name=f"{name}, as the file grows",
            results=in_turns([_contestant(each, do) for each in shops.items()], rounds=rounds),
            targets=[Target(floor=fewest, part=_FLAT)],
            ours=most,
        )
    for shop in shops.values():
        shop.pay.close()


def _contestant(sized: tuple[str, GrownShop], do: Callable[[GrownShop, int], object]) -> Contestant:
    size, shop = sized
    return Contestant(size, lambda _: partial(do, shop), 1, _AT_ONCE)


# -- what it takes of the memory -------------------------------------------------------------------


@frozen(kw_only=True)
class Peak:
    """The most memory that a process had, which did one thing and nothing else.

    Attributes:
        done: how many charges it made, or payments it read.
        took_s: how long that took, in seconds.
        peak_mib: the most that was resident, in MiB.
    """

    what: str
    payments: int
    done: int
    took_s: float
    peak_mib: float


def _charges(shop: Shop) -> int:
    for number in range(_CHARGES):
        shop.charge(f"remembered-{number}")
    return _CHARGES


def _streamed(shop: Shop) -> int:
    return sum(1 for _ in shop.client.payments.list())


PROCESSES: Final[Mapping[str, Callable[[Shop], int]]] = {
    f"{_CHARGES} charges": _charges,
    "list of all payments": _streamed,
}
"""What a process of its own does in each file."""


def peaks(grown: Sequence[Grown]) -> Iterator[Peak]:
    """The memory of each of these processes in each of the files."""
    for what in PROCESSES:
        for each in grown:
            told = subprocess.run(  # noqa: S603  # our own
                [sys.executable, "-m", __name__, what, each.file, each.keys],
                cwd=_ROOT,
                check=True,
                capture_output=True,
            )
            yield Peak(what=what, payments=each.payments, **json.loads(told.stdout))


def _told(what: str, file: str, keys: str) -> str:
    """What came of one thing that this process does, as JSON."""
    shop = Shop(SQLiteStorage(file), keys=LocalKeyService.open(keys))
    began = time.perf_counter()
    done = PROCESSES[what](shop)
    took_s = time.perf_counter() - began
    shop.pay.close()
    return json.dumps({"done": done, "took_s": took_s, "peak_mib": _peak_mib()})


def _peak_mib() -> float:
    """What this program had resident at most; but on Linux, what started it may count, too."""
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    sys.stdout.write(_told(*sys.argv[1:]))
