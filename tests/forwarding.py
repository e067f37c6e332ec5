"""A forwarder of TCP connections that a test may cut: a server that is gone for one, and not for others."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Forwarder:
    """Listens on a port of its own and forwards to ``address``.

    Args:
        address: ``http://HOST:PORT``.
        named: let the server read its own address in the Host header: MLflow refuses others. Not for S3,
            whose signatures cover the header.
    """

    def __init__(self, address: str, *, named: bool = False) -> None:
        parts = urlsplit(address)
        self._named = named
        self._to = (parts.hostname or "", parts.port or 80)
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._port = free_port()
        self.address = f"{parts.scheme}://127.0.0.1:{self._port}"
        self._hosts = (f"127.0.0.1:{self._port}".encode(), parts.netloc.encode())
        self.mend()

    def mend(self) -> None:
        """Listen, again."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Refuse new connections and break those that are open."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    close = cut

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._to)
            except OSError:
                near.close()
                continue
            self._open |= {near, far}
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data.replace(*self._hosts) if self._named else data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
        self._open.discard(source)
