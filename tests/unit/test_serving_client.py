"""The client on one kept connection. The server is a stand-in that closes it, as uvicorn does when idle."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from drl.errors import StoreError
from drl.serving.client import PolicyClient


class Idle(BaseHTTPRequestHandler):
    """Answers, keeps the connection by its word, and closes it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"action": 1}).encode()
        self.send_response(200)
        for name, value in (
            ("Content-Length", str(len(body))),
            ("X-Model-Root", "ab"),
            ("X-Model-Version", "3"),
            ("X-Request-Id", "r"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Idle)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_connection_closed_while_idle_costs_no_answer(server: ThreadingHTTPServer) -> None:
    with PolicyClient(f"http://127.0.0.1:{server.server_port}") as client:
        for _ in range(3):
            assert client.act("pole", [0.0]).actions == [1]


def test_a_server_that_is_gone_is_told(server: ThreadingHTTPServer) -> None:
    with PolicyClient(f"http://127.0.0.1:{server.server_port}") as client:
        client.act("pole", [0.0])
        server.shutdown()
        server.server_close()
        with pytest.raises(StoreError, match="does not answer"):
            client.act("pole", [0.0])
