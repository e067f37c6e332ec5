"""All that an ``airflow`` process needs for this bundle, as environment variables; no ``airflow.cfg``."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from drl.errors import InputError, StoreError
from drl.local import ports
from drl.local.packages import version
from drl.local.server import HOST
from drl.local.state import write_private

BUNDLE = "drl"
MORE_BUNDLES = "DRL_BUNDLES"
"""Variable naming further folders with pipelines; each becomes a DAG bundle beside this repository's."""
USER = "admin"
PORTS = ("api", "worker_log", "trigger_log")
_PASSWORDS = "passwords.json"
MIGRATION_TIMEOUT = 300.0
"""Seconds for ``airflow db migrate``; 10 to 15 are usual, most of them imports."""


@dataclass(frozen=True)
class AirflowSecrets:
    """Keys and ports of one home, made once and kept in ``airflow/secrets.json`` (mode 0600)."""

    fernet_key: str = field(repr=False)
    api_secret_key: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    admin_password: str = field(repr=False)
    ports: dict[str, int]

    @classmethod
    def of(cls, folder: Path) -> AirflowSecrets:
        """Read them from Airflow's ``folder``, or make them there the first time.

        Raises:
            InputError: the file is damaged.
        """
        path = folder / "secrets.json"
        try:
            return cls(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            pass
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{path} is damaged ({type(error).__name__})",
                remedy="Delete it; new keys are made at the next start.",
            ) from None
        chosen: dict[str, int] = {}
        for name in PORTS:
            chosen[name] = ports.choose(set(chosen.values()))
        made = cls(
            fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            api_secret_key=secrets.token_hex(32),
            jwt_secret=secrets.token_hex(32),
            admin_password=secrets.token_urlsafe(18),
            ports=chosen,
        )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, json.dumps(asdict(made), indent=1))
        write_private(folder / _PASSWORDS, json.dumps({USER: made.admin_password}))
        return made


def airflow_environment(
    home: Path,
    repository: Path,
    stack_environment: Mapping[str, str],
    inherited: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return all variables for ``airflow`` commands in this home.

    Args:
        home: ``DRL_HOME``; Airflow's own folder is ``home/airflow``.
        repository: root of the bundle: the folder of ``dags``, ``operators``, ``plugins`` and ``drl``.
        stack_environment: from :meth:`drl.local.stack.Stack.environment`.
        inherited: the environment to build on, by default this process's. Settings of another Airflow in it
            (``AIRFLOW*``) are left out; ``DRL_BUNDLES`` names further folders with pipelines.

    Raises:
        InputError: ``DRL_BUNDLES`` is wrong, or the file with the secrets is damaged.
    """
    folder = home / "airflow"
    keys = AirflowSecrets.of(folder)
    base = dict(os.environ if inherited is None else inherited)
    kept = {key: value for key, value in base.items() if not key.startswith("AIRFLOW")}
    return (
        kept
        | _process(folder, repository, kept)
        | _sections(folder, repository, keys, kept.get(MORE_BUNDLES, ""))
        | dict(stack_environment)
    )


def admin_login(home: Path) -> tuple[str, str]:
    """Return user name and password for Airflow's web UI in this home."""
    return USER, AirflowSecrets.of(home / "airflow").admin_password


def password_file(home: Path) -> Path:
    """Return the file (mode 0600) in which Airflow's auth manager finds the login of this home."""
    return home / "airflow" / _PASSWORDS


def migrate_if_needed(environment: Mapping[str, str], say: Callable[[str], None]) -> bool:
    """Run ``airflow db migrate`` unless the database is known to be at the installed version's schema.

    Importing Airflow costs ten seconds, so a stamp remembers which schema revision the last migration by this
    Airflow version left; the revision that counts is always read from the database itself.

    Args:
        environment: from :func:`airflow_environment`.
        say: gets one line when a migration runs.

    Returns:
        True if a migration ran.

    Raises:
        StoreError: the migration failed, or the database cannot be reached.
    """
    stamp = Path(environment["AIRFLOW_HOME"]) / "migrated.json"
    address = environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    revision = _revision(address)
    if revision is not None and _read_stamp(stamp) == {
        "airflow": version("apache-airflow"),
        "revision": revision,
    }:
        return False
    say("airflow: migrating its database")
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=MIGRATION_TIMEOUT,
        check=False,
    )
    if done.returncode != 0:
        raise StoreError(
            f"airflow db migrate failed: {(done.stderr or done.stdout).strip()[-800:]}",
            remedy="Read the lines above; an empty start again is: drl stack reset, then drl stack up",
        )
    write_private(stamp, json.dumps({"airflow": version("apache-airflow"), "revision": _revision(address)}))
    return True


def _process(folder: Path, repository: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    programs = str(Path(sys.executable).parent)
    paths = [str(repository), *filter(None, inherited.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        "AIRFLOW_HOME": str(folder),
        "DRL_HOME": str(folder.parent),
        "PATH": os.pathsep.join([programs, inherited.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONWARNINGS": "ignore::DeprecationWarning,ignore::FutureWarning",
        "NO_PROXY": ",".join(filter(None, (inherited.get("NO_PROXY"), HOST, "localhost"))),
        "no_proxy": ",".join(filter(None, (inherited.get("no_proxy"), HOST, "localhost"))),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _sections(folder: Path, repository: Path, keys: AirflowSecrets, more: str) -> dict[str, str]:
    """Settings that differ from Airflow's defaults; docs/operations.md says why, in the same order."""
    api = f"http://{HOST}:{keys.ports['api']}"
    sections = {
        "CORE": {
            "EXECUTOR": "LocalExecutor",
            "PARALLELISM": "4",  # processes that wait for tasks, 30 MB each; the work is in the steps
            "LOAD_EXAMPLES": "False",
            "DAGS_FOLDER": str(repository / "dags"),
            "PLUGINS_FOLDER": str(repository / "plugins"),
            "FERNET_KEY": keys.fernet_key,
            "EXECUTION_API_SERVER_URL": f"{api}/execution/",
            "SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / _PASSWORDS),
        },
        "API": {
            "HOST": HOST,  # nobody else on the network
            "PORT": str(keys.ports["api"]),
            "BASE_URL": api,
            "SECRET_KEY": keys.api_secret_key,
            "WORKERS": "1",  # one person looks; each worker takes 200 MB
        },
        "API_AUTH": {"JWT_SECRET": keys.jwt_secret},
        "DAG_PROCESSOR": {
            "DAG_BUNDLE_CONFIG_LIST": json.dumps(_bundles(repository, more)),
            "MIN_FILE_PROCESS_INTERVAL": "60",  # seconds until an edited pipeline is seen
            "REFRESH_INTERVAL": "60",  # seconds until a new pipeline is seen
            "PARSING_PROCESSES": "1",  # parsing takes a second a minute
            "PRINT_STATS_INTERVAL": "600",
        },
        "LOGGING": {
            "BASE_LOG_FOLDER": str(folder / "logs"),
            "LOGGING_LEVEL": "INFO",
            "NAMESPACE_LEVELS": "alembic=WARNING httpx=WARNING botocore=WARNING",
            "COLORED_CONSOLE_LOG": "False",
            "WORKER_LOG_SERVER_PORT": str(keys.ports["worker_log"]),  # of `airflow scheduler` by hand
            "TRIGGER_LOG_SERVER_PORT": str(keys.ports["trigger_log"]),
        },
        "SCHEDULER": {
            "SCHEDULER_HEALTH_CHECK_SERVER_HOST": HOST,
            # Not 300 seconds both: on one machine it is soon known who is lost.
            "TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
            "ORPHANED_TASKS_CHECK_INTERVAL": "60",
        },
    }
    return {
        f"AIRFLOW__{section}__{option}": value
        for section, options in sections.items()
        for option, value in options.items()
    }


def _bundles(repository: Path, more: str) -> list[dict[str, Any]]:
    """This repository's bundle, and one for each further folder, named after it."""
    folders = [Path(text).expanduser().resolve() for text in more.split(os.pathsep) if text]
    named = {BUNDLE: repository}
    for folder in folders:
        if not folder.is_dir() or folder.name in named:
            raise InputError(
                f"{MORE_BUNDLES}: {folder} is no folder, or a second one called {folder.name!r}",
                remedy=f"Name existing folders with different names, parted by {os.pathsep!r}.",
            )
        named[folder.name] = folder
    kind = "airflow.dag_processing.bundles.local.LocalDagBundle"
    return [{"name": n, "classpath": kind, "kwargs": {"path": str(p)}} for n, p in named.items()]


def _read_stamp(path: Path) -> dict[str, str] | None:
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _revision(address: str) -> str | None:
    """Return the schema revision that Alembic recorded in Airflow's database; None before any migration."""
    import psycopg2

    try:
        with (
            contextlib.closing(
                psycopg2.connect(address.replace("+psycopg2", ""), connect_timeout=5)
            ) as session,
            session.cursor() as cursor,
        ):
            cursor.execute("SELECT to_regclass('alembic_version')")
            if cursor.fetchone() == (None,):
                return None
            cursor.execute("SELECT version_num FROM alembic_version")
            row = cursor.fetchone()
            return str(row[0]) if row else None
    except psycopg2.OperationalError as error:
        raise StoreError(
            f"Airflow's database cannot be reached: {error}", remedy="Run: drl stack up"
        ) from None
