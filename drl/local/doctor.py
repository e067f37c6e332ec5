"""``drl stack doctor``: look at everything that the stack needs, try what it promises, say what to do."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from drl.errors import DrlError, StoreError
from drl.local import anvil_package, arcadedb, canaries, packages, processes, seaweedfs
from drl.local.home import Home
from drl.local.ports import is_free
from drl.local.postgres import programs_folder
from drl.local.server import Server
from drl.local.servers import Servers
from drl.local.stack import Stack
from drl.local.state import State

DISK_SPACE = 2 * 1024**3
"""Bytes that should be free for data and logs."""


@dataclass(frozen=True)
class Finding:
    """What one check saw; ``good`` is None when it could not be made (say, the server is stopped)."""

    name: str
    good: bool | None
    detail: str
    remedy: str = ""


def examine(stack: Stack) -> Iterator[Finding]:
    """Make every check in turn; a failed one never keeps the next from being made."""
    home = stack.home
    yield _tried("home", lambda: _home(home))
    yield _tried("disk space", lambda: _disk_space(home))
    yield _tried("PostgreSQL programs", lambda: str(programs_folder()))
    yield _tried("SeaweedFS program", lambda: str(packages.installed_script(seaweedfs.DISTRIBUTION, "weed")))
    yield _tried("Java", lambda: _java(arcadedb.java()))
    yield _tried("anvil", lambda: _anvil(home))
    yield _tried("MLflow", lambda: f"mlflow {packages.version('mlflow')}")
    try:
        servers, state = stack.described()
    except DrlError as error:
        yield Finding("stack", None, error.message, error.remedy)
        return
    yield _tried("stack.json", lambda: _private(home.state))
    for server in servers.all():
        yield from _server(server, state)
    yield from _promises(servers, {s.name for s in stack.status() if s.state == "healthy"})


def _tried(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except DrlError as error:
        return Finding(name, False, error.message, error.remedy)


def _home(home: Home) -> str:
    home.create()
    return str(home.path)


def _disk_space(home: Home) -> str:
    free = shutil.disk_usage(home.path).free
    if free < DISK_SPACE:
        raise StoreError(
            f"{free / 1024**3:.1f} GiB are free at {home.path}, {DISK_SPACE / 1024**3:.0f} GiB are wanted",
            remedy="Free some space, or set DRL_HOME to a larger disk.",
        )
    return f"{free / 1024**3:.0f} GiB free"


def _java(program: Path) -> str:
    try:
        done = subprocess.run(
            [str(program), "-version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise StoreError(
            f"{program} does not run: {error}", remedy=packages.missing(arcadedb.DISTRIBUTION).remedy
        ) from error
    return done.stderr.splitlines()[0]


def _anvil(home: Home) -> str:
    program = anvil_package.program(home.cache)
    if os.access(program, os.X_OK):
        return str(program)
    return f"not fetched yet; npm is {' '.join(anvil_package.npm())}"


def _private(path: Path) -> str:
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077 or status.st_uid != os.geteuid():
        raise StoreError(
            f"{path} has mode {mode:04o} and owner {status.st_uid}, but holds secrets",
            remedy=f"Run: chmod 600 {path}; once read by others: drl stack reset",
        )
    return f"mode {mode:04o}"


def _server(server: Server, state: State) -> Iterator[Finding]:
    record = state.processes.get(server.name)
    process = processes.find(record) if record else None
    if process is None:
        taken = [port for port in server.ports.values() if not is_free(port)]
        detail = f"stopped; port {taken[0]} is held by another program" if taken else "stopped"
        yield Finding(server.name, None, detail, "Run: drl stack up")
        return
    if server.ready():
        yield Finding(server.name, True, f"healthy on port {server.port}, pid {process.pid}")
    else:
        yield Finding(server.name, False, f"pid {process.pid} gives no right answer", "Run: drl stack up")
    try:
        listening = {c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
    except psutil.Error:
        return
    open_to_others = sorted(address for address in listening if not address.endswith("127.0.0.1"))
    yield Finding(
        f"{server.name} on loopback only",
        not open_to_others,
        f"listens on {', '.join(sorted(listening))}",
        f"Run: drl stack down. Then report that {server.name} listens on {open_to_others}."
        if open_to_others
        else "",
    )


def _promises(servers: Servers, healthy: set[str]) -> Iterator[Finding]:
    checks: tuple[tuple[str, str, Callable[[], str]], ...] = (
        ("s3", "object lock on sealed", lambda: canaries.object_lock(servers.s3)),
        ("s3", "step identity", lambda: canaries.step_identity(servers.s3)),
        ("bolt", "Bolt write", lambda: canaries.bolt_write(servers.bolt)),
        ("evm", "chain id", lambda: canaries.chain_id(servers.evm.url)),
    )
    for server, name, check in checks:
        if server in healthy:
            yield _tried(name, check)
        else:
            yield Finding(name, None, f"{server} is not healthy", "Run: drl stack up")
