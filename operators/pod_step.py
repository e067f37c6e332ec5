"""A step's pod: made, or taken up where an earlier try left it, followed, and judged by what became of it.

A thin subclass of the provider's operator. What differs: the pod comes from the frozen run; its lines are a
step's; one that still works is never deleted or passed over because a task ended; one that failed is told of
in one error.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import (
    KubernetesApiException,
    PodLaunchFailedException,
)
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.utils.pod_manager import (
    PodLaunchTimeoutException,
    PodManager,
    PodPhase,
)
from kubernetes.client import CoreV1Api, V1DeleteOptions, V1Pod
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from drl.errors import DrlError, InputError
from drl.spec import PipelineSpec, PodSettings
from drl.steps.request import StepRequest
from operators import pod_report
from operators.cluster_errors import OutOfReach, may_pass
from operators.pod_manifest import ATTEMPT, pod_arguments, whose
from operators.step_log import StepLog

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

_NEVER_RAN = (PodLaunchFailedException, PodLaunchTimeoutException)
_OUT_OF_REACH = (KubernetesApiException, HTTPError)


def cluster() -> tuple[CoreV1Api, str]:
    """The cluster of the connection ``kubernetes_default``, and the namespace of steps on it."""
    hook = KubernetesHook(conn_id=KubernetesHook.default_conn_name)
    return hook.core_v1_client, _namespace(hook)


class StepPod(KubernetesPodOperator):
    """The pod of one request of a step."""

    def __init__(
        self,
        *,
        task_id: str,
        settings: PodSettings,
        spec: PipelineSpec,
        request: StepRequest,
        step_log: StepLog,
        **kwargs: Any,  # what Airflow adds to every operator's arguments
    ) -> None:
        super().__init__(
            task_id=task_id,
            **kwargs,
            **pod_arguments(spec, settings, request),
            deferrable=False,
            do_xcom_push=False,
            durable=True,
            on_kill_action="keep_pod",
            startup_check_interval_seconds=2,
        )
        self.attempt = request.attempt
        self.step_log = step_log

    @cached_property
    def cluster_namespace(self) -> str:
        """Where steps run: the connection says it."""
        return _namespace(self.hook)

    @cached_property
    def pod_manager(self) -> PodManager:
        """The provider's, but lines are a step's."""
        return _StepLines(self.client, self.step_log.show)

    def follow(self, context: Context) -> V1Pod:
        """Make or take up the pod and wait for its end; returns it as it ended, with success.

        Raises:
            StepError: it failed, could not start, or was deleted; the message tells all that is known.
            OutOfReach: the cluster does not answer; the pod, if there is one, works on.
        """
        try:
            self.execute_sync(context)
        except _NEVER_RAN as error:
            raise self._never_ran(str(error)) from error
        except ApiException as error:
            raise self._refused(error) from error
        except _OUT_OF_REACH as error:
            raise _out_of_reach(str(error)) from error
        pod = self.remote_pod
        if pod.status.phase != PodPhase.SUCCEEDED:
            failure = pod_report.failure(pod, self._events(pod), tail=self.step_log.tail)
            self.delete()
            raise failure
        return pod

    def delete(self, *, grace_s: int | None = None) -> None:
        """Delete the pod, if it is still there; the reaper does it where this fails."""
        name = self.pod.metadata.name
        try:
            self.client.delete_namespaced_pod(
                name, self.pod.metadata.namespace, body=V1DeleteOptions(grace_period_seconds=grace_s)
            )
        except ApiException as error:
            if error.status != 404:
                self.log.warning("pod %s could not be deleted: %s", name, error.reason)
        except HTTPError as error:
            self.log.warning("pod %s could not be deleted: %s", name, error)

    def build_pod_request_obj(self, context: Context | None = None, *, dry_run: bool = False) -> V1Pod:
        """The pod to make: the provider's, with what its arguments cannot say."""
        self.namespace = self.cluster_namespace
        pod = super().build_pod_request_obj(context, dry_run=dry_run)
        pod.spec.enable_service_links = False  # a Service of the namespace is no setting of the step
        if context:
            pod.metadata.annotations |= whose(context)
        return pod

    def get_or_create_pod(self, pod_request_obj: V1Pod, context: Context) -> V1Pod:
        """The pod of an earlier try that works on or ended well, else a new one."""
        pod = super().get_or_create_pod(pod_request_obj, context)
        if pod is not pod_request_obj:
            self.attempt = pod.metadata.annotations[ATTEMPT]
            key = (pod.metadata.namespace, pod.metadata.name, self.base_container_name)
            self.pod_manager.container_log_times[key] = datetime.now(UTC)
            self.log.info(
                "taken up: pod %s of attempt %s, made %s; its lines until now are in that try's log",
                pod.metadata.name,
                self.attempt,
                pod.metadata.creation_timestamp,
            )
        return pod

    def process_pod_deletion(self, pod: V1Pod, *, reraise: bool = True) -> bool:
        """Delete what is in a new pod's way; one that ended well is not: its answer is still to be taken."""
        if pod.status.phase == PodPhase.SUCCEEDED and not pod.metadata.deletion_timestamp:
            return False
        return super().process_pod_deletion(pod, reraise=reraise)

    def cleanup(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the provider would judge the pod by how it was at its start; :meth:`follow` does it."""

    def _never_ran(self, why: str) -> DrlError:
        pod = self._read() or self.pod
        failure = pod_report.never_ran(pod, self._events(pod), why)
        self.delete(grace_s=0)
        return failure

    def _refused(self, error: ApiException) -> DrlError:
        if error.status == 404 and self.pod is not None:
            return pod_report.deleted(self.pod, self._events(self.pod), tail=self.step_log.tail)
        if may_pass(error.status):
            return _out_of_reach(f"{error.status} {error.reason}")
        return pod_report.refused(error)

    def _read(self) -> V1Pod | None:
        try:
            return self.client.read_namespaced_pod(self.pod.metadata.name, self.pod.metadata.namespace)
        except (ApiException, HTTPError):
            return None

    def _events(self, pod: V1Pod) -> list[Any]:
        """Events of the pod; none when they cannot be read: they only help to explain."""
        try:
            return list(self.pod_manager.read_pod_events(pod).items)
        except (ApiException, *_OUT_OF_REACH) as error:
            self.log.warning("events of pod %s could not be read: %s", pod.metadata.name, error)
            return []


def _out_of_reach(why: str) -> OutOfReach:
    return OutOfReach(
        f"the Kubernetes API cannot be reached: {why}",
        remedy="the step's pod works on; this task's next try takes it up, or clear the task",
    )


def _namespace(hook: KubernetesHook) -> str:
    namespace = hook.get_namespace()
    if not namespace:
        raise InputError(
            f"Airflow connection {hook.conn_id}: extra.namespace is missing",
            remedy="name the namespace of steps, drl-jobs in deployment/k8s",
        )
    return str(namespace)


class _StepLines(PodManager):
    """Hands a pod's lines on as they are, instead of logging them with a prefix."""

    def __init__(self, client: Any, show: Callable[[str], None]) -> None:
        super().__init__(kube_client=client)
        self._show = show

    def _log_message(self, message: str, *_: Any) -> None:
        self._show(message)
