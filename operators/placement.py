"""Where a pipeline's steps run, as pipeline and deployment say, known when the DAG file is parsed.

A pipeline file need not name a placement: ``DRL_PLACEMENT`` is the deployment's, ``subprocess`` without it,
so that the same file runs in subprocesses on a laptop and in pods on a cluster. ``DRL_POD`` is a JSON object
with fields of ``orchestration.pod`` for pipelines that leave them out, above all ``image``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import get_args

from pydantic import ValidationError

from drl.errors import InputError
from drl.spec import OrchestrationSpec, Placement, PodSettings
from operators.base import RunOperator
from operators.step import StepOperator

PLACEMENT, POD = "DRL_PLACEMENT", "DRL_POD"
_SLACK = timedelta(minutes=5)


def placement_of(orchestration: OrchestrationSpec) -> Placement:
    """The pipeline's placement, or the deployment's.

    Raises:
        InputError: ``DRL_PLACEMENT`` names no placement.
    """
    if orchestration.placement is not None:
        return orchestration.placement
    named = os.environ.get(PLACEMENT) or "subprocess"
    for known in get_args(Placement):
        if named == known:
            return known
    raise InputError(
        f"environment variable {PLACEMENT} is {named!r}", remedy=f"set it to one of {get_args(Placement)}"
    )


def pod_settings(orchestration: OrchestrationSpec) -> PodSettings:
    """The pipeline's settings for a pod over the deployment's, over the defaults.

    Raises:
        InputError: ``DRL_POD`` is not what it should be, or neither names an image.
    """
    said = orchestration.pod.model_dump(exclude_unset=True)
    settings = PodSettings.model_validate({**_deployments_settings(), **said})
    if settings.image is None:
        raise InputError(
            "no image for the step's pod: neither orchestration.pod.image nor the deployment names one",
            remedy=f"""set {POD}='{{"image": "localhost/drl-executor:0.1.0"}}' for Airflow's processes""",
        )
    return settings


def step_operator(placement: Placement) -> Callable[..., RunOperator]:
    """Makes the operator that runs a step there; only what is asked for is imported."""
    if placement == "ray_job":
        from operators.ray_step import ray_step_operator

        return ray_step_operator
    if placement == "pod":
        from operators.pod import PodStepOperator

        return PodStepOperator
    return StepOperator


def step_patience(orchestration: OrchestrationSpec, placement: Placement) -> timedelta:
    """How long a step's task may take: the step's own time, and in a cluster the wait for a place."""
    time = timedelta(minutes=orchestration.step_timeout_minutes)
    if placement != "subprocess":
        time += 2 * timedelta(minutes=pod_settings(orchestration).pending_minutes) + _SLACK
    return time


def _deployments_settings() -> dict[str, object]:
    text = os.environ.get(POD)
    if not text:
        return {}
    try:
        return PodSettings.model_validate_json(text).model_dump(exclude_unset=True)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(
            f"environment variable {POD}: {found}",
            remedy="write a JSON object with fields of orchestration.pod; `drl schema` prints them",
        ) from error
