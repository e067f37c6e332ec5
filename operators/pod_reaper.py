"""Delete pods of steps whose task is over: a pod outlives its task on purpose, but not a cancelled run.

Whoever ends a task (a person, a timeout, a restart) is not known to it, so its pod works on for the next try.
When Airflow says that there is no next try, the pod has nobody to work for. That is looked at before each
step's pod is made, and every ten minutes by the DAG ``reap_pods`` where the deployment places steps in a
cluster; RayJobs (``operators/ray_reaper.py``) likewise. Pods of runs that this Airflow does not know belong
to another one; they end by their own deadline.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from airflow.sdk import DAG, BaseOperator

from operators.cluster_errors import told
from operators.placement import PLACEMENT

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context
    from kubernetes.client import CoreV1Api, V1Pod

DAG_ID = "reap_pods"
OVER = {"success", "failed", "skipped", "upstream_failed", "removed"}
_MEND = "mend connection kubernetes_default or the launcher's rights, then clear this task"
_log = logging.getLogger(__name__)

IsOver = Callable[[str, str, str], bool]


def reap(client: CoreV1Api, namespace: str, is_over: IsOver) -> list[str]:
    """Delete the pods of steps whose task is over; returns their names.

    Args:
        is_over: whether nobody waits for the task of this DAG id, run id and task id.

    Raises:
        StoreError: the cluster cannot be reached, or refuses.
    """
    from operators.pod_manifest import SELECTOR

    with told(f"pods of namespace {namespace}", remedy=_MEND):
        found = client.list_namespaced_pod(namespace, label_selector=SELECTOR).items
        over = [pod.metadata.name for pod in found if _is_left(pod, is_over)]
        for name in over:
            _log.warning("deleting pod %s: its task is over", name)
            _delete(client, name, namespace)
    return over


def task_is_over(context: Context) -> IsOver:
    """What Airflow says of a task: over, or the whole run is. A run that it does not know is another's."""
    ti = context["ti"]

    def is_over(dag_id: str, run_id: str, task_id: str) -> bool:
        states = ti.get_task_states(dag_id=dag_id, run_ids=[run_id]).get(run_id)
        if not states:
            return False
        return states.get(task_id) in OVER or ti.get_dagrun_state(dag_id, run_id) in OVER

    return is_over


def is_nobodys(annotations: Mapping[str, str], is_over: IsOver) -> bool:
    """Whether the task that these annotations name is over."""
    from operators.pod_manifest import DAG as DAG_OF
    from operators.pod_manifest import RUN, TASK

    if not {DAG_OF, RUN, TASK} <= annotations.keys():
        return False
    return is_over(annotations[DAG_OF], annotations[RUN], annotations[TASK])


def _is_left(pod: V1Pod, is_over: IsOver) -> bool:
    return not pod.metadata.deletion_timestamp and is_nobodys(pod.metadata.annotations or {}, is_over)


def _delete(client: CoreV1Api, name: str, namespace: str) -> None:
    from kubernetes.client import ApiException

    try:
        client.delete_namespaced_pod(name, namespace)
    except ApiException as error:
        if error.status != HTTPStatus.NOT_FOUND:  # somebody else deleted it meanwhile
            raise


class ReapPodsOperator(BaseOperator):
    """Delete the pods and RayJobs of steps whose task is over."""

    def execute(self, context: Context) -> list[str]:
        """Return the names of what was deleted."""
        from operators.pod_step import cluster
        from operators.ray_jobs import jobs_of_connection
        from operators.ray_reaper import reap_ray_jobs

        client, namespace = cluster()
        is_over = task_is_over(context)
        jobs = jobs_of_connection("kubernetes_default", namespace)
        return reap(client, namespace, is_over) + reap_ray_jobs(jobs, is_over)


def reaper_dag() -> DAG:
    """The DAG: every ten minutes and at work at once where steps are in a cluster, else by hand only."""
    in_cluster = os.environ.get(PLACEMENT) in ("pod", "ray_job")
    with DAG(
        dag_id=DAG_ID,
        description="Deletes pods and RayJobs of steps whose task is over, of a cancelled run say.",
        doc_md=__doc__,
        schedule="*/10 * * * *" if in_cluster else None,
        is_paused_upon_creation=not in_cluster,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(minutes=10),
        tags={"drl", "pods"},
        # Its first run comes when the deployment starts, when the api-server may not answer yet.
        default_args={"owner": "drl", "retries": 3, "retry_delay": timedelta(seconds=30)},
    ) as dag:
        ReapPodsOperator(task_id="reap")
    return dag
