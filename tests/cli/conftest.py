"""A database that `payplatform init` has made, fresh for each test."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Shell, copied


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new database, made once and copied for each test."""
    db = tmp_path_factory.mktemp("template") / "shop.db"
    assert Shell(db)("init").code == 0
    return db


@pytest.fixture
def shell(template: Path, tmp_path: Path) -> Shell:
    """Commands on a database with one merchant and nothing else."""
    return copied(template, tmp_path)


@pytest.fixture
def empty(tmp_path: Path) -> Shell:
    """Commands where no database is yet."""
    return Shell(tmp_path / "shop.db")


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_counts() -> Iterator[None]:
    """A run in the background ignores Ctrl-C, and would hand that on to what it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
