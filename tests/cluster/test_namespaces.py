"""The cluster takes from these tests what it is to take from a deployment, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable

from cluster.kubernetes_api import Kubectl

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "root"},
    "spec": {"containers": [{"name": "root", "image": "localhost/none:0"}]},
}


def test_a_pod_outside_the_profile_is_refused(kubectl: Kubectl, namespace: Callable[[str], str]) -> None:
    name = namespace("profile")
    refusal = kubectl.within(name).run("create", "--filename", "-", text=json.dumps(POD))
    assert refusal.returncode != 0
    assert 'violates PodSecurity "restricted:latest"' in refusal.stderr
