"""Run prepare, train or evaluate in a subprocess of this machine.

The step gets credentials that reach the bucket ``staging`` only, no Airflow and no signing key. What it is
asked and what of its answer is taken is in ``operators/step_work.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from drl.errors import StepError
from drl.spec import Profile
from operators import connections
from operators.base import Run
from operators.placed_step import PlacedStepOperator
from operators.step_log import StepLog
from operators.step_work import Performed

if TYPE_CHECKING:
    from drl.steps.request import StepRequest

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


class StepOperator(PlacedStepOperator):
    """One step of a pipeline, in a subprocess."""

    placement = "subprocess"
    _process: subprocess.Popen[str] | None = None

    def work(self, run: Run) -> dict[str, Any]:
        """Return the step's summary."""
        return self.step_work.do(run, self._perform)

    def on_kill(self) -> None:
        """End the step and everything it started."""
        if self._process is not None:
            self._process.terminate()

    def _perform(self, run: Run, request: StepRequest) -> Performed:
        _end_with_supervisor()
        command = [sys.executable, "-m", "drl.steps.supervise", sys.executable, "-m", "drl", "step"]
        environment = step_environment(run.spec.training.profile) | connections.step_environment()
        with (
            StepLog(run, request.step) as log,
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
                log.show(line.rstrip("\n"))
        if self._process.returncode != 0:
            raise StepError(
                f"step {request.step} of {run.key} ended with status {self._process.returncode}:\n{log.tail}",
                remedy="mend what the lines above name, then clear this task",
            )
        return Performed(request, {"exit_code": 0})


def _end_with_supervisor() -> None:
    """A task goes on when its supervisor is killed hard; its step would train beside the next try's."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import CommsDecoder

    from drl.steps.supervise import end_with_parent

    # Under `dags test` there is no supervisor, and the parent is somebody's shell.
    if isinstance(getattr(task_runner, "SUPERVISOR_COMMS", None), CommsDecoder):
        end_with_parent()


def step_environment(profile: Profile) -> dict[str, str]:
    """What a step inherits: paths, package index and proxy settings, the instruction-set profile."""
    from drl.training.profile import profile_environment

    passed = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
    return passed | profile_environment(profile) | {"PYTHONUNBUFFERED": "1"}
