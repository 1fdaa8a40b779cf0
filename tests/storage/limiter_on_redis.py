"""Attempts counted in Redis: the contract on a real server, and what happens without one.

Not collected by name, since pip brings no Redis: `make test-services` runs it.
"""

# ruff: noqa: ARG002  # a hook need not heed all it is given

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis, RedisError

from payplatform.errors import StorageUnavailable
from payplatform.ports import Limiter
from payplatform.storage.redis_limiter import RedisLimiter
from payplatform.testing.limiter_contract import NOW, LimiterContract, quota

STARTS_WITHIN_S = 30.0
PASSWORD = "the-password-of-the-test"

ASKING = """
import sys
from payplatform.storage.redis_limiter import RedisLimiter
from payplatform.testing.limiter_contract import NOW, quota
url, name = sys.argv[1:]
limiter = RedisLimiter(url, timeout_s=10.0)
counted = [limiter.take(f"{name}-{n}", [quota(most=100)], NOW) is None for n in range(60)]
print(sum(counted))
"""


class Server:
    """A server on loopback that writes down all it is told before it answers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self._port}/0"
        self.start()

    def start(self) -> None:
        options = {
            "--bind": "127.0.0.1",
            "--port": str(self._port),
            "--dir": str(self._folder),
            "--requirepass": PASSWORD,
            "--appendonly": "yes",
            "--appendfsync": "always",
            "--save": "",
        }
        words = [word for pair in options.items() for word in pair]
        self._process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
        self._wait()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(30)

    def empty(self) -> None:
        with Redis.from_url(self.url) as redis:
            redis.flushall()

    def _wait(self) -> None:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while True:
            try:
                with Redis.from_url(self.url) as redis:
                    redis.ping()
            except RedisError:
                assert self._process.poll() is None, "the server has ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.05)
                continue
            return


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port: int = door.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


class TestInRedis(LimiterContract):
    is_shared = True

    @pytest.fixture(autouse=True)
    def emptied(self, server: Server) -> None:
        server.empty()
        self.server = server

    def make_limiter(self, folder: Path) -> Limiter:
        return RedisLimiter(self.server.url, timeout_s=10.0)


def test_however_many_processes_ask_exactly_as_many_are_counted(server: Server) -> None:
    server.empty()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ASKING, server.url, f"process-{n}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    told = [process.communicate(timeout=60)[0] for process in processes]
    assert sum(map(int, told)) == 100


def test_a_server_that_is_gone_fails_and_is_found_again_with_all_that_was_counted(
    server: Server,
) -> None:
    server.empty()
    limiter = RedisLimiter(server.url)
    limiter.take("a", [quota(most=1)], NOW)
    server.stop()
    with pytest.raises(StorageUnavailable) as caught:
        limiter.take("b", [quota(most=1)], NOW)
    with pytest.raises(StorageUnavailable):
        limiter.give_back("a", ["c"])
    assert caught.value.__context__ is None
    assert PASSWORD not in str(caught.value)

    server.start()
    assert limiter.take("b", [quota(most=1)], NOW) is not None
    assert limiter.take("a", [quota(most=1)], NOW) is None
    limiter.close()


def test_a_server_that_says_nothing_is_waited_for_no_longer_than_told() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        limiter = RedisLimiter(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", timeout_s=0.1)
        began = time.monotonic()
        with pytest.raises(StorageUnavailable):
            limiter.take("a", [quota()], NOW)
        assert time.monotonic() - began < 5
        limiter.close()


def test_a_wrong_password_is_a_limiter_that_fails(server: Server) -> None:
    limiter = RedisLimiter(server.url.replace(PASSWORD, "another"))
    with pytest.raises(StorageUnavailable) as caught:
        limiter.take("a", [quota()], NOW)
    assert "another" not in str(caught.value)
    limiter.close()


def test_counters_are_named_after_the_prefix_and_do_not_stay_for_ever(server: Server) -> None:
    server.empty()
    limiter = RedisLimiter(server.url, prefix="shop")
    limiter.take("a", [quota()], NOW)
    with Redis.from_url(server.url) as redis:
        (name,) = redis.keys("*")
        kept_s = redis.ttl(name)
    assert name == b"{shop}:c"
    assert isinstance(kept_s, int)
    assert 60 < kept_s <= 60 + 3_600
    assert PASSWORD not in str(limiter.describe())
    limiter.close()
