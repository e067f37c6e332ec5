"""The shape that every server of the embedded stack has."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

HOST = "127.0.0.1"
Say = Callable[[str], None]
"""Takes one line for a person."""


@dataclass(frozen=True)
class Server(ABC):
    """A server described by its settings; describing starts nothing.

    A start goes through ``prepare`` → the process of ``command`` → ``answers`` → (everything in ``needs``
    is ready) → ``initialise`` → ``ready``. All of them may be called again at any time.

    Args:
        data: folder for everything that the server keeps.
        ports: loopback port for each of ``port_names``.
    """

    data: Path
    ports: Mapping[str, int] = field(repr=False)

    name: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]] = ("main",)
    port_offset: ClassVar[int] = 0
    """When not 0, the server also listens on every port plus this offset."""
    needs: ClassVar[tuple[str, ...]] = ()
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    stop_timeout: ClassVar[float] = 15.0

    @property
    def port(self) -> int:
        """The port that clients use."""
        return self.ports[self.port_names[0]]

    @property
    def account(self) -> pwd.struct_passwd | None:
        """The system user to run as; None means the present one."""
        return None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line: no secrets, because everybody on the machine can read it."""

    def environment(self) -> dict[str, str]:
        """Return the environment variables that the server needs beyond the system's."""
        return {}

    def files(self) -> dict[Path, str]:
        """Return configuration files with their text; written before a start, readable by the owner only."""
        return {}

    def prepare(self, say: Say) -> None:
        """Make the data folder ready for a start."""
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether the process takes requests, whatever the state of the servers that it needs."""

    def initialise(self) -> None:
        """Create what clients expect to find: databases, buckets, balance.

        Raises:
            StoreError: not possible yet; it is tried again until the start's time is over.
        """
        return

    @abstractmethod
    def ready(self) -> bool:
        """Tell whether a real request gets a right answer."""

    def tidy(self) -> None:
        """Remove what the stopped server left outside its data folder."""
        return

    def system_environment(self) -> dict[str, str]:
        """Return the few variables that are inherited, and the server's own."""
        kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
        return {key: os.environ[key] for key in kept if key in os.environ} | self.environment()

    def fingerprint(self) -> str:
        """Return a digest of all settings: a running server with another fingerprint must be restarted."""
        settings = [
            self.command(),
            self.environment(),
            {str(path): text for path, text in self.files().items()},
        ]
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
