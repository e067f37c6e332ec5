"""Tests on a real Kubernetes: the cluster that ``KUBECONFIG`` names. They run after all others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cluster.kubernetes_api import Kubectl, throw_away_namespace

FOLDER = Path(__file__).parent


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put them at the end, so that a cluster's trouble hides nothing else."""
    items.sort(key=lambda item: FOLDER in item.path.parents)


@pytest.fixture(scope="session", autouse=True)
def _cluster() -> None:
    """A cluster is named, and it answers; without a name all tests of this folder are skipped."""
    if "KUBECONFIG" not in os.environ:
        pytest.skip("no cluster: set KUBECONFIG to a kubeconfig whose user may do everything")
    Kubectl()("get", "--raw", "/readyz")


@pytest.fixture(scope="session")
def kubectl(_cluster: None) -> Kubectl:
    """kubectl on that cluster."""
    return Kubectl()


@pytest.fixture(scope="session")
def namespace(kubectl: Kubectl) -> Iterator[Callable[[str], str]]:
    """Makes a namespace of the caller's own: ``namespace("pods")`` gives its name; removed at the end."""
    with ExitStack() as opened:
        yield lambda purpose: opened.enter_context(throw_away_namespace(kubectl, purpose))
