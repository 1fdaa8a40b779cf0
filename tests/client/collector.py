"""All that comes out of a library: values and errors in every form, what it says, every file."""

from __future__ import annotations

import copy
import faulthandler
import json
import logging
import pickle
import sqlite3
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
from no_leak import our_locals


class Collector:
    """Keeps everything it sees, each thing once, in every form that it can be asked for."""

    def __init__(self, folder: Path) -> None:
        self.heap: set[bytes] = set()
        self.calls = 0
        self.errors: set[type[BaseException]] = set()
        self.statements = 0
        self.journals: set[str] = set()
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def hear(self, text: str) -> None:
        """What was said on the way."""
        self.heap.add(text.encode("utf-8", "backslashreplace"))

    def see(self, thing: Any) -> None:
        """A value: as text, taken apart, pickled, copied."""
        for form in (repr, str, format, lambda thing: repr(vars(thing))):
            with suppress(TypeError, AttributeError):
                self.hear(form(thing))
        if attrs.has(type(thing)):
            self.hear(json.dumps(attrs.asdict(thing), default=repr))
        with suppress(Exception):
            self.heap.add(pickle.dumps(thing))
        with suppress(Exception):
            self.hear(repr(copy.deepcopy(thing)))
        if isinstance(thing, bytes):
            self.heap.add(thing)

    def see_error(self, error: BaseException, *, with_locals: bool = True) -> None:
        """An error: with causes, notes, arguments, and the local variables of our code."""
        self.errors.add(type(error))
        self.see(error)
        self.hear("".join(traceback.format_exception(error)))
        chained: BaseException | None = error
        while chained is not None:
            notes = getattr(chained, "__notes__", [])
            self.hear(repr((chained, chained.args, vars(chained), notes)))
            for local in our_locals(chained.__traceback__) if with_locals else ():
                self.hear(local)
            chained = chained.__cause__ or chained.__context__

    def trying(self, call: Callable[[], Any], *, with_locals: bool = True) -> Any:
        """Make a call and keep what comes out, be it a value or an error."""
        self.calls += 1
        try:
            result = call()
            if isinstance(result, Iterator):
                result = list(result)
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not leak
            self.see_error(error, with_locals=with_locals)
            return None
        for thing in result if isinstance(result, list | tuple) else [result]:
            self.see(thing)
        return result

    def files(self) -> dict[Path, bytes]:
        """Every file of the folder, as it is now."""
        return {path: path.read_bytes() for path in self._folder.rglob("*") if path.is_file()}

    def stacks(self) -> None:
        """What faulthandler writes when a process dies here and now."""
        with tempfile.TemporaryFile(dir=self._folder) as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            self.heap.add(file.read())

    @contextmanager
    def listening(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """All logs at DEBUG, each statement traced, each warning kept, temporary files in view."""
        temporary = self._folder / "tmp"
        temporary.mkdir(exist_ok=True)
        monkeypatch.setenv("TMPDIR", str(temporary))
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        self._trace(monkeypatch)
        log = logging.FileHandler(self._folder / "debug.log")
        root, level = logging.getLogger(), logging.getLogger().level
        root.addHandler(log)
        root.setLevel(logging.DEBUG)
        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                yield
            for warning in warned:
                self.hear(str(warning))
        finally:
            root.removeHandler(log)
            root.setLevel(level)
            log.close()

    def _trace(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each statement with its values in it, and at each commit the rollback journals."""
        connect = sqlite3.connect

        def statement(sql: str) -> None:
            self.statements += 1
            self.hear(sql)
            if sql.strip().upper() == "COMMIT":
                for journal in self._folder.glob("*-journal"):
                    self.journals.add(journal.name)
                    with suppress(FileNotFoundError):  # another thread's, and over
                        self.heap.add(journal.read_bytes())

        def traced(*args: Any, **kwargs: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*args, **kwargs)
            connection.set_trace_callback(statement)
            return connection

        monkeypatch.setattr(sqlite3, "connect", traced)
