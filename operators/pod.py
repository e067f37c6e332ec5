"""Run prepare, train or evaluate as a pod on Kubernetes.

The step gets credentials that reach the bucket ``staging`` only, by reference to a Secret of its namespace,
no Airflow, no signing key and no rights in the cluster. A pod outlives the task that started it: a task that
is tried again, after a restart of the scheduler say, takes up the pod that works on. What it is asked and
what of its answer is taken is in ``operators/step_work.py``.

``KubernetesPodOperator`` and the cluster's client are imported when the task runs, not when a DAG is parsed,
which is why the operator of the DAG holds one (:class:`operators.pod_step.StepPod`) and is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from operators.base import Run
from operators.placed_step import PlacedStepOperator
from operators.placement import pod_settings
from operators.step_log import StepLog
from operators.step_work import Performed

if TYPE_CHECKING:
    from drl.steps.request import StepRequest
    from operators.pod_step import StepPod


class PodStepOperator(PlacedStepOperator):
    """One step of a pipeline, in a pod."""

    placement = "pod"
    _pod: StepPod | None = None

    def work(self, run: Run) -> dict[str, Any]:
        """Return the step's summary; the pod is kept until its answer was taken, or refused for good."""
        summary = self.step_work.do(run, self._perform, self._delete)
        self._delete()
        return summary

    def on_kill(self) -> None:
        """Let the pod work on: who ended this task is not known here.

        The task's next try takes it up; if there is none, ``operators/pod_reaper.py`` deletes it.
        """
        self.log.warning("this task was ended; its pod works on, for the next try to take up")

    def _delete(self) -> None:
        if self._pod is not None:
            self._pod.delete()

    def _perform(self, run: Run, request: StepRequest) -> Performed:
        from operators.pod_reaper import reap, task_is_over
        from operators.pod_report import observed
        from operators.pod_step import StepPod

        with StepLog(run, request.step) as log:
            self._pod = StepPod(
                task_id=self.task_id,
                settings=pod_settings(run.spec.orchestration),
                spec=run.spec,
                request=request,
                step_log=log,
            )
            reap(self._pod.client, self._pod.cluster_namespace, task_is_over(run.context))
            done = self._pod.follow(run.context)
        return Performed(self.step_work.request(run, self._pod.attempt), observed(done))
