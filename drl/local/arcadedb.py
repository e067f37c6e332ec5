"""A graph server that speaks Bolt: ArcadeDB, with the Java of the wheel ``arcadedb-embedded``.

The unmodified neo4j driver talks to it. Java reads its options from a file, because a password on the command
line would be readable by everybody on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from drl.local.packages import package_folder
from drl.local.probes import bolt_handshake, http
from drl.local.server import HOST, Server

DISTRIBUTION = "arcadedb-embedded"
USER = "root"
DATABASE = "lineage"


@dataclass(frozen=True)
class ArcadeDB(Server):
    """ArcadeDB in production mode with its Bolt plugin; one database, bound to loopback."""

    password: str = field(repr=False)
    heap: str = "256m"

    name: ClassVar[str] = "bolt"
    port_names: ClassVar[tuple[str, ...]] = ("bolt", "http")

    @property
    def uri(self) -> str:
        """Address for Bolt clients."""
        return f"bolt://{HOST}:{self.port}"

    def command(self) -> list[str]:
        """Return the command line; all options are in the file after ``@``."""
        return [str(java()), f"@{self._options}"]

    def files(self) -> dict[Path, str]:
        """Return Java's options file (see "java @argfiles" in the JDK's documentation)."""
        settings = {
            "server.name": "drl",
            "server.mode": "production",
            "server.rootPath": self.data,
            "server.rootPassword": self.password,
            "server.defaultDatabases": f"{DATABASE}[{USER}]",
            "server.plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
            "server.httpIncomingHost": HOST,
            "server.httpIncomingPort": self.ports["http"],
            "bolt.host": HOST,
            "bolt.port": self.port,
        }
        jars = package_folder("arcadedb_embedded", DISTRIBUTION) / "jars" / "*"
        options = [
            f"-Xmx{self.heap}",
            "-XX:+UseSerialGC",
            "--add-modules=jdk.incubator.vector",
            *(f"-Darcadedb.{key}={value}" for key, value in settings.items()),
            f"-Djava.io.tmpdir={self.data}",
            "-cp",
            str(jars),
            "com.arcadedb.server.ArcadeDBServer",
        ]
        return {self._options: "".join(f'"{option}"\n' for option in options)}

    def answers(self) -> bool:
        """Tell whether both of its ports answer."""
        return http(f"http://{HOST}:{self.ports['http']}/api/v1/ready")[0] == 204

    def ready(self) -> bool:
        """Tell whether the Bolt server agrees on a protocol and the database is there."""
        status, body = http(
            f"http://{HOST}:{self.ports['http']}/api/v1/exists/{DATABASE}", login=(USER, self.password)
        )
        return status == 200 and b"true" in body and bolt_handshake(HOST, self.port)

    @property
    def _options(self) -> Path:
        return self.data / "java.options"


def java() -> Path:
    """Return the wheel's Java; a missing wheel is :class:`~drl.errors.Undetermined`."""
    return package_folder("arcadedb_embedded", DISTRIBUTION) / "jre" / "bin" / "java"
