"""A Ray job on a cluster of its own, through KubeRay: for work that one node is too small for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, ResumableJobMixin
from airflow.sdk.exceptions import AirflowFailException

from drl.errors import ConflictError, InputError, StoreError
from operators.ray_follow import Follower
from operators.ray_jobs import RayJobs, jobs_of_connection, ray_job_name
from operators.ray_status import RayJobStatus

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

_GONE = "gone"


class RayJobOperator(ResumableJobMixin, BaseOperator):
    """Make a RayJob, follow it to its end, and leave nothing behind.

    Its name follows from DAG, run, task and map index: a task that is tried again finds the job that it made,
    at work or done, whatever ended its worker. A job that failed is made anew by the next try. Marking the
    task failed, or a timeout, deletes the job with its cluster; so does success, once its log was read.

    Args:
        manifest: the RayJob's ``spec``, and ``metadata`` with labels and annotations; the name is given here.
        namespace: where; by default the connection's.
        kubernetes_conn_id: the cluster.
        poll_s: seconds between two looks at status and log.
        patience_s: how long the API server may be away before the task fails; the job does not notice.
    """

    external_id_key = "ray_job"
    template_fields = ("manifest", "namespace")

    def __init__(
        self,
        *,
        manifest: dict[str, Any],
        namespace: str | None = None,
        kubernetes_conn_id: str = "kubernetes_default",
        poll_s: float = 5.0,
        patience_s: float = 300.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.manifest = manifest
        self.namespace = namespace
        self.kubernetes_conn_id = kubernetes_conn_id
        self.poll_s = poll_s
        self.patience_s = patience_s
        self._name: str | None = None

    @cached_property
    def jobs(self) -> RayJobs:
        """The RayJobs of the namespace."""
        return jobs_of_connection(self.kubernetes_conn_id, self.namespace)

    def execute(self, context: Context) -> Any:
        """Make or find the job, follow it, delete it; returns its name and both statuses."""
        self._name = ray_job_name(_owner(context))
        try:
            result = self.execute_resumable(context)
        except (InputError, ConflictError) as error:  # a second try would find the same
            raise AirflowFailException(str(error)) from error
        self.jobs.delete(self._name)
        return result

    def on_kill(self) -> None:
        """Delete the job with its cluster."""
        if self._name is not None:
            self.log.info("deleting RayJob %s", self._name)
            self.jobs.delete(self._name)

    def submit_job(self, context: Context) -> str:
        """Make the job, or adopt it; returns its name."""
        made = self.jobs.create_or_adopt(self.manifest, _owner(context))
        return str(made["metadata"]["name"])

    def get_job_status(self, external_id: Any, context: Context) -> str:
        """The phase of the job, or ``gone``."""
        found = self.jobs.get(external_id)
        return _GONE if found is None else RayJobStatus.of(found).phase

    def is_job_active(self, status: str) -> bool:
        """Whether there is something to follow."""
        return status == "active"

    def is_job_succeeded(self, status: str) -> bool:
        """Whether its work is done."""
        return status == "succeeded"

    def poll_until_complete(self, external_id: Any, context: Context) -> dict[str, str]:
        """Follow the job; returns its result, which the mixin hands on when it found the job at work."""
        follower = Follower(
            self.jobs, external_id, self.log.info, self.log.info, self.poll_s, self.patience_s
        )
        return _result(follower.to_the_end())

    def get_job_result(self, external_id: Any, context: Context) -> dict[str, str]:
        """Name and statuses of a job that is done."""
        found = self.jobs.get(external_id)
        if found is None:
            raise StoreError(f"RayJob {external_id} is gone", remedy="clear this task, which makes it again")
        return _result(found)


def _owner(context: Context) -> str:
    ti = context["ti"]
    mapped = f"[{ti.map_index}]" if ti.map_index is not None and ti.map_index >= 0 else ""
    return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}{mapped}"


def _result(ray_job: dict[str, Any]) -> dict[str, str]:
    status = RayJobStatus.of(ray_job)
    return {
        "name": ray_job["metadata"]["name"],
        "job_status": status.job,
        "deployment_status": status.deployment,
    }
