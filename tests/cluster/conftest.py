"""Tests on a real Kubernetes: the cluster that ``KUBECONFIG`` names. They run after all others."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster.fixtures import cluster, kubectl, namespace
from cluster.images import images

__all__ = ["cluster", "images", "kubectl", "namespace"]

FOLDER = Path(__file__).parent


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put them at the end, so that a cluster's trouble hides nothing else."""
    items.sort(key=lambda item: FOLDER in item.path.parents)
