"""One Airflow in a home at a time; what an earlier one left behind is ended before the next starts.

A component ends with its supervisor, but ``kill -9`` of both leaves the component's own children: the workers
of LocalExecutor wait for work on a pipe whose other end they hold themselves, for ever. They are known by
their standard output, which is the component's log in this home; nobody else's process has that.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from drl.errors import ConflictError
from drl.local.home import Home

_GONE_WITHIN = 5.0
"""Seconds that a killed process may take to disappear."""


@contextmanager
def only_airflow(home: Home) -> Iterator[None]:
    """Be the only ``drl airflow standalone`` of this home until the block ends or this process dies.

    Raises:
        ConflictError: another one runs.
    """
    path = home.path / "airflow" / "standalone.lock"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                f"Airflow runs in {home.path} already",
                remedy="use it, or end it with Ctrl-C where it was started",
            ) from None
        yield
    finally:
        os.close(descriptor)


def end_orphans(home: Home) -> list[int]:
    """Kill what writes to the logs of Airflow's components in this home; call it under :func:`only_airflow`.

    Workers inherit the scheduler's deafness to SIGTERM. What they had at work notices their death by itself,
    as after any kill, and the next scheduler takes it up.

    Returns:
        Ids of the processes, sorted; none where the system does not say what a process writes to.
    """
    logs = f"{home.log('airflow-')}".removesuffix(".log")
    found = [process for process in psutil.process_iter() if _writes_to(process.pid).startswith(logs)]
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(found, timeout=_GONE_WITHIN)
    return sorted(process.pid for process in found)


def _writes_to(pid: int) -> str:
    """Path of a process's standard output; empty for another user's process and one that ended."""
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/fd/1")
    return ""
