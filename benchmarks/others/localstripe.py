"""localstripe, a server that pretends to be Stripe, on loopback; asked by Stripe's own client."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Final

from benchmarks.others.till import CARD, CURRENCY, PRICE, Pay

PACKAGES: Final = ("localstripe", "stripe")
DOES_NOT: Final = """\
- It is a double for tests: it moves no money, and its balance is always 20.00.
- It has no database: every write pickles all that there is into one file, so that a payment costs
  the more, the more there are. The file is written in place, and never synced.
- It knows of no idempotency keys: one that is sent twice makes two payments.
- It keeps card numbers in that file as they are.
- It knows of no merchants: whatever the key, it reads every payment.
- It has no recovery, and no books but a list of what was charged.
"""

# Its file would stand in /tmp, on whatever disk that is, and it would listen to the whole network.
_SERVER: Final = """
import socket, sys
from pathlib import Path
from aiohttp import web
from localstripe import resources, server

folder, listening = sys.argv[1:]
resources.open = lambda path, mode: open(Path(folder, Path(path).name), mode)
web.run_app(server.app, sock=socket.socket(fileno=int(listening)), print=None, access_log=None)
"""
_AT_MOST_S: Final = 60.0


@contextmanager
def opened(folder: Path) -> Iterator[Pay]:
    """A server of its own, with one card on file."""
    import stripe

    # Who asks before it serves is heard by the socket that it is handed.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = "http://{}:{}".format(*listening.getsockname())
        server = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(folder), str(listening.fileno())],
            pass_fds=[listening.fileno()],
        )
    try:
        client = stripe.StripeClient(
            "sk_test_nobody",
            base_addresses={"api": address},
            http_client=stripe.RequestsClient(timeout=_AT_MOST_S),
        ).v1
        number_to_expiry = {"number": CARD, "exp_month": 12, "exp_year": 2040, "cvc": "123"}
        card = client.payment_methods.create({"type": "card", "card": number_to_expiry})
        intents = client.payment_intents

        def pay(number: int) -> Decimal:
            created = intents.create(
                {
                    "amount": int(PRICE * 100),
                    "currency": CURRENCY.lower(),
                    "payment_method": card.id,
                    "capture_method": "manual",
                },
                {"idempotency_key": f"create-{number}"},
            )
            intents.confirm(created.id, {}, {"idempotency_key": f"authorize-{number}"})
            intents.capture(created.id, {}, {"idempotency_key": f"capture-{number}"})
            read = intents.retrieve(created.id)
            return Decimal(read.amount if read.status == "succeeded" else 0) / 100

        yield pay
    finally:
        server.terminate()
        try:
            server.wait(_AT_MOST_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
