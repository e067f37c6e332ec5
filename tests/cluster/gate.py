"""A way to a server that can be closed and opened again: the server stays, it is only out of reach."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Gate:
    """Hands bytes on between clients of 127.0.0.1 and a server, while it is open."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._open = True
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where clients come."""
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """End every connection, and each new one at once."""
        self._open = False
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()

    def open(self) -> None:
        """Let connections through again."""
        self._open = True

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            if not self._open:
                client.close()
                continue
            server = socket.create_connection(self._target)
            self._connections += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
