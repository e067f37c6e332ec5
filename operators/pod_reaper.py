"""Delete pods of steps whose task is over: a pod outlives its task on purpose, but not a cancelled run.

Whoever ends a task (a person, a timeout, a restart) is not known to it, so its pod works on for the next try.
When Airflow says that there is no next try, the pod has nobody to work for. That is looked at before each
step's pod is made, and every ten minutes by the DAG ``reap_pods`` where the deployment places steps in pods.
Pods of runs that this Airflow does not know belong to another one; they end by their own deadline.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow.sdk import DAG, BaseOperator

from drl.errors import StoreError
from operators.placement import PLACEMENT

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context
    from kubernetes.client import CoreV1Api, V1Pod

DAG_ID = "reap_pods"
OVER = {"success", "failed", "skipped", "upstream_failed", "removed"}
_log = logging.getLogger(__name__)

IsOver = Callable[[str, str, str], bool]


def reap(client: CoreV1Api, namespace: str, is_over: IsOver) -> list[str]:
    """Delete the pods of steps whose task is over; returns their names.

    Args:
        is_over: whether nobody waits for the task of this DAG id, run id and task id.

    Raises:
        StoreError: the cluster cannot be reached, or refuses.
    """
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    from operators.pod_manifest import SELECTOR

    try:
        found = client.list_namespaced_pod(namespace, label_selector=SELECTOR).items
        over = [pod.metadata.name for pod in found if _ended(pod, is_over)]
        for name in over:
            _log.warning("deleting pod %s: its task is over", name)
            client.delete_namespaced_pod(name, namespace)
    except (ApiException, HTTPError) as error:
        if getattr(error, "status", None) == 404:
            return reap(client, namespace, is_over)  # somebody else deleted one meanwhile: look again
        raise StoreError(
            f"pods of namespace {namespace} cannot be seen to: {error}",
            remedy="mend connection kubernetes_default or the launcher's rights, then clear this task",
        ) from error
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


def _ended(pod: V1Pod, is_over: IsOver) -> bool:
    from operators.pod_manifest import DAG as DAG_OF
    from operators.pod_manifest import RUN, TASK

    of = pod.metadata.annotations or {}
    if pod.metadata.deletion_timestamp or not {DAG_OF, RUN, TASK} <= of.keys():
        return False
    return is_over(of[DAG_OF], of[RUN], of[TASK])


class ReapPodsOperator(BaseOperator):
    """Delete the pods of steps whose task is over."""

    def execute(self, context: Context) -> list[str]:
        """Return the names of the pods that were deleted."""
        from operators.pod_step import cluster

        client, namespace = cluster()
        return reap(client, namespace, task_is_over(context))


def reaper_dag() -> DAG:
    """The DAG: every ten minutes where steps are pods, else by hand only."""
    in_pods = os.environ.get(PLACEMENT) == "pod"
    with DAG(
        dag_id=DAG_ID,
        description="Deletes the pods of steps whose task is over, of a cancelled run say.",
        doc_md=__doc__,
        schedule="*/10 * * * *" if in_pods else None,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(minutes=10),
        tags={"drl", "pods"},
        default_args={"owner": "drl", "retries": 0},
    ) as dag:
        ReapPodsOperator(task_id="reap")
    return dag
