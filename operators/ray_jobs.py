"""RayJobs of one namespace, through the API server: create or adopt, look, read logs, delete."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from drl.errors import ConflictError, InputError, StoreError
from operators.cluster_errors import told
from operators.pod_log import PodLog
from operators.ray_status import RayJobStatus

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api, CustomObjectsApi

GROUP, VERSION, PLURAL = "ray.io", "v1", "rayjobs"
OWNER = "drl/task"
"""Annotation that says whose job it is: the task that may adopt and delete it."""
_LONGEST_NAME = 47  # KubeRay appends to it, and refuses longer ones
_GRANT = "apply deployment/k8s/components/kuberay, which grants what this needs"


def ray_job_name(owner: str) -> str:
    """The name of the RayJob of ``owner``: always the same, a DNS label, at most 47 characters."""
    readable = re.sub(r"[^a-z0-9]+", "-", owner.lower()).strip("-")
    short = readable[: _LONGEST_NAME - 13].rstrip("-")
    return f"r-{short}-{hashlib.sha256(owner.encode()).hexdigest()[:10]}"


@dataclass
class RayJobs:
    """The RayJobs of one namespace.

    Attributes:
        objects: client for custom resources; ``core`` for pods and their logs.
        deletion_s: how long a job that is to be made anew may take to go.
    """

    objects: CustomObjectsApi
    core: CoreV1Api
    namespace: str
    deletion_s: float = 120.0
    _logs: dict[str, PodLog] = field(default_factory=dict)

    def create_or_adopt(self, manifest: dict[str, Any], owner: str) -> dict[str, Any]:
        """Make the RayJob of ``owner``, or find the one it made before: at work, or done.

        One that failed, or is being deleted, is made anew.

        Args:
            manifest: the RayJob; its name and owner are set here.

        Raises:
            InputError: the API server refuses the manifest.
            ConflictError: the name belongs to somebody else.
            StoreError: the cluster knows no RayJobs, refuses us, or cannot be reached.
        """
        name = ray_job_name(owner)
        metadata = manifest.get("metadata", {})
        wanted = manifest | {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "RayJob",
            "metadata": metadata
            | {"name": name, "annotations": metadata.get("annotations", {}) | {OWNER: owner}},
        }
        created = self._create(wanted)
        if created is not None:
            return created
        found = self.get(name)
        if found is not None:
            self._require_owner(found, owner)
            deleting = "deletionTimestamp" in found["metadata"]
            if not deleting and RayJobStatus.of(found).phase != "failed":
                return found
            self.delete(name)
            self._wait_until_gone(name)
        created = self._create(wanted)
        if created is None:
            raise ConflictError(
                f"RayJob {name} in {self.namespace} was made by somebody else just now",
                remedy="clear this task, which adopts it",
            )
        return created

    def get(self, name: str) -> dict[str, Any] | None:
        """The RayJob, or None when there is none.

        Raises:
            OutOfReach: the API server does not answer now; StoreError: it refuses.
        """
        return self._ask(name, lambda: self.objects.get_namespaced_custom_object(**self._which(name)))

    def delete(self, name: str) -> None:
        """Have the RayJob deleted with its cluster and its pods; none is fine.

        Raises:
            OutOfReach: the API server does not answer now; StoreError: it refuses.
        """
        self._ask(
            name,
            lambda: self.objects.delete_namespaced_custom_object(
                **self._which(name), propagation_policy="Foreground"
            ),
        )

    def labelled(self, selector: str) -> list[dict[str, Any]] | None:
        """The RayJobs with these labels; None where there can be none of ours.

        That is where the cluster knows no RayJobs, or this account may not list them: what grants that also
        grants to make them.

        Raises:
            OutOfReach: the API server does not answer now; StoreError: it refuses otherwise.
        """
        from kubernetes.client import ApiException

        with told(f"RayJobs of {self.namespace}", remedy=_GRANT):
            try:
                found: dict[str, Any] = self.objects.list_namespaced_custom_object(
                    GROUP, VERSION, self.namespace, PLURAL, label_selector=selector
                )
            except ApiException as error:
                if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
                    return None
                raise
        return list(found["items"])

    def _wait_until_gone(self, name: str) -> None:
        end = time.monotonic() + self.deletion_s
        while self.get(name) is not None:
            if time.monotonic() > end:
                raise StoreError(
                    f"RayJob {name} in {self.namespace} is still being deleted after {self.deletion_s:.0f} s",
                    remedy="see whether the KubeRay operator runs: it removes the finalizer",
                )
            time.sleep(1.0)

    def new_log_lines(self, ray_job: dict[str, Any]) -> list[str]:
        """What the job printed since the last call, each line once.

        Ray's submitter prints the entrypoint's output. It is a pod of its own or, with
        ``submissionMode: SidecarMode``, a container of the head; otherwise the head's own log is read.

        Raises:
            OutOfReach: the API server does not answer now; StoreError: it refuses.
        """
        lines = []
        ended = RayJobStatus.of(ray_job).phase != "active"
        mode = ray_job["spec"].get("submissionMode", "K8sJobMode")
        for pod in self.submitters(ray_job):
            name = pod.spec.containers[0].name if mode != "SidecarMode" else "ray-job-submitter"
            log = self._logs.setdefault(
                pod.metadata.uid, PodLog(self.core, self.namespace, pod.metadata.name, name)
            )
            with told(f"log of pod {pod.metadata.name}", remedy=_GRANT):
                lines += log.new_lines(ended=ended)
        return lines

    def submitters(self, ray_job: dict[str, Any]) -> list[Any]:
        """The pods whose log is the job's, in the order they were made."""
        if ray_job["spec"].get("submissionMode", "K8sJobMode") == "K8sJobMode":
            return self._pods(f"batch.kubernetes.io/job-name={ray_job['metadata']['name']}")
        cluster = RayJobStatus.of(ray_job).cluster
        return self._pods(f"ray.io/cluster={cluster},ray.io/node-type=head") if cluster else []

    def observed(self, ray_job: dict[str, Any]) -> dict[str, Any]:
        """What Kubernetes says of a job that succeeded: part of a signed statement.

        ``image_id`` and ``node`` are those of the head, which ran the entrypoint; null if it is gone already.
        """
        cluster = RayJobStatus.of(ray_job).cluster
        heads = self._pods(f"ray.io/cluster={cluster},ray.io/node-type=head") if cluster else []
        ran = (
            heads[-1].status.container_statuses[0] if heads and heads[-1].status.container_statuses else None
        )
        return {
            "ray_job": f"{self.namespace}/{ray_job['metadata']['name']}",
            "ray_job_uid": ray_job["metadata"]["uid"],
            "node": heads[-1].spec.node_name if heads else None,
            "image": ran.image if ran else None,
            "image_id": ran.image_id if ran else None,
        }

    def post_mortem(self, ray_job: dict[str, Any]) -> list[str]:
        """One line for each pod of the job: where it ran, how its containers ended or why they wait."""
        cluster = RayJobStatus.of(ray_job).cluster
        pods = self.submitters(ray_job) + (self._pods(f"ray.io/cluster={cluster}") if cluster else [])
        return [_of_pod(pod) for pod in {pod.metadata.uid: pod for pod in pods}.values()]

    def _pods(self, selector: str) -> list[Any]:
        with told(f"pods of {self.namespace}", remedy=_GRANT):
            pods = self.core.list_namespaced_pod(self.namespace, label_selector=selector).items
        return sorted(pods, key=lambda pod: pod.metadata.creation_timestamp)

    def _create(self, manifest: dict[str, Any]) -> dict[str, Any] | None:
        """The new object; None when there is one of the name."""
        from kubernetes.client import ApiException

        where = self._which(manifest["metadata"]["name"])
        del where["name"]
        with told(f"making a RayJob in {self.namespace}", remedy=_GRANT):
            try:
                created: dict[str, Any] = self.objects.create_namespaced_custom_object(**where, body=manifest)
            except ApiException as error:
                if error.status == HTTPStatus.CONFLICT:
                    return None
                if error.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY):
                    raise InputError(
                        f"the API server refuses the RayJob: {error.body}", remedy="mend what it names"
                    ) from error
                if error.status == HTTPStatus.NOT_FOUND:
                    raise StoreError(
                        f"the cluster knows no RayJobs, or no namespace {self.namespace}",
                        remedy="install the KubeRay operator and its custom resources",
                    ) from error
                raise
        return created

    def _ask(self, name: str, call: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """What the call returns; None for an object that is not there."""
        from kubernetes.client import ApiException

        with told(f"RayJob {name} in {self.namespace}", remedy=_GRANT):
            try:
                return call()
            except ApiException as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    return None
                raise

    def _require_owner(self, found: dict[str, Any], owner: str) -> None:
        other = found["metadata"].get("annotations", {}).get(OWNER)
        if other != owner:
            raise ConflictError(
                f"RayJob {found['metadata']['name']} in {self.namespace} belongs to {other}, not to {owner}",
                remedy="delete it, if it is not needed, and clear this task",
            )

    def _which(self, name: str) -> dict[str, Any]:
        return {
            "group": GROUP,
            "version": VERSION,
            "namespace": self.namespace,
            "plural": PLURAL,
            "name": name,
        }


def _of_pod(pod: Any) -> str:
    states = [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]
    containers = ", ".join(f"{status.name} {_of_container(status)}" for status in states)
    why = ": ".join(part for part in (pod.status.reason, pod.status.message) if part)
    return (
        f"pod {pod.metadata.name} on {pod.spec.node_name or 'no node'}: {pod.status.phase}"
        + (f" ({why})" if why else "")
        + (f"; {containers}" if containers else "")
    )


def _of_container(status: Any) -> str:
    state = status.state
    if state.terminated:
        return f"ended with {state.terminated.exit_code} ({state.terminated.reason})"
    if state.waiting:
        return f"waits ({state.waiting.reason})"
    return "runs"


def jobs_of_connection(kubernetes_conn_id: str, namespace: str | None) -> RayJobs:
    """The RayJobs of a namespace, by default the connection's, in the cluster of an Airflow connection."""
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

    hook = KubernetesHook(conn_id=kubernetes_conn_id)
    place = namespace or hook.get_namespace() or hook.DEFAULT_NAMESPACE
    return RayJobs(hook.custom_object_client, hook.core_v1_client, place)
