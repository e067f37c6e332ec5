"""Servers that answer otherwise than MLflow, a store or a chain does: told as out of reach, never a crash."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from drl.errors import StoreError
from drl.serving.behind import Behind
from drl.serving.registry import RegistryClient

Answering = Callable[[bytes], str]
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Starts a server that gives every connection the same bytes; its address."""
    listeners: list[socket.socket] = []

    def start(answer: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=_serve, args=(listener, answer), daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _serve(listener: socket.socket, answer: bytes) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # closed: the test is over
            return
        with connection:
            connection.recv(65536)
            connection.sendall(answer)


def body(text: bytes, *, missing: int = 0) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n" % (len(text) + missing) + text


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"220 mail.example ESMTP\r\n", "cannot be reached: BadStatusLine"),
        (b"", "cannot be reached: RemoteDisconnected"),
        (body(b'{"registered_model": {', missing=40), "cannot be reached: JSONDecodeError"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "cannot be reached: IncompleteRead"),
        (body(b"<html>"), "cannot be reached: JSONDecodeError"),
        (body(b"[]"), "cannot be read: "),
        (body(b"{}"), "cannot be read: KeyError"),
        (
            body(b'{"registered_model": {"aliases": [{}]}, "model_version": {"tags": [0]}}'),
            "cannot be read: ",
        ),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "answers 500"),
    ],
)
def test_a_registry_that_talks_nonsense_is_out_of_reach(
    answering: Answering, answer: bytes, words: str
) -> None:
    client = RegistryClient(answering(answer))
    for ask in (lambda: client.version("pole", "champion"), lambda: client.target("pole", 1)):
        with pytest.raises(StoreError, match=words):
            ask()


def test_an_alias_and_its_version_are_read(answering: Answering) -> None:
    model = b'{"registered_model": {"name": "pole", "aliases": [{"alias": "champion", "version": "3"}]}}'
    assert RegistryClient(answering(body(model))).version("pole", "champion") == 3
    assert RegistryClient(answering(body(b'{"registered_model": {}}'))).version("pole", "champion") is None
    models = b'{"registered_models": [%s]}' % model.removeprefix(b'{"registered_model": ').removesuffix(b"}")
    assert RegistryClient(answering(body(models))).aliases("champion") == {"pole": 3}


def test_servers_behind_that_talk_nonsense_are_down(answering: Answering) -> None:
    nonsense = answering(b"220 mail.example ESMTP\r\n")
    behind = Behind({"registry": nonsense, "store": nonsense, "ledger": None})
    behind.look()
    assert behind.up == {"registry": False, "store": False, "ledger": False}
    assert behind.problems()[0] == "the registry cannot be reached"
