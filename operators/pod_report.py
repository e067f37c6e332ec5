"""What became of a step's pod, in words: states, exit codes, memory, node and last events in one error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from drl.errors import DrlError, StepError

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Event, V1ContainerStatus, V1Pod
    from kubernetes.client.exceptions import ApiException

_LAST_EVENTS = 8
_STOPPED = "the next try goes on from the last checkpoint"
_REMEDIES = {
    "OOMKilled": f"raise orchestration.pod.memory; {_STOPPED}",
    "DeadlineExceeded": f"raise orchestration.step_timeout_minutes; {_STOPPED}",
    "Evicted": f"see above why (scratch and memory are settings of orchestration.pod); {_STOPPED}",
}
_MEND = "mend what the lines above name, then clear this task"


def observed(pod: V1Pod) -> dict[str, Any]:
    """What the operator saw of a pod that ended well: part of the signed statement."""
    status = pod.status.container_statuses[0]
    return {
        "exit_code": status.state.terminated.exit_code,
        "pod": f"{pod.metadata.namespace}/{pod.metadata.name}",
        "pod_uid": pod.metadata.uid,
        "node": pod.spec.node_name,
        "image": status.image,
        "image_id": status.image_id,
    }


def failure(pod: V1Pod, events: list[CoreV1Event], *, tail: str) -> DrlError:
    """A pod that ended otherwise than well."""
    if pod.metadata.deletion_timestamp:
        return deleted(pod, events, tail=tail)
    reason = pod.status.reason or _container_reason(pod)
    stopped = bool(_disruption(pod)) or reason == "Preempting"
    remedy = _REMEDIES.get(reason, _STOPPED if stopped else _MEND)
    return _error(f"{_name(pod)} failed: {reason}", [*_told(pod, events), *_printed(tail)], remedy)


def deleted(pod: V1Pod, events: list[CoreV1Event], *, tail: str) -> DrlError:
    """A pod that is gone: somebody deleted it, or its node was drained."""
    lines = [*_event_lines(events), *_printed(tail)]
    return _error(f"{_name(pod)} was deleted while it worked", lines, _STOPPED)


def never_ran(pod: V1Pod, events: list[CoreV1Event], why: str) -> DrlError:
    """A pod that no node took, or whose container did not start."""
    scheduled = pod.spec.node_name is not None
    remedy = (
        "load the image on the node, or mend orchestration.pod.image (by default that of DRL_POD)"
        if scheduled
        else "ask for less in orchestration.pod, wait for others to end, or add a node with what it asks for"
    )
    return _error(f"{_name(pod)} did not start: {why}", _told(pod, events), remedy)


def refused(error: ApiException) -> DrlError:
    """The cluster does not take the pod, or does not let us make it."""
    return StepError(
        f"Kubernetes refuses the step's pod: {error.status} {_body(error)}",
        remedy="mend what it names: the launcher's rights, quota or policy of the namespace, the settings",
    )


def _error(headline: str, lines: list[str], remedy: str) -> DrlError:
    return StepError("\n".join([headline, *lines]), remedy=remedy)


def _name(pod: V1Pod) -> str:
    node = getattr(pod.spec, "node_name", None)
    return f"pod {pod.metadata.namespace}/{pod.metadata.name}" + (f" on node {node}" if node else "")


def _told(pod: V1Pod, events: list[CoreV1Event]) -> list[str]:
    if pod.status is None:
        return _event_lines(events)
    lines = [f"  phase {pod.status.phase}" + _because(pod.status.reason, pod.status.message)]
    for status in pod.status.container_statuses or []:
        lines.append(f"  container {status.name}: {_state(status)}")
    for condition in _disruption(pod):
        lines.append(f"  disrupted{_because(condition.reason, condition.message)}")
    return lines + _event_lines(events)


def _state(status: V1ContainerStatus) -> str:
    state = status.state
    if state.terminated:
        ended = state.terminated
        ran = (
            f", from {ended.started_at:%H:%M:%S} to {ended.finished_at:%H:%M:%S}" if ended.started_at else ""
        )
        return f"ended with exit code {ended.exit_code}{_because(ended.reason, ended.message)}{ran}"
    if state.waiting:
        return f"waiting{_because(state.waiting.reason, state.waiting.message)}"
    return "running" if state.running else "in no state yet"


def _container_reason(pod: V1Pod) -> str:
    for status in pod.status.container_statuses or []:
        ended = status.state.terminated
        if ended and ended.exit_code:
            return "OOMKilled" if ended.reason == "OOMKilled" else f"exit code {ended.exit_code}"
    return "for no reason that Kubernetes gives"


def _disruption(pod: V1Pod) -> list[Any]:
    """Kubernetes' own word that it ended the pod: eviction, drain, preemption."""
    return [c for c in pod.status.conditions or [] if c.type == "DisruptionTarget" and c.status == "True"]


def _event_lines(events: list[CoreV1Event]) -> list[str]:
    lines = [f"  event {e.type} {e.reason}{_times(e.count)}: {e.message}" for e in events[-_LAST_EVENTS:]]
    return lines or ["  no events"]


def _times(count: int | None) -> str:
    return f" ({count} times)" if count and count > 1 else ""


def _because(reason: str | None, message: str | None) -> str:
    said = ": ".join(filter(None, (reason, (message or "").strip())))
    return f" ({said})" if said else ""


def _printed(tail: str) -> list[str]:
    return ["  last lines:", tail] if tail else []


def _body(error: ApiException) -> str:
    """The API's own message."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
