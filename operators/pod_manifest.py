"""The pod of a step: what ``orchestration.pod`` and the rules of the namespace make of it.

It fits the *restricted* Pod Security Standard, has no service account token, writes to ``/tmp`` and
``/dev/shm`` only, and gets the S3 store from the Secret ``step-store``. A package index or a proxy that steps
need is in a second, optional Secret, ``step-environment``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.pod_generator import make_safe_label_value
from kubernetes.client import models as k8s

from drl.spec import PipelineSpec, PodSettings
from drl.steps.request import StepRequest
from drl.training.profile import profile_environment
from drl.training.stopping import VARIABLE as STOP_AT_CHECKPOINT

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

STORE_SECRET, ENVIRONMENT_SECRET = "step-store", "step-environment"
SERVICE_ACCOUNT = "step"
SELECTOR = "app.kubernetes.io/name=step,app.kubernetes.io/part-of=drl"
ATTEMPT, DAG, RUN, TASK = "drl/attempt", "drl/dag-id", "drl/run-id", "drl/task-id"
_USER = 10001


def pod_arguments(spec: PipelineSpec, settings: PodSettings, request: StepRequest) -> dict[str, Any]:
    """Arguments of ``KubernetesPodOperator`` for the pod of ``request``."""
    return {
        "name": re.sub("[^a-z0-9-]", "-", f"{spec.pipeline}-{request.step}"),
        "labels": _labels(spec, request),
        "annotations": {ATTEMPT: request.attempt},
        "image": settings.image,
        "image_pull_policy": "IfNotPresent",
        # The supervisor is process 1: it passes signals on and ends what the step leaves behind.
        "cmds": ["python", "-m", "drl.steps.supervise", "python", "-m", "drl", "step", f"s3:{request.key}"],
        "env_vars": _environment(spec),
        "env_from": [
            k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=STORE_SECRET)),
            k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=ENVIRONMENT_SECRET, optional=True)),
        ],
        "service_account_name": SERVICE_ACCOUNT,
        "automount_service_account_token": False,
        "security_context": k8s.V1PodSecurityContext(
            run_as_non_root=True,
            run_as_user=_USER,
            run_as_group=_USER,
            fs_group=_USER,
            seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
        ),
        "container_security_context": k8s.V1SecurityContext(
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            capabilities=k8s.V1Capabilities(drop=["ALL"]),
        ),
        "container_resources": _resources(settings),
        "runtime_class_name": settings.runtime_class,
        "node_selector": settings.node_selector,
        "tolerations": [k8s.V1Toleration(**t.model_dump()) for t in settings.tolerations],
        "priority_class_name": settings.priority_class,
        "volumes": [
            k8s.V1Volume(name="scratch", empty_dir=k8s.V1EmptyDirVolumeSource(size_limit=settings.scratch)),
            k8s.V1Volume(
                name="shm",
                empty_dir=k8s.V1EmptyDirVolumeSource(medium="Memory", size_limit=settings.shared_memory),
            ),
        ],
        "volume_mounts": [
            k8s.V1VolumeMount(name="scratch", mount_path="/tmp"),  # noqa: S108 - the pod's own
            k8s.V1VolumeMount(name="shm", mount_path="/dev/shm"),  # noqa: S108
        ],
        "termination_grace_period": settings.grace_seconds,
        "active_deadline_seconds": 60 * spec.orchestration.step_timeout_minutes,
        "schedule_timeout_seconds": 60 * settings.pending_minutes,
        "startup_timeout_seconds": 60 * settings.pending_minutes,
    }


def whose(context: Context) -> dict[str, str]:
    """Annotations that name the task; ``operators/pod_reaper.py`` asks Airflow about it."""
    ti = context["ti"]
    return {DAG: ti.dag_id, RUN: ti.run_id, TASK: ti.task_id}


def _labels(spec: PipelineSpec, request: StepRequest) -> dict[str, str]:
    named = {
        **dict(part.split("=") for part in SELECTOR.split(",")),
        "drl.step": request.step,
        "drl.pipeline": spec.pipeline,
        "drl.model": spec.registration.model,
        "drl.run": request.run.partition("/")[2],
    }
    return {name: make_safe_label_value(value) for name, value in named.items()}


def _environment(spec: PipelineSpec) -> dict[str, str]:
    return profile_environment(spec.training.profile) | {
        "PYTHONUNBUFFERED": "1",
        STOP_AT_CHECKPOINT: "1",
        "HOME": "/tmp",  # noqa: S108
        "TMPDIR": "/tmp",  # noqa: S108
    }


def _resources(settings: PodSettings) -> k8s.V1ResourceRequirements:
    limits = {"cpu": str(settings.cpu_limit or settings.cpu), "memory": settings.memory}
    if settings.gpus:
        limits[settings.gpu_resource] = str(settings.gpus)
    return k8s.V1ResourceRequirements(requests={**limits, "cpu": str(settings.cpu)}, limits=limits)
