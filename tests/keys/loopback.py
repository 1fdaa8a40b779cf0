"""A small HTTP server on loopback that answers as it is told, or does not."""

import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self


class Request(NamedTuple):
    path: str
    headers: Mapping[str, str]
    body: bytes


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str] = {}


class Hang(Exception):  # not a fault of the test's
    """Raised to give no answer for as long as the server lives."""


class Drop(Exception):  # as above
    """Raised to close the connection without an answer."""


class LoopbackServer:
    """Answers every request with what `answer` makes of it; `asked` lists the requests."""

    def __init__(
        self, answer: Callable[[Request], Answer], *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.answer = answer
        self.asked: list[Request] = []
        self._over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = (
            f"{'http' if tls is None else 'https'}://127.0.0.1:{self._server.server_address[1]}"
        )

    def __enter__(self) -> Self:
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = Request(self.path, dict(self.headers), body)
                server.asked.append(request)
                try:
                    answer = server.answer(request)
                except (Hang, Drop) as how:
                    if isinstance(how, Hang):
                        server._over.wait(60)
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = do_PUT = handle_any  # noqa: N815  # the names that it looks for

            def handle(self) -> None:
                # A client that trusts no such certificate hangs up.
                with suppress(ssl.SSLError, ConnectionError):
                    super().handle()

            def log_message(self, *_: object) -> None:
                pass

        return Handler
