"""A stand-in for the KubeRay operator, which cannot run where these tests do: no pod of Ray is started.

The custom resource, its schema and the API server are the real ones. What is played is the controller: it
adds its finalizer, writes ``status`` through the subresource in the order a script says, makes the Job of the
submitter as KubeRay does in ``K8sJobMode``, waits while ``spec.suspend`` is set, and lets a deleted job go.
"""

from __future__ import annotations

import hashlib
import lzma
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.kubernetes_api import Kubectl, eventually
from kubernetes.client import ApiException, BatchV1Api, CustomObjectsApi
from kubernetes.config import new_client_from_config

FINALIZER = "ray.io/rayjob-finalizer"
_CRD = Path(__file__).parent / "kuberay" / "ray.io_rayjobs.v1.7.0.yaml.xz"
_SHA256 = "01a5cf3b17c1769fda44af7e82debcd98722f0c27b9ab84d084681c6649121f5"
_RAY = {"group": "ray.io", "version": "v1", "plural": "rayjobs"}


@dataclass(frozen=True)
class Said:
    """One status that KubeRay writes."""

    deployment: str
    job: str = ""
    reason: str = ""
    message: str = ""

    @property
    def status(self) -> dict[str, Any]:
        fields = {
            "jobDeploymentStatus": self.deployment,
            "jobStatus": self.job,
            "reason": self.reason,
            "message": self.message,
        }
        return {name: value for name, value in fields.items() if value}


STARTING = Said("Initializing")
RUNNING = Said("Running", "RUNNING")
COMPLETE = Said("Complete", "SUCCEEDED")


@dataclass
class ScriptedKubeRay:
    """Plays a script to each RayJob of a namespace; a job waits at the end of the script for more."""

    namespace: str
    script: list[Said] = field(default_factory=list)
    submits: bool = False
    seen: dict[str, int] = field(default_factory=dict)
    _end: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        client, self._kubectl = new_client_from_config(), Kubectl(self.namespace)
        self._objects, self._batch = CustomObjectsApi(client), BatchV1Api(client)
        self._thread = threading.Thread(target=self._reconcile_for_ever, daemon=True)

    def __enter__(self) -> ScriptedKubeRay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(30)

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """The RayJobs there are."""
        found: dict[str, Any] = self._objects.list_namespaced_custom_object(**_RAY, namespace=self.namespace)
        return list(found["items"])

    def remove_everything(self) -> None:
        """No RayJob is left, and the next one meets an empty script."""
        self.script = []
        self._kubectl("delete", "rayjobs.ray.io", "--all", "--wait=false")
        eventually(lambda: not self.jobs, 30, every=0.2)
        self.submits = False

    def unsuspend(self, job: dict[str, Any]) -> None:
        """What Kueue does when there is room."""
        self._objects.patch_namespaced_custom_object(**self._which(job), body={"spec": {"suspend": False}})

    def _reconcile_for_ever(self) -> None:
        while not self._end.wait(0.2):
            for job in self.jobs:
                try:
                    self._reconcile(job)
                except ApiException as error:
                    if error.status not in (404, 409):  # changed meanwhile: the next look has it
                        raise

    def _reconcile(self, job: dict[str, Any]) -> None:
        metadata, uid = job["metadata"], job["metadata"]["uid"]
        if "deletionTimestamp" in metadata:
            self._set_finalizers(job, [name for name in metadata["finalizers"] if name != FINALIZER])
        elif FINALIZER not in metadata.get("finalizers", []):
            self._set_finalizers(job, [FINALIZER])
        elif job["spec"].get("suspend"):
            self._say(job, Said("Suspended"))
        elif self.seen.get(uid, 0) < len(self.script):
            said = self.script[self.seen.get(uid, 0)]
            self.seen[uid] = self.seen.get(uid, 0) + 1
            if said.job and self.submits:
                self._submit(job)
            self._say(job, said)

    def _submit(self, job: dict[str, Any]) -> None:
        """The submitter's Job, named like the RayJob; it runs the entrypoint itself, there being no Ray."""
        metadata, template = job["metadata"], job["spec"]["submitterPodTemplate"]
        owner = {
            "apiVersion": "ray.io/v1",
            "kind": "RayJob",
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        body = {
            "metadata": {"name": metadata["name"], "ownerReferences": [{**owner, "controller": True}]},
            "spec": {"backoffLimit": 0, "template": template},
        }
        try:
            self._batch.create_namespaced_job(self.namespace, body)
        except ApiException as error:
            if error.status != 409:
                raise
        if self.script[-1].deployment in ("Complete", "Failed"):  # KubeRay says so only after the submitter
            eventually(lambda: self._submitter_ended(metadata["name"]), 60, every=0.2)

    def _submitter_ended(self, name: str) -> bool:
        status = self._batch.read_namespaced_job(name, self.namespace).status
        return bool(status.succeeded or status.failed)

    def _say(self, job: dict[str, Any], said: Said) -> None:
        if job.get("status", {}).get("jobDeploymentStatus") != said.deployment or said.job:
            self._objects.patch_namespaced_custom_object_status(
                **self._which(job), body={"status": said.status}
            )

    def _set_finalizers(self, job: dict[str, Any], names: list[str]) -> None:
        """Refused with a conflict when the job has changed since it was looked at."""
        body = {"metadata": {"finalizers": names, "resourceVersion": job["metadata"]["resourceVersion"]}}
        self._objects.patch_namespaced_custom_object(**self._which(job), body=body)

    def _which(self, job: dict[str, Any]) -> dict[str, Any]:
        return _RAY | {"namespace": self.namespace, "name": job["metadata"]["name"]}


@contextmanager
def rayjob_resource(kubectl: Kubectl) -> Iterator[None]:
    """KubeRay's RayJob is known to the cluster; taken away again unless it was there before."""
    known = kubectl.run("get", "rayjobs.ray.io", "--all-namespaces").returncode == 0
    try:
        if not known:
            text = lzma.decompress(_CRD.read_bytes())
            assert hashlib.sha256(text).hexdigest() == _SHA256
            kubectl("create", "--filename", "-", text=text.decode())
            eventually(lambda: kubectl.run("get", "rayjobs.ray.io", "-A").returncode == 0, 60)
        yield
    finally:
        if not known:
            kubectl("delete", "customresourcedefinition", "rayjobs.ray.io", "--wait=false")
