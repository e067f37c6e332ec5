"""A real API server takes every object of every combination: nothing is kept, so nothing has to run."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from cluster.kubernetes_api import Kubectl
from k8s_manifests import RENDERED, Manifest, of_kind, render

OTHERS = {"kueue.x-k8s.io"}  # kinds that somebody else's controller brings to a cluster


@pytest.fixture(scope="module")
def known(kubectl: Kubectl) -> set[str]:
    """The API groups and versions of the cluster."""
    return set(kubectl("api-versions").split())


@pytest.fixture(scope="module")
def places(namespace: Callable[[str], str]) -> dict[str, str]:
    """A throw-away namespace in the place of each of ours, with its own labels' profile."""
    ours = {m["metadata"]["name"] for path in RENDERED for m in of_kind("Namespace", render(path))}
    return {name: namespace(name.removeprefix("drl-")) for name in sorted(ours)}


@pytest.mark.parametrize("path", RENDERED)
def test_the_api_server_takes_every_object(
    path: str, kubectl: Kubectl, known: set[str], places: dict[str, str]
) -> None:
    objects = render(path)
    lacking = {m["apiVersion"] for m in objects} - known
    assert {version.partition("/")[0] for version in lacking} <= OTHERS
    tried = [_moved(m, places) for m in objects if m["apiVersion"] not in lacking]
    done = kubectl.run(
        *("apply", "--dry-run=server", "--validate=strict", "--filename", "-"),
        text=json.dumps({"apiVersion": "v1", "kind": "List", "items": tried}),
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "a warning is an object that the namespace's profile would not let run"
    assert len(done.stdout.splitlines()) == len(tried)


def test_an_object_that_is_wrong_is_not_taken(kubectl: Kubectl, places: dict[str, str]) -> None:
    """That the API server is asked for its judgement, and gives it."""
    (service,) = [m for m in of_kind("Service", render(".")) if m["metadata"]["name"] == "minio-service"]
    wrong = {**_moved(service, places), "spec": {**service["spec"], "ports": [{"port": 99999}]}}
    done = kubectl.run("apply", "--dry-run=server", "--filename", "-", text=json.dumps(wrong))
    assert done.returncode != 0
    assert "spec.ports[0].port" in done.stderr


def _moved(manifest: Manifest, places: dict[str, str]) -> Manifest:
    metadata = manifest["metadata"]
    place = metadata.get("namespace")
    return manifest | {"metadata": metadata | {"namespace": places.get(place, place)}} if place else manifest
