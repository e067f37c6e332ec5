"""What a pod that runs must have, besides what the *restricted* profile makes the cluster refuse."""

from __future__ import annotations

from typing import Any


def outside_the_profile(pod: dict[str, Any], *, may_have_token: bool) -> list[str]:
    """In words, where a pod as the API server shows it does not keep to the rules of this deployment."""
    spec = pod["spec"]
    words = []
    if spec.get("automountServiceAccountToken") is not may_have_token:
        words.append("mounts a service account's token" if not may_have_token else "has no token")
    if spec.get("enableServiceLinks") is not False:
        words.append("has the addresses of Services in its variables")
    if not (spec["securityContext"].get("runAsUser") or 0) > 0:
        words.append("does not say as whom it runs")
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        context, name = container.get("securityContext", {}), container["name"]
        if context.get("readOnlyRootFilesystem") is not True:
            words.append(f"{name}: its root can be written")
        for side in ("requests", "limits"):
            if not {"cpu", "memory"} <= container["resources"].get(side, {}).keys():
                words.append(f"{name}: no {side}")
    return words
