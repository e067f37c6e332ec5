"""Train on a Ray cluster of its own, through KubeRay; the other steps run in pods.

Training is one process that calls Ray, on the head. Workers are for environments, or code of yours, that hand
work to Ray: learning itself is not spread over nodes by what this package does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drl.errors import StoreError
from operators.base import Run, RunOperator
from operators.placed_step import PlacedStepOperator
from operators.placement import pod_settings
from operators.pod import PodStepOperator
from operators.step_log import StepLog
from operators.step_work import Performed

if TYPE_CHECKING:
    from drl.steps.request import StepName, StepRequest
    from operators.ray_jobs import RayJobs


def ray_step_operator(*, step: StepName, **kwargs: Any) -> RunOperator:
    """The operator of a step with placement ``ray_job``."""
    return RayStepOperator(step=step, **kwargs) if step == "train" else PodStepOperator(step=step, **kwargs)


class RayStepOperator(PlacedStepOperator):
    """One step of a pipeline as a RayJob; a try that finds the job of an earlier one takes it up."""

    placement = "rayjob"
    _jobs: RayJobs | None = None
    _name = ""

    def work(self, run: Run) -> dict[str, Any]:
        """Return the step's summary; the job is kept until its answer was taken, or refused for good."""
        summary = self.step_work.do(run, self._perform, self._delete)
        self._delete()
        return summary

    def on_kill(self) -> None:
        """Delete the job; the next try goes on from the last checkpoint."""
        self._delete()

    def _delete(self) -> None:
        """Delete the job, if there is one; the reaper does it where this fails."""
        if self._jobs is None:
            return
        try:
            self._jobs.delete(self._name)
        except StoreError as error:
            self.log.warning("RayJob %s could not be deleted: %s", self._name, error)

    def _perform(self, run: Run, request: StepRequest) -> Performed:
        from operators.pod_manifest import ATTEMPT, whose
        from operators.pod_reaper import task_is_over
        from operators.ray_follow import Follower
        from operators.ray_jobs import jobs_of_connection, ray_job_name
        from operators.ray_manifest import ray_job_manifest
        from operators.ray_reaper import reap_ray_jobs

        owner = f"{run.key}/{request.step}"
        self._name, self._jobs = ray_job_name(owner), jobs_of_connection("kubernetes_default", None)
        reap_ray_jobs(self._jobs, task_is_over(run.context))
        manifest = ray_job_manifest(run.spec, pod_settings(run.spec.orchestration), request)
        manifest["metadata"]["annotations"] |= whose(run.context)
        attempt = self._jobs.create_or_adopt(manifest, owner)["metadata"]["annotations"][ATTEMPT]
        with StepLog(run, request.step) as log:
            done = Follower(self._jobs, self._name, log.show, self.log.info).to_the_end()
        return Performed(self.step_work.request(run, attempt), self._jobs.observed(done))
