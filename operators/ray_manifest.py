"""The RayJob of a training: pods as ``operators/pod_manifest.py`` makes them, as head, workers and submitter.

The step itself runs on the head, as the job's entrypoint. The submitter only prints what it prints.
"""

from __future__ import annotations

import shlex
from typing import Any

from kubernetes.client import ApiClient
from kubernetes.client import models as k8s

from drl.spec import PipelineSpec, PodSettings
from drl.steps.request import StepRequest
from operators.pod_manifest import ATTEMPT, pod_arguments

RAY_VERSION = "2.60.0"
"""That of requirements.lock. KubeRay asks nodes of 2.53 or later for their health by HTTP, without wget."""
COMPONENT = {"app.kubernetes.io/name": "ray", "app.kubernetes.io/component": "ray"}
SELECTOR = "app.kubernetes.io/name=ray,app.kubernetes.io/part-of=drl"
_KEPT_S = 600  # pods stay for so long after the end, for their logs
_SUBMITTER = k8s.V1ResourceRequirements(
    requests={"cpu": "100m", "memory": "512Mi"}, limits={"cpu": "500m", "memory": "512Mi"}
)


def ray_job_manifest(spec: PipelineSpec, settings: PodSettings, request: StepRequest) -> dict[str, Any]:
    """The RayJob of ``request``; ``operators/ray_jobs.py`` gives it its name."""
    arguments, ray = pod_arguments(spec, settings, request), spec.orchestration.ray
    node = _template(arguments, arguments["container_resources"])
    queue = {"kueue.x-k8s.io/queue-name": ray.queue} if ray.queue else {}
    workers = {
        "groupName": "workers",
        "replicas": ray.workers,
        "minReplicas": ray.workers,
        "maxReplicas": ray.workers,
        "rayStartParams": {},
        "template": node,
    }
    return {
        "metadata": {
            "labels": arguments["labels"] | COMPONENT | queue,
            "annotations": {ATTEMPT: request.attempt},
        },
        "spec": {
            "entrypoint": shlex.join(["python", "-m", "drl", "step", f"s3:{request.key}"]),
            "submissionMode": "K8sJobMode",
            "backoffLimit": 0,  # Airflow tries again, from the last checkpoint
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": _KEPT_S,
            "activeDeadlineSeconds": arguments["active_deadline_seconds"],
            "preRunningDeadlineSeconds": arguments["schedule_timeout_seconds"],
            "submitterPodTemplate": _template(arguments, _SUBMITTER, restart="Never"),
            "rayClusterSpec": {
                "rayVersion": RAY_VERSION,
                "headGroupSpec": {"rayStartParams": {"dashboard-host": "0.0.0.0"}, "template": node},  # noqa: S104
                "workerGroupSpecs": [workers] if ray.workers else [],
            },
        },
    }


def _template(
    arguments: dict[str, Any], resources: k8s.V1ResourceRequirements, restart: str | None = None
) -> dict[str, Any]:
    """A pod within the restricted profile; KubeRay puts the command in."""
    container = k8s.V1Container(
        name="ray",
        image=arguments["image"],
        image_pull_policy=arguments["image_pull_policy"],
        env=[k8s.V1EnvVar(name=name, value=value) for name, value in arguments["env_vars"].items()],
        env_from=arguments["env_from"],
        resources=resources,
        security_context=arguments["container_security_context"],
        volume_mounts=arguments["volume_mounts"],
    )
    pod = k8s.V1PodSpec(
        containers=[container],
        restart_policy=restart,
        automount_service_account_token=False,
        enable_service_links=False,
        security_context=arguments["security_context"],
        termination_grace_period_seconds=arguments["termination_grace_period"],
        **{
            name: arguments[name]
            for name in (
                *("node_selector", "priority_class_name", "runtime_class_name"),
                *("service_account_name", "tolerations", "volumes"),
            )
        },
    )
    plain: dict[str, Any] = ApiClient().sanitize_for_serialization(pod)
    return {"metadata": {"labels": arguments["labels"] | COMPONENT}, "spec": plain}
