"""Airflow's public REST API, wherever its api-server listens."""

from __future__ import annotations

import json
import time
from typing import Any

import requests

ENDED = ("success", "failed")


class AirflowApi:
    """Asks and triggers as a person who is logged in does."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False  # never through a proxy

    @property
    def address(self) -> str:
        """Where the api-server is, without a slash at the end."""
        raise NotImplementedError

    def log_in_as(self, user: str, password: str) -> requests.Response:
        """Ask for a token; it is used from then on."""
        answer = self._session.post(
            f"{self.address}/auth/token", json={"username": user, "password": password}, timeout=30
        )
        if answer.ok:
            self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return answer

    def page(self, path: str, **keywords: Any) -> requests.Response:
        """A page of the web interface."""
        return self._session.get(f"{self.address}/{path}", timeout=30, **keywords)

    def ask(self, method: str, path: str, **keywords: Any) -> requests.Response:
        """Ask Airflow's public REST API."""
        address = f"{self.address}/api/v2/{path}"
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
