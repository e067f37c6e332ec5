"""What KubeRay says about a RayJob: one phase and one sentence out of two status fields.

``status.jobDeploymentStatus`` is KubeRay's view (cluster, submission), ``status.jobStatus`` is Ray's (the
entrypoint). Neither is enough: a job that was stopped is ``Complete``, and one whose spec KubeRay refused
stays ``ValidationFailed`` for ever without ever having a job status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Phase = Literal["active", "succeeded", "failed"]

_ENDED = ("Complete", "Failed", "ValidationFailed")
_WORDS = {
    "": "no KubeRay operator has taken it up yet",
    "Initializing": "its cluster is being started",
    "Waiting": "its cluster waits for a job to be submitted",
    "Running": "running",
    "Suspending": "being suspended, its pods are removed",
    "Suspended": "suspended: it waits until its queue (Kueue) admits it",
    "Retrying": "failed once, KubeRay starts it again",
}


@dataclass(frozen=True)
class RayJobStatus:
    """The status of one RayJob.

    Attributes:
        deployment: ``status.jobDeploymentStatus``, empty while no KubeRay operator has seen the job.
        job: ``status.jobStatus``, empty until the entrypoint was submitted.
        suspended: whether ``spec.suspend`` is set, as Kueue does until it admits the job.
        reason: ``status.reason``; ``message``: ``status.message``; both empty while all is well.
        cluster: name of its RayCluster, empty while it has none.
    """

    deployment: str
    job: str
    suspended: bool
    reason: str
    message: str
    cluster: str

    @classmethod
    def of(cls, ray_job: Mapping[str, Any]) -> RayJobStatus:
        """The status of a RayJob as the API server gives it."""
        status = ray_job.get("status", {})
        return cls(
            deployment=status.get("jobDeploymentStatus", ""),
            job=status.get("jobStatus", ""),
            suspended=bool(ray_job["spec"].get("suspend")),
            reason=status.get("reason", ""),
            message=status.get("message", ""),
            cluster=status.get("rayClusterName", ""),
        )

    @property
    def phase(self) -> Phase:
        """Whether it is at work or waits for it, has done its work, or never will."""
        if self.deployment not in _ENDED:
            return "active"
        return "succeeded" if (self.deployment, self.job) == ("Complete", "SUCCEEDED") else "failed"

    @property
    def words(self) -> str:
        """One sentence for people."""
        if self.phase == "succeeded":
            return "succeeded"
        if self.phase == "failed":
            why = ": ".join(part for part in (self.reason, self.message) if part)
            return f"ended as {self.deployment}, its job as {self.job or 'never submitted'}" + (
                f" ({why})" if why else ""
            )
        if self.suspended and self.deployment in ("", "Initializing"):
            return _WORDS["Suspended"]
        known = _WORDS.get(self.deployment, f"in the state {self.deployment!r}, which is not known here")
        return known + (f", its job {self.job}" if self.job else "")
