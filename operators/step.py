"""Run prepare, train or evaluate in a subprocess, watch it, check what it produced, and sign that.

The step gets credentials that reach the bucket ``staging`` only, no Airflow and no signing key. Its progress
arrives as JSON lines; they become the task log and live MLflow curves.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset

from drl.errors import StepError
from drl.spec import Profile
from operators import connections
from operators.base import Run, RunOperator
from operators.live_metrics import LiveMetrics

if TYPE_CHECKING:
    from drl.artifact import Artifact
    from drl.steps.request import StepName, StepRequest, StepResult

_PASSED_ON = (
    "PATH",
    "HOME",
    "DRL_CACHE",
    "LANG",
    "TMPDIR",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
)
_PASSED_ON_PREFIXES = (
    "PIP_",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)
_LAST_LINES = 40


class StepOperator(RunOperator):
    """One step of a pipeline.

    Args:
        step: ``prepare``, ``train`` or ``evaluate``.
        outlet: asset that has a new version when the step ends.
    """

    def __init__(self, *, step: StepName, outlet: Asset | None = None, **kwargs: Any) -> None:
        super().__init__(outlets=[outlet] if outlet else [], **kwargs)
        self.step = step
        self.outlet = outlet
        self._process: subprocess.Popen[str] | None = None

    def work(self, run: Run) -> dict[str, Any]:
        """Return the step's summary; a step that was accepted before is not run again."""
        from drl.steps.accept import sign_statements

        if run.journal.has(f"{self.step}.json"):
            self.log.info("accepted before; nothing to do")
        else:
            self._run_and_accept(run)
        sign_statements(run.journal, self.step, run.steps_signer)
        if self.outlet:
            run.context["outlet_events"][self.outlet].extra = {"run": run.key, "step": self.step}
        return run.result(self.step).summary

    def on_kill(self) -> None:
        """End the step and everything it started."""
        if self._process is not None:
            self._process.terminate()

    def _run_and_accept(self, run: Run) -> None:
        from drl.steps.accept import check_outputs
        from drl.steps.request import AcceptedStep

        request = _request(run, self.step)
        result = self._run(run, request)
        check_outputs(run.store, result)
        accepted = AcceptedStep(request, result, run.spec.orchestration.placement, {"exit_code": 0})
        run.journal.once(f"{self.step}.json", accepted.to_json)

    def _run(self, run: Run, request: StepRequest) -> StepResult:
        from drl.digest import canonical_json
        from drl.steps.request import StepResult

        run.store.write_once(request.key, canonical_json(request.to_json()))
        command = [sys.executable, "-m", "drl.steps.supervise", sys.executable, "-m", "drl", "step"]
        environment = step_environment(run.spec.training.profile) | connections.step_environment()
        last: deque[str] = deque(maxlen=_LAST_LINES)
        with (
            LiveMetrics(run, enabled=self.step == "train") as metrics,
            subprocess.Popen(
                [*command, f"s3:{request.key}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=environment,
                cwd=run.context["dag"].folder,
            ) as self._process,
        ):
            assert self._process.stdout is not None  # noqa: S101 - given by PIPE above
            for line in self._process.stdout:
                self._show(line.rstrip("\n"), last, metrics)
        if self._process.returncode != 0:
            tail = "\n".join(last)
            raise StepError(
                f"step {self.step} of {run.key} ended with status {self._process.returncode}:\n{tail}",
                remedy="mend what the lines above name, then clear this task",
            )
        return StepResult.from_json(json.loads(run.store.read(request.result_key)))

    def _show(self, line: str, last: deque[str], metrics: LiveMetrics) -> None:
        event = _event(line)
        if event is None:
            last.append(line)
            self.log.info("%s", line)
        elif event["event"] == "log":
            last.append(event["message"])
            self.log.info("%s", event["message"])
        elif event["event"] == "phase":
            self.log.info("%s: %.1f s", event["name"], event["seconds"])
        elif event["event"] == "metrics":
            metrics.add(event["series"], event["step"], event["values"])


def step_environment(profile: Profile) -> dict[str, str]:
    """What a step inherits: paths, package index and proxy settings, the instruction-set profile."""
    from drl.training.profile import profile_environment

    passed = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
    return passed | profile_environment(profile) | {"PYTHONUNBUFFERED": "1"}


def _request(run: Run, step: StepName) -> StepRequest:
    from drl.artifact import Artifact
    from drl.steps.request import StepRequest

    return StepRequest(
        step=step,
        run=run.key,
        attempt=f"{run.context['ti'].try_number}-{secrets.token_hex(4)}",
        resolved=Artifact.from_json(run.journal.read_json("resolved.ref.json")),
        inputs=tuple(_inputs(run, step)),
        parameters=_parameters(run, step),
    )


def _inputs(run: Run, step: StepName) -> list[Artifact]:
    from drl.artifact import Artifact
    from drl.steps.inputs import step_inputs

    before = ("prepare", "train", "evaluate")
    results = {name: run.result(name) for name in before[: before.index(step)] if run.ran(name)}
    champion = run.resolved["champion"]
    return step_inputs(
        step, results, champion=[Artifact.from_json(a) for a in champion["files"]] if champion else []
    )


def _parameters(run: Run, step: StepName) -> dict[str, Any]:
    if step == "prepare":
        return {}
    opening = run.journal.read_json("opening.json")
    if step == "train":
        return {"seeds": opening["seeds"]}
    champion = run.resolved["champion"]
    return {
        "released": run.result("train").summary["released"],
        "alpha": opening["alpha"],
        "champion_root": champion["model_root"] if champion else None,
    }


def _event(line: str) -> dict[str, Any] | None:
    if not line.startswith('{"event"'):
        return None
    try:
        value: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return value
