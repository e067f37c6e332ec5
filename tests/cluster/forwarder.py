"""A server shown at another address: the loopback's to the pods of a cluster, or a cluster behind a cable."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cluster.kubernetes_api import Kubectl


def address_for_pods(kubectl: Kubectl) -> str:
    """The address from which this machine talks to the cluster's node: pods can answer it."""
    (node, *_) = kubectl.json("get", "nodes")["items"]
    internal = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((internal, 9))  # sends nothing: only the way there is looked up
        address: str = probe.getsockname()[0]
    return address


class Forwarder:
    """Takes connections at a free port of ``host`` and passes them on; can be cut like a network cable."""

    def __init__(self, host: str, to_port: int, to_host: str = "127.0.0.1") -> None:
        self._to = to_host, to_port
        self._loop = asyncio.new_event_loop()
        self._open: set[asyncio.StreamWriter] = set()
        self._cut = False
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, host, 0))
        self.address = f"{host}:{self._server.sockets[0].getsockname()[1]}"
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """End all connections and refuse new ones."""
        self._cut = True
        self._loop.call_soon_threadsafe(self._close_all)

    def mend(self) -> None:
        """Take connections again."""
        self._cut = False

    def stop(self) -> None:
        """Close everything."""
        self._loop.call_soon_threadsafe(self._server.close)
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.close()
            return
        there_reader, there_writer = await asyncio.open_connection(*self._to)
        ends = {writer, there_writer}
        self._open |= ends
        with suppress(ConnectionError):
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
        self._open -= ends
        for end in ends:
            end.close()

    def _close_all(self) -> None:
        for end in self._open:
            end.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()


@contextmanager
def forwarded(host: str, to_port: int, to_host: str = "127.0.0.1") -> Iterator[Forwarder]:
    """A forwarder, closed at the end."""
    forwarder = Forwarder(host, to_port, to_host)
    try:
        yield forwarder
    finally:
        forwarder.stop()
