"""A namespace in which steps run as pods, and an Airflow on this machine that places them there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_runs import AirflowBundle, DagTest, write_pipeline
from cluster.forwarder import address_for_pods, forwarded
from cluster.kubernetes_api import Kubectl

from drl.local.stack import Stack

IMAGE = "localhost/drl-executor:0.1.0"
SMALL = {"cpu": 0.1, "cpu_limit": 2, "memory": "1500Mi", "shared_memory": "256Mi", "scratch": "2Gi"}


class PodBundle(AirflowBundle):
    """Tiny pipelines whose steps are pods of a namespace; servers and Airflow are on this machine."""

    def __init__(self, stack: Stack, folder: Path, kubectl: Kubectl) -> None:
        super().__init__(stack, folder)
        self.kubectl = kubectl
        self.environment |= {"DRL_PLACEMENT": "pod", "DRL_POD": json.dumps({"image": IMAGE, **SMALL})}
        self.reach_cluster_by(Path(os.environ["KUBECONFIG"]))

    def reach_cluster_by(self, kubeconfig: Path) -> None:
        """Let Airflow talk to the cluster as ``kubeconfig`` says."""
        extra = {"kube_config_path": str(kubeconfig), "namespace": self.kubectl.namespace}
        self.environment["AIRFLOW_CONN_KUBERNETES_DEFAULT"] = json.dumps(
            {"conn_type": "kubernetes", "extra": extra}
        )

    def begin(self, name: str, *, pod: dict[str, Any] | None = None, **training: Any) -> DagTest:
        """Start a run of a new pipeline with one retry."""
        orchestration = {"retries": 1, "pod": pod or {}}
        write_pipeline(self.dags, name, training=training, orchestration=orchestration)
        return self.start(name)

    def pods(self, *selector: str) -> list[dict[str, Any]]:
        """Pods of steps that are there now."""
        chosen = ",".join(("app.kubernetes.io/name=step", *selector))
        found: list[dict[str, Any]] = self.kubectl.json("get", "pods", "--selector", chosen)["items"]
        return found


def explained(run: DagTest) -> str:
    """The end of a run's log, without the lines in which Airflow only waits."""
    return "".join(line for line in run.lines if "unrunnable tasks" not in line)[-6000:]


@contextmanager
def pod_bundle(stack: Stack, folder: Path, kubectl: Kubectl) -> Iterator[PodBundle]:
    """A bundle whose namespace has what a step's pod asks for, and reaches the embedded object store."""
    settings = stack.environment()
    port = urlsplit(settings["DRL_S3_ENDPOINT"]).port or 80
    with forwarded(address_for_pods(kubectl), port) as forwarder:
        account = {"automountServiceAccountToken": False, "metadata": {"name": "step"}}
        store = {
            "DRL_S3_ENDPOINT": f"http://{forwarder.address}",
            "DRL_S3_ACCESS_KEY": settings["DRL_S3_STEP_ACCESS_KEY"],
            "DRL_S3_SECRET_KEY": settings["DRL_S3_STEP_SECRET_KEY"],
        }
        kubectl.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", **account},
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "step-store"}, "stringData": store},
        )
        yield PodBundle(stack, folder, kubectl)
