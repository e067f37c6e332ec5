"""kubectl and throw-away namespaces, for whatever folder of tests wants a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from cluster.kubernetes_api import Kubectl, throw_away_namespace


@pytest.fixture(scope="session", autouse=True)
def cluster() -> None:
    """A cluster is named, and it answers; without a name all tests of the folder are skipped."""
    if "KUBECONFIG" not in os.environ:
        pytest.skip("no cluster: set KUBECONFIG to a kubeconfig whose user may do everything")
    Kubectl()("get", "--raw", "/readyz")


@pytest.fixture(scope="session")
def kubectl(cluster: None) -> Kubectl:
    """kubectl on that cluster."""
    return Kubectl()


@pytest.fixture(scope="session")
def namespace(kubectl: Kubectl) -> Iterator[Callable[[str], str]]:
    """Makes a namespace of the caller's own: ``namespace("pods")`` gives its name; removed at the end."""
    with ExitStack() as opened:
        yield lambda purpose: opened.enter_context(throw_away_namespace(kubectl, purpose))
