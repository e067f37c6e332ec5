"""The embedded stack as a whole: ``up``, ``down``, ``status``, ``reset``, and its clients' settings."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from drl.errors import DrlError, InputError, StoreError, Undetermined
from drl.local import environment, processes
from drl.local.home import Home
from drl.local.launch import Launch, PortTaken
from drl.local.ports import becomes_free, choose
from drl.local.postgres import ROOTS_PLACE, data_folder
from drl.local.server import Say, Server
from drl.local.servers import KINDS, NAMES, Servers
from drl.local.state import Credentials, State

RELEASE_TIMEOUT = 3.0
"""Seconds that the port of a dead server gets to become free, before another one is chosen."""

PASSES = 3
"""Times that ``up`` goes over the servers when a port is taken between choosing and using it."""


def silent(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class ServerStatus:
    """What can be seen of one server.

    Attributes:
        name: the server.
        state: ``healthy``, ``unhealthy`` (runs, but a real request gets no right answer) or ``stopped``.
        port: the port for clients; None before the first start.
        pid: its process; None when stopped.
        memory: resident bytes, with descendants.
        log: its log file.
    """

    name: str
    state: str
    port: int | None
    pid: int | None
    memory: int
    log: Path


class Stack:
    """The servers of one home. Holding this object holds nothing: every call reads the state anew."""

    def __init__(self, home: Home) -> None:
        self.home = home

    @classmethod
    def at(cls, home: Path | None = None) -> Stack:
        """Return the stack in ``home``, by default in ``$DRL_HOME`` or ``.drl`` of the repository."""
        return cls(Home.at(home))

    def up(self, progress: Say = silent) -> None:
        """Bring every server to health: the healthy stay as they are, the dead come back with their data.

        Args:
            progress: gets one line for a person at each step.

        Raises:
            StoreError: a server did not start; the others run on.
            Undetermined: something that a server needs is missing.
            InputError: the home or its state cannot be used.
            ConflictError: another command held the home for too long.
        """
        self.home.create()
        with self.home.lock(progress):
            state = State.load(self.home.state) or self._first_state()
            self._end_lost(state, progress)
            for _ in range(PASSES):
                self._assign_ports(state, progress)
                state.save(self.home.state)
                failures = Launch(self.home, state, progress).run(Servers.of(self.home, state).all())
                if not any(isinstance(failure, PortTaken) for failure in failures):
                    break
        if failures:
            raise _joined(failures)

    def down(self, progress: Say = silent) -> None:
        """Stop every server of this home and nothing else: MLflow first, then what it needs.

        Raises:
            InputError: the state cannot be read, so that the servers cannot be told from other programs.
        """
        if not self.home.path.is_dir():
            return
        with self.home.lock(progress):
            self._down(progress)

    def reset(self, progress: Say = silent) -> None:
        """Stop every server and delete all data, logs and credentials; downloaded programs are kept."""
        if not self.home.path.is_dir():
            return
        with self.home.lock(progress):
            self._down(progress)
            postgres = data_folder(self.home.data("postgres"))
            shutil.rmtree(
                postgres.parent if ROOTS_PLACE in postgres.parents else postgres, ignore_errors=True
            )
            for name in ("data", "log", "airflow"):
                shutil.rmtree(self.home.path / name, ignore_errors=True)
            self.home.state.unlink(missing_ok=True)
        progress(f"deleted the stack's data in {self.home.path}")

    def status(self) -> list[ServerStatus]:
        """Ask every server and tell what was seen, in the order of their start."""
        state = State.load(self.home.state)
        if state is None or not all(name in state.ports for name in NAMES):
            return [ServerStatus(name, "stopped", None, None, 0, self.home.log(name)) for name in NAMES]
        with ThreadPoolExecutor(len(NAMES)) as pool:
            return list(
                pool.map(lambda server: self._seen(server, state), Servers.of(self.home, state).all())
            )

    def environment(self) -> dict[str, str]:
        """Return the variables by which programs find the servers; they hold secrets.

        Raises:
            Undetermined: the stack was never started in this home.
        """
        _, state = self.described()
        return environment.environment(Servers.of(self.home, state), state.credentials)

    def described(self) -> tuple[Servers, State]:
        """Return the servers and the state they are described from, whether they run or not.

        Raises:
            Undetermined: the stack was never started in this home.
        """
        state = State.load(self.home.state)
        if state is None or not all(name in state.ports for name in NAMES):
            raise Undetermined(f"there is no stack in {self.home.path} yet", remedy="Run: drl stack up")
        return Servers.of(self.home, state), state

    def _first_state(self) -> State:
        data = [self.home.data(kind.name) for kind in KINDS if kind.name != "postgres"]
        data.append(data_folder(self.home.data("postgres")))
        if existing := [folder for folder in data if folder.exists()]:
            raise InputError(
                f"{existing[0]} holds data, but {self.home.state} with their credentials is gone",
                remedy="Restore stack.json from a backup, or delete the data with: drl stack reset",
            )
        return State(Credentials.random())

    def _assign_ports(self, state: State, progress: Say) -> None:
        taken = {port for ports in state.ports.values() for port in ports.values()}
        for kind in KINDS:
            record = state.processes.get(kind.name)
            if record and processes.find(record):
                continue
            ports = state.ports.setdefault(kind.name, {})
            for name in kind.port_names:
                old = ports.get(name)
                # A server that was just killed holds its port until its last thread has gone.
                patience = RELEASE_TIMEOUT if record else 0.0
                if old is None or not becomes_free(old, kind.port_offset, patience):
                    ports[name] = choose(taken, kind.port_offset)
                    taken.add(ports[name])
                    if old is not None:
                        progress(f"{kind.name}: port {old} is taken by another program; using {ports[name]}")

    def _end_lost(self, state: State, progress: Say) -> None:
        """Stop servers of this home that run without a record: a start was killed before it wrote one."""
        if not all(name in state.ports for name in NAMES):
            return
        known = {record.pid for record in state.processes.values() if processes.find(record)}
        by_command: dict[tuple[str, ...], Server] = {}
        for server in Servers.of(self.home, state).all():
            # A program that is gone is reported when its server is started; it must not hinder a stop.
            with suppress(Undetermined):
                by_command[tuple(server.command())] = server
        for process in processes.find_by_command(by_command):
            server = by_command[tuple(process.cmdline())]
            if process.pid not in known:
                progress(f"{server.name}: found running without a record; stopping it")
                processes.stop(process, with_signal=server.stop_signal, timeout=server.stop_timeout)

    def _down(self, progress: Say) -> None:
        state = State.load(self.home.state)
        if state is None or not all(name in state.ports for name in NAMES):
            return
        self._end_lost(state, progress)
        servers = Servers.of(self.home, state).all()
        with ThreadPoolExecutor(len(servers)) as pool:
            for group in ([s for s in servers if s.needs], [s for s in servers if not s.needs]):
                list(pool.map(lambda server: self._stop(server, state, progress), group))
        state.processes.clear()
        state.save(self.home.state)

    def _stop(self, server: Server, state: State, progress: Say) -> None:
        record = state.processes.get(server.name)
        process = processes.find(record) if record else None
        if process is None:
            return
        gently = processes.stop(process, with_signal=server.stop_signal, timeout=server.stop_timeout)
        server.tidy()
        progress(
            f"{server.name}: stopped" if gently else f"{server.name}: did not end by itself and was killed"
        )

    def _seen(self, server: Server, state: State) -> ServerStatus:
        record = state.processes.get(server.name)
        process = processes.find(record) if record else None
        log = self.home.log(server.name)
        if process is None:
            return ServerStatus(server.name, "stopped", server.port, None, 0, log)
        condition = "healthy" if server.ready() else "unhealthy"
        return ServerStatus(server.name, condition, server.port, process.pid, processes.memory(process), log)


def _joined(failures: list[DrlError]) -> DrlError:
    if len(failures) == 1:
        return failures[0]
    return StoreError(
        "\n".join(failure.message for failure in failures),
        remedy=" ".join(dict.fromkeys(failure.remedy for failure in failures)),
    )
