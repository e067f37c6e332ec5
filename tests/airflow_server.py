"""``drl airflow standalone`` as a process of a test's own, and Airflow's REST API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import requests
from clean_code import clean_code

from drl.local.airflow_home import AirflowSecrets, admin_login

ENDED = ("success", "failed")


class AirflowServer:
    """Airflow's components in a home, started by the command that people use."""

    def __init__(self, home: Path, bundle: Path) -> None:
        self.home = home
        self.screen = home / "screen.log"
        self._environment = os.environ | {"DRL_HOME": str(home), "DRL_BUNDLES": str(bundle)}
        self._session = requests.Session()
        self._session.trust_env = False  # never through a proxy
        self.process: subprocess.Popen[bytes] | None = None
        self.started_within = 0.0

    def drl(self, *arguments: str) -> str:
        """Run ``drl`` to its end; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "drl", *arguments],
            cwd=clean_code(),
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def start(self, timeout: float = 120) -> None:
        """Start the components and wait until it says where to look."""
        begin = time.monotonic()
        with self.screen.open("wb") as screen:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "drl", "airflow", "standalone"],
                cwd=clean_code(),
                env=self._environment,
                stdout=screen,
                stderr=screen,
            )
        while "Ctrl-C" not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() - begin < timeout, self.said
            time.sleep(0.1)
        self.started_within = time.monotonic() - begin

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        """Send a signal and wait for the end; returns the exit status, None when it was never started."""
        if self.process is None:
            return None
        self.process.send_signal(number)
        return self.process.wait(60)

    @property
    def said(self) -> str:
        """What is on the screen."""
        return self.screen.read_text()

    @property
    def processes(self) -> list[psutil.Process]:
        """All processes below it."""
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    @property
    def steps(self) -> list[psutil.Process]:
        """Those that do the work of a step."""
        with suppress(psutil.NoSuchProcess):
            return [p for p in self.processes if "step" in (p.as_dict(["cmdline"])["cmdline"] or ())]
        return []

    @property
    def port(self) -> int:
        return AirflowSecrets.of(self.home / "airflow").ports["api"]

    def log_in(self, password: str | None = None) -> requests.Response:
        """Ask for a token; it is used from then on."""
        user, kept = admin_login(self.home)
        answer = self._session.post(
            f"http://127.0.0.1:{self.port}/auth/token",
            json={"username": user, "password": password or kept},
            timeout=30,
        )
        if answer.ok:
            self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return answer

    def page(self, path: str, **keywords: Any) -> requests.Response:
        """A page of the web interface."""
        return self._session.get(f"http://127.0.0.1:{self.port}/{path}", timeout=30, **keywords)

    def ask(self, method: str, path: str, **keywords: Any) -> requests.Response:
        """Ask Airflow's public REST API."""
        address = f"http://127.0.0.1:{self.port}/api/v2/{path}"
        return self._session.request(method, address, timeout=30, **keywords)

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON answer to a GET."""
        answer = self.ask("GET", path, params=parameters)
        assert answer.ok, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()

    def send(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """The JSON answer to a POST or PATCH."""
        answer = self.ask(method, path, json=body)
        assert answer.ok, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()

    def pause(self, dag: str, paused: bool) -> None:
        """Stop or allow new task instances and scheduled runs of a DAG."""
        self.send("PATCH", f"dags/{dag}", {"is_paused": paused})

    def trigger(self, dag: str, **conf: Any) -> str:
        """Ask for a run; returns its id."""
        body = {"logical_date": None, "conf": conf}
        return str(self.send("POST", f"dags/{dag}/dagRuns", body)["dag_run_id"])

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """All runs of a DAG, the first to start first."""
        found: list[dict[str, Any]] = self.get(f"dags/{dag}/dagRuns", order_by="start_date")["dag_runs"]
        return found

    def tasks(self, dag: str, run: str) -> dict[str, dict[str, Any]]:
        """Task instances of a run by name."""
        found = self.get(f"dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
        return {task["task_id"]: task for task in found}

    def wait(self, dag: str, run: str, timeout: float = 300) -> dict[str, Any]:
        """A run after its end; the state must be ``success``."""
        deadline = time.monotonic() + timeout
        while (found := self.get(f"dags/{dag}/dagRuns/{run}"))["state"] not in ENDED:
            assert time.monotonic() < deadline, self._explain(dag, run)
            time.sleep(0.5)
        assert found["state"] == "success", self._explain(dag, run)
        return dict(found)

    def waits_for_a_person(self, dag: str, run: str) -> bool:
        """Whether the run's approval has been asked for and not been given."""
        task = self.tasks(dag, run).get("approve")
        return bool(task and task["state"] == "awaiting_input")

    def answer(self, dag: str, run: str, option: str, comment: str) -> requests.Response:
        """Answer the run's request for approval."""
        path = f"dags/{dag}/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"
        body = {"chosen_options": [option], "params_input": {"comment": comment}}
        return self.ask("PATCH", path, json=body)

    def log(self, dag: str, run: str, task: str, attempt: int = 1) -> str:
        """A task's log, line by line as people see it."""
        content = self.get(f"dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}")["content"]
        return "\n".join(line["event"] for line in content)

    def _explain(self, dag: str, run: str) -> str:
        states = {name: task["state"] for name, task in self.tasks(dag, run).items()}
        failed = [name for name, state in states.items() if state in ("failed", "up_for_retry")]
        logs = [self.log(dag, run, name)[-2000:] for name in failed]
        return f"{dag} {run}: {json.dumps(states)}\n" + "\n".join(logs)
