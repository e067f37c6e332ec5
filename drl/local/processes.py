"""Servers as processes: start them detached, recognise them later, stop them with everything they started."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

CLOCK_TOLERANCE = 5.0
"""Seconds by which a creation time may differ: it is derived from the clock, which may be set."""

_children: dict[int, subprocess.Popen[bytes]] = {}
"""Servers started by this very process, so that the dead among them are reaped."""


@dataclass(frozen=True)
class ProcessRecord:
    """What is known of a server's process; all three of pid, creation time and command line identify it."""

    pid: int
    create_time: float
    command: tuple[str, ...]
    fingerprint: str
    initialised: bool = False


def spawn(
    command: Sequence[str],
    *,
    folder: Path,
    log: int,
    environment: Mapping[str, str],
    account: pwd.struct_passwd | None,
) -> psutil.Process:
    """Start ``command`` in a session of its own, so that it outlives this process and its terminal.

    Args:
        command: the program and its arguments.
        folder: working directory.
        log: file descriptor that takes standard output and standard error.
        environment: all of its environment variables; nothing is inherited.
        account: the system user to run as, or None for this one.
    """
    child = subprocess.Popen(
        list(command),
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        umask=0o077,
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=[] if account else None,
    )
    _children[child.pid] = child
    return psutil.Process(child.pid)


def find(record: ProcessRecord) -> psutil.Process | None:
    """Return the process of ``record`` if it lives and is the very one that was started, else None."""
    _reap()
    try:
        process = psutil.Process(record.pid)
        same = (
            process.status() != psutil.STATUS_ZOMBIE
            and abs(process.create_time() - record.create_time) <= CLOCK_TOLERANCE
            and tuple(process.cmdline()) == record.command
        )
    except psutil.Error:
        return None
    return process if same else None


def find_by_command(commands: Collection[Sequence[str]]) -> list[psutil.Process]:
    """Find servers whose record was lost, by their exact command lines, which name folders of their home."""
    wanted = {tuple(command) for command in commands}
    return [p for p in psutil.process_iter(["cmdline"]) if tuple(p.info["cmdline"] or ()) in wanted]


def alive(process: psutil.Process) -> bool:
    """Tell whether the process still runs; a child that ended is reaped."""
    _reap()
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def memory(process: psutil.Process) -> int:
    """Return the resident bytes of a process and its descendants; 0 when it is gone."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for member in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += member.memory_info().rss
    return total


def stop(process: psutil.Process, *, with_signal: signal.Signals, timeout: float) -> bool:
    """Ask a process to end, wait, then kill what is left of it, its descendants and its process group.

    Returns:
        True if everything ended by itself within ``timeout`` seconds, False if something was killed.
    """
    members = _members(process)
    with contextlib.suppress(psutil.Error):
        process.send_signal(with_signal)
    left = _wait_for(members, timeout)
    for member in left | {other for one in left for other in _members(one)}:
        with contextlib.suppress(psutil.Error):
            member.kill()
    _wait_for(left, 5.0)
    return not left


def _wait_for(members: set[psutil.Process], timeout: float) -> set[psutil.Process]:
    """Wait and return who still lives. A zombie counts as gone: in a container, nobody may ever reap it."""
    deadline = time.monotonic() + timeout
    while (left := {member for member in members if alive(member)}) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _members(process: psutil.Process) -> set[psutil.Process]:
    """Return the process, its descendants and whoever shares the group that it leads."""
    members = {process}
    with contextlib.suppress(psutil.Error):
        members.update(process.children(recursive=True))
    for other in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(other.pid) == process.pid:
                members.add(other)
    return members


def _reap() -> None:
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            _children.pop(pid, None)
