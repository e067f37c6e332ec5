"""``drl store doctor`` on the real store, and on stand-ins that lie: a proxy changes some answers."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from drl.local.stack import Stack
from drl.stores.settings import S3Settings
from drl.stores.write_once import prove_write_once

Lie = Callable[[str, str], tuple[int, bytes] | None]
DELETED = b'<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></DeleteResult>'
FORBIDDEN = b"<Error><Code>AccessDenied</Code><Message>not you</Message></Error>"
BROKEN = b"<Error><Code>InternalError</Code><Message>not now</Message></Error>"
GONE = b"<Error><Code>NoSuchVersion</Code><Message>no such version</Message></Error>"


def says_it_deletes(method: str, path: str) -> tuple[int, bytes] | None:
    """Answers yes to every deletion, and does none."""
    if method == "DELETE":
        return 204, b""
    return (200, DELETED) if method == "POST" and path.endswith("?delete") else None


def says_it_unlocks(method: str, path: str) -> tuple[int, bytes] | None:
    """Answers yes to every change of a lock, and makes none."""
    return (200, b"") if method == "PUT" and "retention" in parse_qs(urlsplit(path).query, True) else None


def loses_what_it_locked(method: str, path: str) -> tuple[int, bytes] | None:
    """Refuses as it should, and has lost the bytes all the same."""
    return (404, GONE) if method == "GET" and "versionId=" in path and "retention" not in path else None


def forbids_these_credentials(method: str, path: str) -> tuple[int, bytes] | None:
    """Knows no locks: it refuses whoever asks, also to delete what is not locked."""
    if method == "DELETE" and "versionId=" in path:
        return 403, FORBIDDEN
    return None


def is_not_well(method: str, path: str) -> tuple[int, bytes] | None:
    """Fails at every deletion."""
    return (500, BROKEN) if method == "DELETE" else None


@contextmanager
def standing_in(endpoint: str, lie: Lie) -> Iterator[str]:
    """A stand-in for a lying store: the real one behind a proxy that gives some answers itself."""
    real = urlsplit(endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            told = lie(self.command, self.path) or self.ask(body)
            self.send_response(told[0])
            for name, value in told[2] if len(told) > 2 else []:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(told[1])))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(told[1])

        def ask(self, body: bytes) -> tuple[Any, ...]:
            connection = http.client.HTTPConnection(real, timeout=20)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            connection.request(self.command, self.path, body or None, headers)
            reply = connection.getresponse()
            hop = ("content-length", "transfer-encoding", "connection")
            kept = [(n, v) for n, v in reply.getheaders() if n.lower() not in hop]
            return reply.status, reply.read(), kept

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def settings(stack: Stack) -> S3Settings:
    e = stack.environment()
    return S3Settings(e["DRL_S3_ENDPOINT"], e["DRL_S3_ACCESS_KEY"], e["DRL_S3_SECRET_KEY"])


def doctor(settings: S3Settings, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "DRL_S3_ENDPOINT": settings.endpoint,
        "DRL_S3_ACCESS_KEY": settings.access_key,
        "DRL_S3_SECRET_KEY": settings.secret_key,
    }
    return subprocess.run(
        [sys.executable, "-m", "drl", "store", "doctor", *arguments],
        env=os.environ | environment | changes,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_real_store_holds(settings: S3Settings) -> None:
    done = doctor(settings)
    assert done.returncode == 0, done.stderr
    assert "FALSE" not in done.stdout
    for tried in ("delete", "bypass", "batch", "shorten", "weaken", "overwrite", "read the lock"):
        assert tried in done.stdout
    assert done.stdout.count("  held") == 10


@pytest.mark.parametrize(
    ("lie", "broken"),
    [
        (
            says_it_deletes,
            ["delete the locked version", "delete it with the governance bypass", "delete it in a batch"],
        ),
        (
            says_it_unlocks,
            ["shorten the lock", "shorten it with the governance bypass", "weaken the mode to governance"],
        ),
        (loses_what_it_locked, ["find what was locked"]),
    ],
)
def test_a_lying_store_is_found_out(settings: S3Settings, lie: Lie, broken: list[str]) -> None:
    with standing_in(settings.endpoint, lie) as endpoint:
        checks = prove_write_once(S3Settings(endpoint, settings.access_key, settings.secret_key))
    assert [check.name for check in checks if not check.ok] == broken


def test_the_stand_in_changes_nothing_else(settings: S3Settings) -> None:
    with standing_in(settings.endpoint, lambda *_: None) as endpoint:
        checks = prove_write_once(S3Settings(endpoint, settings.access_key, settings.secret_key))
    assert all(check.ok for check in checks)


def test_the_command_says_plainly_that_a_store_lies(settings: S3Settings) -> None:
    with standing_in(settings.endpoint, says_it_deletes) as endpoint:
        done = doctor(settings, "--json", DRL_S3_ENDPOINT=endpoint)
    assert done.returncode == 1
    assert "took a lock and does not keep it" in done.stderr
    assert "keep no records there" in done.stderr
    assert {check["ok"] for check in json.loads(done.stdout)} == {True, False}


@pytest.mark.parametrize(
    ("lie", "said"),
    [(forbids_these_credentials, "s3:DeleteObjectVersion"), (is_not_well, "InternalError")],
)
def test_a_refusal_for_another_reason_proves_no_lock(settings: S3Settings, lie: Lie, said: str) -> None:
    with standing_in(settings.endpoint, lie) as endpoint:
        done = doctor(settings, DRL_S3_ENDPOINT=endpoint)
    assert done.returncode == 2
    assert said in done.stderr
    assert "held" not in done.stdout


def test_a_bucket_that_cannot_lock_is_no_answer(settings: S3Settings) -> None:
    done = doctor(settings, DRL_S3_SEALED="staging")
    assert done.returncode == 2
    assert "locking a canary in bucket staging" in done.stderr
