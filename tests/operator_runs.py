"""A pipeline's operators, executed one by one in this process with the least of a context that they need.

The operators, their connections, the steps' processes and all servers are the real ones; only Airflow's task
runner is missing, so that a test can interrupt and repeat an operator wherever it wants, within seconds.
"""

from __future__ import annotations

import inspect
import json
import logging
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from airflow.sdk import DAG, Param

from drl.artifact import Artifact
from drl.record.ledger import Account
from drl.spec import load_pipeline
from drl.steps.journal import RunJournal, run_key
from drl.steps.request import StepRequest, StepResult
from drl.stores.chain import Ledger
from drl.stores.graph import LineageGraph
from drl.stores.registry import ModelRegistry
from drl.stores.s3 import ArtifactStore
from operators import connections
from operators.base import Run, RunOperator
from operators.pipeline import pipeline_dag
from operators.step import StepOperator
from operators.step_work import Performed

BRANCHES = ("hold", "reject")
_ATTEMPT = re.compile(r"/\d+-[0-9a-f]{8}/")


class OperatorRun:
    """One run of a pipeline file, operator by operator."""

    def __init__(self, file: Path, run_id: str, *, params: dict[str, Any] | None = None) -> None:
        self.run_id = run_id
        self.file = file
        self.params = params or {}
        self.tries: dict[str, int] = defaultdict(int)
        self.spec = load_pipeline(file)
        self.key = run_key(self.spec.pipeline, run_id)

    @property
    def dag(self) -> DAG:
        """Built anew each time, as every task process builds it."""
        dag = pipeline_dag(self.spec, self.file)
        dag.fileloc = str(self.file.with_suffix(".py"))
        return dag

    @property
    def tasks(self) -> list[str]:
        """Tasks in their order; ``promote`` is the last, the other branches do nothing."""
        return [task.task_id for task in self.dag.topological_sort() if task.task_id not in BRANCHES]

    def execute(self, task_id: str) -> Any:
        """Run one task once, in a new try: what Airflow's task runner does after making the context."""
        self.tries[task_id] += 1
        operator = self.dag.get_task(task_id)
        defaults = {name: p.value if isinstance(p, Param) else p for name, p in operator.dag.params.items()}
        context = {
            "run_id": self.run_id,
            "params": defaults | self.params,
            "dag": operator.dag,
            "dag_run": SimpleNamespace(run_after=datetime.now(UTC)),
            "logical_date": datetime.now(UTC),
            "ti": SimpleNamespace(try_number=self.tries[task_id]),
            "outlet_events": defaultdict(SimpleNamespace),
        }
        # Not the verdict's own execute: skipping the other branches needs Airflow's server. Unwrapped,
        # because Airflow guards `execute` against callers other than its task runner.
        return inspect.unwrap(RunOperator.execute)(operator, context)

    def execute_all(self, tasks: list[str] | None = None) -> Any:
        """Run tasks in order, following the verdict; returns the last one's value."""
        value: Any = None
        for task_id in tasks or self.tasks:
            if task_id == "promote" and value != "promote":
                break
            value = self.execute(task_id)
        return value

    @property
    def run(self) -> Run:
        """The run as its operators see it."""
        return Run(self.spec.pipeline, self.key, {})

    @property
    def journal(self) -> RunJournal:
        return self.run.journal


def replay_steps(monkeypatch: pytest.MonkeyPatch, recorded: dict[str, StepResult]) -> None:
    """Let steps answer what they answered in an earlier run: their outputs are in the store by digest."""

    def answer(self: StepOperator, run: Run, request: StepRequest) -> Performed:
        run.store.write_once(request.result_key, json.dumps(recorded[request.step].to_json()).encode())
        return Performed(request, {"exit_code": 0})

    monkeypatch.setattr(StepOperator, "_perform", answer)


class Interrupted(BaseException):
    """Stands for whatever ends a process between two instructions: no handler of ours may catch it."""


class Interruptions:
    """Ends the program once at every call to an outside system, right ``before`` or right ``after`` it.

    A call is known by what it does and to what; when it comes again it goes through.

    Args:
        when: ``before`` or ``after``.
        at: end at the call of this number only, counted from 0 among the different ones.
    """

    CALLS: ClassVar[dict[type, tuple[str, ...]]] = {
        ArtifactStore: ("put", "write_once", "seal", "seal_bytes", "get_many", "verify_staged"),
        ModelRegistry: (
            *("champion", "start_run", "log_params", "log_metrics", "complete_metrics", "log_system_info"),
            *("register_onnx", "end_run", "set_champion"),
        ),
        Ledger: ("deploy", "open", "close", "note"),
        LineageGraph: ("record_run",),
    }

    def __init__(self, when: str, at: int | None = None) -> None:
        self.when = when
        self.at = at
        self.seen: list[str] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for kind, names in self.CALLS.items():
            for name in names:
                monkeypatch.setattr(kind, name, self._interrupting(kind, name))

    def _interrupting(self, kind: type, name: str) -> Callable[..., Any]:
        original = inspect.getattr_static(kind, name)

        def call(store: Any, *args: Any, **kwargs: Any) -> Any:
            identity = f"{kind.__name__}.{name}({_short(args)})"
            new = identity not in self.seen and threading.current_thread() is threading.main_thread()
            ends = new and self.at in (None, len(self.seen))
            if new:
                self.seen.append(identity)
            if ends and self.when == "before":
                raise Interrupted(identity)
            value = original(store, *args, **kwargs)
            if ends:
                raise Interrupted(identity)
            return value

        return call


def _short(args: tuple[Any, ...]) -> str:
    """Names, not contents; an attempt's random part is left out, or it would be new each time."""
    shown = [
        a.name if isinstance(a, Artifact) else str(a) for a in args if isinstance(a, str | int | Artifact)
    ]
    return _ATTEMPT.sub("/N/", ", ".join(shown))


@contextmanager
def logged() -> Iterator[list[str]]:
    """Messages of all loggers meanwhile."""
    messages: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    handler, root = Keep(level=logging.INFO), logging.getLogger()
    root.addHandler(handler)
    try:
        yield messages
    finally:
        root.removeHandler(handler)


def state_of(run: OperatorRun) -> dict[str, Any]:
    """What the outside systems hold about a run's pipeline, for comparison: equal means nothing twice."""
    registry, ledger = connections.model_registry(), connections.ledger()
    model, pipeline = run.spec.registration.model, run.spec.pipeline
    entries = ledger.account(pipeline)
    with connections.lineage_graph() as graph:
        counts = graph.counts()
    versions = registry._client.search_model_versions(f"name = '{model}'")
    return {
        "journal": {name: run.journal.read(name) for name in run.journal.names()},
        "entries": [entry.to_json() for entry in entries],
        "account": Account.of(entries).to_json(),
        "versions": sorted(int(v.version) for v in versions),
        "champion": registry.alias(model),
        "mlflow_runs": len(registry._client.search_runs([registry.ensure_experiment(pipeline)])),
        "graph": counts,
    }
