"""Bring the servers of one stack up, in parallel: keep the healthy, restart the dead, wait for needs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from drl.errors import DrlError, StoreError
from drl.local import processes
from drl.local.home import Home
from drl.local.ports import is_free_with_companion
from drl.local.processes import ProcessRecord
from drl.local.server import Say, Server
from drl.local.state import State, write_private

START_TIMEOUT = 90.0
"""Seconds in which a server must be ready after its start; far above what any of them needs."""
GRACE = 10.0
"""Seconds that a living server without a right answer gets before it is restarted."""
INTERVAL = 0.05
LOG_LINES = 12


class PortTaken(StoreError):
    """A server could not start because another program took its port meanwhile."""


@dataclass
class Launch:
    """One pass over all servers. A server that fails takes with it those that need it, and nobody else."""

    home: Home
    state: State
    say: Say
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _cancelled: threading.Event = field(default_factory=threading.Event, repr=False)
    _ended: dict[str, threading.Event] = field(default_factory=dict, repr=False)
    _failures: dict[str, DrlError] = field(default_factory=dict, repr=False)

    def run(self, servers: tuple[Server, ...]) -> list[DrlError]:
        """Bring ``servers`` up and return what went wrong, in the order of ``servers``."""
        self._ended = {server.name: threading.Event() for server in servers}
        with ThreadPoolExecutor(len(servers), thread_name_prefix="stack") as pool:
            futures = [pool.submit(self._attempt, server) for server in servers]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                self._cancelled.set()
                raise
        return [self._failures[server.name] for server in servers if server.name in self._failures]

    def _attempt(self, server: Server) -> None:
        try:
            self._bring_up(server)
        except DrlError as error:
            self._failures[server.name] = error
        except OSError as error:
            self._failures[server.name] = StoreError(
                f"{server.name} could not be started: {error}", remedy="Run: drl stack doctor"
            )
        finally:
            self._ended[server.name].set()

    def _bring_up(self, server: Server) -> None:
        record = self.state.processes.get(server.name)
        process = processes.find(record) if record else None
        if record and process:
            same = record.fingerprint == server.fingerprint()
            if same and self._settles(server, process, record):
                self.say(f"{server.name}: healthy on port {server.port}")
                return
            reason = "gives no right answer" if same else "runs with other settings"
            self.say(f"{server.name}: {reason}; restarting it")
            processes.stop(process, with_signal=server.stop_signal, timeout=server.stop_timeout)
        self._start(server)

    def _settles(self, server: Server, process: psutil.Process, record: ProcessRecord) -> bool:
        try:
            self._make_ready(server, process, time.monotonic() + GRACE, initialised=record.initialised)
        except StoreError:
            return False
        return True

    def _start(self, server: Server) -> None:
        begin = time.monotonic()
        server.prepare(self.say)
        for path, text in server.files().items():
            write_private(path, text)
        with self.home.open_log(server.name) as log:
            process = processes.spawn(
                server.command(),
                folder=server.data,
                log=log,
                environment=server.system_environment(),
                account=server.account,
            )
            self._record(server, process)
        self._make_ready(server, process, begin + START_TIMEOUT, initialised=False)
        self.say(f"{server.name}: ready after {time.monotonic() - begin:.1f} s on port {server.port}")

    def _make_ready(
        self, server: Server, process: psutil.Process, deadline: float, *, initialised: bool
    ) -> None:
        self._wait(server, process, server.answers, deadline)
        for need in server.needs:
            self._ended[need].wait()
            if need in self._failures:
                raise StoreError(
                    f"{server.name} waits for {need}, which did not start", remedy=f"Look at {need} first."
                )
        if not initialised:
            self._wait(server, process, lambda: _succeeds(server.initialise), deadline)
        self._wait(server, process, server.ready, deadline)
        with self._lock:
            self.state.processes[server.name] = replace(self.state.processes[server.name], initialised=True)
            self.state.save(self.home.state)

    def _wait(
        self, server: Server, process: psutil.Process, reached: Callable[[], bool], deadline: float
    ) -> None:
        while True:
            if not processes.alive(process):
                raise self._died(server)
            if reached():
                return
            if self._cancelled.wait(INTERVAL) or time.monotonic() > deadline:
                raise StoreError(
                    f"{server.name} is not ready in time; the end of {self.home.log(server.name)}:\n"
                    + self._log_end(server),
                    remedy="Run the command again; if that fails too: drl stack doctor",
                )

    def _died(self, server: Server) -> StoreError:
        message = f"{server.name} ended at its start; the end of {self.home.log(server.name)}:\n"
        kind = StoreError
        if not all(is_free_with_companion(port, server.port_offset) for port in server.ports.values()):
            kind = PortTaken
        return kind(
            message + self._log_end(server), remedy="Read the lines above, then run: drl stack doctor"
        )

    def _log_end(self, server: Server) -> str:
        path: Path = self.home.log(server.name)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        return self.state.redact("\n".join(f"    {line}" for line in lines))

    def _record(self, server: Server, process: psutil.Process) -> None:
        record = ProcessRecord(
            pid=process.pid,
            create_time=process.create_time(),
            command=tuple(server.command()),
            fingerprint=server.fingerprint(),
        )
        with self._lock:
            self.state.processes[server.name] = record
            self.state.save(self.home.state)


def _succeeds(initialise: Callable[[], None]) -> bool:
    try:
        initialise()
    except StoreError:
        return False
    return True
