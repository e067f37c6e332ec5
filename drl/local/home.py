"""The folder that holds everything of one stack: ``DRL_HOME``, by default ``<repository root>/.drl``."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from drl.errors import ConflictError, InputError

LOCK_TIMEOUT = 180.0
"""Seconds to wait for another ``drl stack`` command on the same home."""

LOG_LIMIT = 8 * 1024 * 1024
"""Bytes after which a server's log is set aside as ``NAME.log.1`` at its next start."""


@dataclass(frozen=True)
class Home:
    """Paths of one stack; nothing is created before :meth:`create`."""

    path: Path

    @classmethod
    def at(cls, path: Path | None = None) -> Home:
        """Return the home at ``path``, else at ``$DRL_HOME``, else ``.drl`` in the repository root.

        The root is the nearest folder upwards from the working directory that holds ``pyproject.toml`` or
        ``.git``; outside any repository it is the working directory itself.
        """
        if path is None and os.environ.get("DRL_HOME"):
            path = Path(os.environ["DRL_HOME"])
        if path is None:
            here = Path.cwd()
            marked = (
                d for d in (here, *here.parents) if (d / "pyproject.toml").exists() or (d / ".git").exists()
            )
            path = next(marked, here) / ".drl"
        return cls(path.expanduser().resolve())

    @property
    def state(self) -> Path:
        """Ports, processes and credentials; readable by its owner alone."""
        return self.path / "stack.json"

    @property
    def cache(self) -> Path:
        """Downloaded programs; ``$DRL_CACHE`` lets several homes share them."""
        return Path(os.environ.get("DRL_CACHE") or self.path / "cache")

    def data(self, server: str) -> Path:
        """Return the data folder of one server."""
        return self.path / "data" / server

    def log(self, server: str) -> Path:
        """Return the log file of one server."""
        return self.path / "log" / f"{server}.log"

    def create(self) -> None:
        """Make the folders; a home that cannot be written is an :class:`~drl.errors.InputError`.

        Run by root, the home may be *traversed* by others (never listed), because PostgreSQL refuses to run
        as root and must reach its data folder as a user of its own. Files in it stay closed.
        """
        mode = 0o711 if os.geteuid() == 0 else 0o700
        try:
            for folder, bits in ((self.path, mode), (self.path / "data", mode), (self.path / "log", 0o700)):
                if not folder.is_dir():
                    folder.mkdir(parents=True)
                    folder.chmod(bits)
            probe = self.path / f".write-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise InputError(
                f"the stack's home {self.path} cannot be written: {error.strerror}",
                remedy="Make it writable, or set DRL_HOME to a folder of yours.",
            ) from error

    @contextmanager
    def open_log(self, server: str) -> Iterator[int]:
        """Open a server's log for appending and give the file descriptor; a large one is set aside."""
        path = self.log(server)
        if path.exists() and path.stat().st_size > LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def lock(self, say: Callable[[str], None]) -> Iterator[None]:
        """Hold the home alone: two commands that start or stop servers are run one after the other.

        Raises:
            ConflictError: another command held the home for more than :data:`LOCK_TIMEOUT` seconds.
        """
        path = self.path / "stack.lock"
        deadline = time.monotonic() + LOCK_TIMEOUT
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            told = False
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise ConflictError(
                            f"another drl stack command has held {path} for {LOCK_TIMEOUT:.0f} s",
                            remedy="Wait for it or end it, then run the command again.",
                        ) from None
                    if not told:
                        say("waiting for another drl stack command to end")
                        told = True
                    time.sleep(0.1)
            yield
        finally:
            os.close(descriptor)
