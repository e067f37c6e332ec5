"""Small pipelines in a bundle of their own, run by Airflow's own command, and what such a run left behind."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import psutil
import yaml
from clean_code import clean_code

from drl.local.airflow_home import airflow_environment, migrate_if_needed
from drl.local.processes import find
from drl.local.stack import Stack
from drl.local.stale_runs import begin_test_run
from drl.local.state import State
from drl.record.keys import load_signer
from drl.steps.journal import RunJournal
from drl.stores.s3 import ArtifactStore
from drl.stores.settings import S3Settings

REPOSITORY = Path(__file__).resolve().parents[1]
DAG_FILE = (REPOSITORY / "dags" / "cartpole.py").read_text()
TIME_STEPS = 6144
SEEDS = [11, 12]


def write_pipeline(folder: Path, name: str, **sections: dict[str, Any]) -> Path:
    """Write a pipeline of a few seconds' work into ``folder``; returns its YAML file.

    ``sections`` are merged into ``environment``, ``training``, ``evaluation`` and so on; None removes one.
    """
    value = yaml.safe_load((REPOSITORY / "dags" / "cartpole.yaml").read_text())
    value |= {"pipeline": name, "registration": {"model": name}}
    value["training"] |= {"time_steps": TIME_STEPS, "seeds": SEEDS, "checkpoint_every": 2}
    value["evaluation"]["episodes"] = 20
    for section, changes in sections.items():
        value[section] = value.get(section, {}) | changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(DAG_FILE)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    return path


class DagTest:
    """An ``airflow dags test`` under way, with its log as it grows."""

    def __init__(self, environment: dict[str, str], arguments: list[str], lock: int) -> None:
        self.lines: list[str] = []
        self.cpu_seconds = 0.0
        self._cpu_before = _cpu_of_children()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "airflow", "dags", "test", *arguments],
            cwd=clean_code(),  # Python looks for modules there first
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            pass_fds=[lock],
        )
        os.close(lock)  # the process holds it now
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or []:
            self.lines.append(line)

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def wait_for(self, pattern: str, timeout: float = 120) -> None:
        """Return once ``pattern`` is in the log."""
        deadline = time.monotonic() + timeout
        while not re.search(pattern, self.log):
            assert self._process.poll() is None, f"ended before {pattern!r}:\n{self.log[-3000:]}"
            assert time.monotonic() < deadline, f"no {pattern!r} in time:\n{self.log[-3000:]}"
            time.sleep(0.02)

    def descendants(self) -> list[psutil.Process]:
        """Every process that it started and that still lives."""
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """``kill -9``, as the kernel does when memory runs out."""
        self._process.kill()
        self._process.wait()

    def wait(self, timeout: float = 300) -> Self:
        """Wait for its end; ``cpu_seconds`` is what it used, if nothing else was waited for meanwhile."""
        self._process.wait(timeout)
        self.cpu_seconds = _cpu_of_children() - self._cpu_before
        self._reader.join(30)
        return self

    @property
    def succeeded(self) -> bool:
        return self._process.returncode == 0 and "state=success, run_type=manual" in self.log

    @property
    def run_id(self) -> str:
        """As Airflow logged it."""
        return re.findall(r"manual__[-.:0-9T]+\+00:00", self.log)[-1]


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class AirflowBundle:
    """A throw-away bundle and Airflow's environment for it, on the test session's stack."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.dags = folder / "dags"
        self.dags.mkdir(parents=True)
        self.environment = airflow_environment(stack.home.path, folder, stack.environment())
        migrate_if_needed(self.environment, lambda _: None)

    def start(self, dag: str, *arguments: str) -> DagTest:
        """Start ``airflow dags test`` as ``drl airflow`` does."""
        return DagTest(self.environment, [dag, *arguments], begin_test_run(self.environment, dag))

    def test(self, dag: str, *arguments: str) -> DagTest:
        """Run ``airflow dags test`` to its end."""
        return self.start(dag, *arguments).wait()

    @property
    def address(self) -> str:
        """Airflow's database, for psycopg."""
        return self.environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")

    @property
    def keys(self) -> Path:
        """Folder of the operators' signing keys."""
        return Path(self.environment["AIRFLOW_HOME"]) / "keys"


class Records:
    """What the runs on a stack left in the buckets."""

    def __init__(self, stack: Stack) -> None:
        settings = stack.environment()
        self.settings = S3Settings(
            endpoint=settings["DRL_S3_ENDPOINT"],
            access_key=settings["DRL_S3_ACCESS_KEY"],
            secret_key=settings["DRL_S3_SECRET_KEY"],
        )

    @cached_property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.settings)

    @cached_property
    def documents(self) -> ArtifactStore:
        return ArtifactStore(replace(self.settings, staging=self.settings.sealed))

    def journal(self, run: str) -> RunJournal:
        return RunJournal(self.documents, run)

    def runs(self, pipeline: str) -> list[str]:
        """Keys of a pipeline's runs, the newest first."""
        keys = [self.documents.read(key).decode() for key in self.documents.list("index/")]
        return [key for key in keys if key.startswith(f"{pipeline}/")]


def public_keys(folder: Path) -> list[Any]:
    """The operators' public keys."""
    return [load_signer(folder, role).public_key for role in ("steps", "release")]


def all_gone(processes: list[psutil.Process], timeout: float = 30) -> list[psutil.Process]:
    """Wait for processes to end; returns those that live on. A zombie nobody reaps counts as ended."""
    deadline = time.monotonic() + timeout
    while (left := [p for p in processes if _lives(p)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill_server(stack: Stack, name: str) -> None:
    """``kill -9`` a server of the stack, with everything it started."""
    state = State.load(stack.home.state)
    assert state is not None
    process = find(state.processes[name])
    assert process is not None, f"{name} does not run"
    for member in (*process.children(recursive=True), process):
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    assert not all_gone([process])


def eventually(condition: Callable[[], bool], timeout: float = 60) -> bool:
    """Whether ``condition`` comes true in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
