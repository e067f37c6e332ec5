"""Tests on a real Kubernetes: the cluster that ``KUBECONFIG`` names."""

from __future__ import annotations

from cluster.fixtures import cluster, kubectl, namespace
from cluster.images import images

__all__ = ["cluster", "images", "kubectl", "namespace"]
