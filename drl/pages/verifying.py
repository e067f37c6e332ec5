"""A verification under way as server-sent events: one at a time, in its own process, within limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from threading import BoundedSemaphore
from typing import Any

from drl.pages.verify_run import Question

SECONDS = 300
_COMMAND = [sys.executable, "-m", "drl.pages.verify_run"]
_PASSED_ON = (
    "PATH",
    "HOME",
    "PYTHONPATH",
    "LANG",
    "TMPDIR",
    "SSL_CERT_FILE",
    "DRL_CACHE",
    "NO_PROXY",
    "no_proxy",
)
_free = BoundedSemaphore(1)


def events(question: Question) -> Iterator[str]:
    """What a verifier finds, as the text of an event stream; the last event is a result or a problem."""
    if not _free.acquire(blocking=False):
        yield _event(
            "problem", {"message": "Another verification is under way: try again when it has ended."}
        )
        return
    try:
        yield from _run(question)
    finally:
        _free.release()


def _run(question: Question) -> Iterator[str]:
    with subprocess.Popen(
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
    ) as process:
        try:
            assert process.stdin is not None  # noqa: S101 - given by PIPE above
            assert process.stdout is not None  # noqa: S101 - given by PIPE above
            json.dump(question.to_json(), process.stdin)
            process.stdin.close()
            ended = False
            for line in process.stdout:
                value = json.loads(line)
                event = value.pop("event")
                ended = event in ("result", "problem")
                yield _event(event, value)
            if not ended:
                yield _event("problem", {"message": f"The verifier ended without a result: {_why(process)}."})
        finally:
            process.kill()  # nobody listens any more, or it has ended


def _why(process: subprocess.Popen[str]) -> str:
    status = process.wait()
    return f"it took longer than {SECONDS} s" if status == -14 else f"status {status}, see the server's log"


def _event(name: str, value: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(value)}\n\n"
