"""Delete RayJobs of steps whose task is over, as ``operators/pod_reaper.py`` deletes pods.

Ending a task deletes its job; where the task's process was killed hard, or the API server was away just then,
the job is left.
"""

from __future__ import annotations

import logging
from typing import Any

from operators.pod_reaper import IsOver, is_nobodys
from operators.ray_jobs import RayJobs
from operators.ray_manifest import SELECTOR

_log = logging.getLogger(__name__)


def reap_ray_jobs(jobs: RayJobs, is_over: IsOver) -> list[str]:
    """Delete the RayJobs of steps whose task is over; returns their names.

    Raises:
        StoreError: the cluster cannot be reached, or refuses.
    """
    found = jobs.labelled(SELECTOR)
    if found is None:
        _log.info("RayJobs of %s are not looked at: no KubeRay, or no components/kuberay", jobs.namespace)
        return []
    over = [job["metadata"]["name"] for job in found if _is_left(job["metadata"], is_over)]
    for name in over:
        _log.warning("deleting RayJob %s: its task is over", name)
        jobs.delete(name)
    return over


def _is_left(metadata: dict[str, Any], is_over: IsOver) -> bool:
    return "deletionTimestamp" not in metadata and is_nobodys(metadata.get("annotations", {}), is_over)
