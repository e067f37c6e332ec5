"""The whole stack on the cluster: ``tests/small-cluster`` with secrets and a pipeline of the test's own."""

from __future__ import annotations

import io
import json
import secrets
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cluster.kubernetes_api import Kubectl
from k8s_manifests import folder, render, tool, workloads

NAMESPACES = ("drl-system", "drl-data", "drl-jobs")
OVERLAY = "tests/end-to-end"
BUNDLES = [
    {
        "name": name,
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": path},
    }
    for name, path in (("drl", "/app"), ("own", "/own"))
]


def write_overlay(pipeline: Path) -> None:
    """An overlay over ``tests/small-cluster`` that brings a pipeline's folder into Airflow by a ConfigMap."""
    place = folder() / OVERLAY
    place.mkdir(exist_ok=True)
    files = sorted(file.name for file in pipeline.parent.iterdir())
    for name in files:
        (place / name).write_bytes((pipeline.parent / name).read_bytes())
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../small-cluster"],
        "configMapGenerator": [
            {
                "name": "airflow-settings",
                "namespace": "drl-system",
                "behavior": "merge",
                "literals": [f"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST={json.dumps(BUNDLES)}"],
            },
            {
                "name": "own-pipelines",
                "namespace": "drl-system",
                "files": files,
            },
        ],
        "patches": [
            {"target": {"kind": kind, "name": f"airflow-{component}"}, "patch": _mount(component, files)}
            for kind, component in (
                ("StatefulSet", "scheduler"),
                ("Deployment", "dag-processor"),
                ("Deployment", "api-server"),
            )
        ],
    }
    (place / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    render.cache_clear()


def _mount(component: str, files: list[str]) -> str:
    """A patch that shows the files in ``/own/dags``.

    File by file: the folder of a ConfigMap has each file twice, which Airflow takes for a loop.
    """
    kind = "StatefulSet" if component == "scheduler" else "Deployment"
    mounts = [{"name": "own-pipelines", "mountPath": f"/own/dags/{f}", "subPath": f} for f in files]
    return yaml.safe_dump(
        {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": f"airflow-{component}"},
            "spec": {
                "template": {
                    "spec": {
                        "containers": [{"name": component, "volumeMounts": mounts}],
                        "volumes": [{"name": "own-pipelines", "configMap": {"name": "own-pipelines"}}],
                    }
                }
            },
        }
    )


@dataclass(frozen=True)
class Deployment:
    """The stack as it was applied."""

    kubectl: Kubectl

    def apply(self) -> None:
        """``kubectl apply`` of the rendered overlay."""
        documents = "---\n".join(yaml.safe_dump(manifest) for manifest in render(OVERLAY))
        self.kubectl("apply", "--filename", "-", text=documents, timeout=120)

    def wait_until_ready(self, seconds: float) -> float:
        """Wait for every StatefulSet and Deployment, saying which are left; returns the seconds it took.

        Raises:
            AssertionError: some are not ready in time; the message says what their pods say.
        """
        begin = time.monotonic()
        said = ""
        while left := self.not_ready():
            now = ", ".join(left)
            if now != said:
                print(f"{time.monotonic() - begin:4.0f} s: not ready yet: {now}", flush=True)
                said = now
            assert time.monotonic() - begin < seconds, f"not ready: {now}\n{self.explain()}"
            time.sleep(2)
        return time.monotonic() - begin

    def not_ready(self) -> list[str]:
        """Names of the workloads whose pods are not all there, of the newest kind and ready."""
        found = [
            item
            for name in ("drl-data", "drl-system")
            for item in self.kubectl.within(name).json("get", "statefulsets,deployments")["items"]
        ]
        expected = {w.manifest["metadata"]["name"] for w in workloads(render(OVERLAY)) if w.serves}
        ready = {item["metadata"]["name"] for item in found if _is_ready(item)}
        return sorted(expected - ready)

    def pods(self, namespace: str) -> list[dict[str, Any]]:
        """The pods of a namespace."""
        found: list[dict[str, Any]] = self.kubectl.within(namespace).json("get", "pods")["items"]
        return found

    def explain(self) -> str:
        """States, events and last log lines of the pods that are not ready."""
        words = []
        for namespace in NAMESPACES:
            kubectl = self.kubectl.within(namespace)
            words.append(kubectl.run("get", "pods", "--output", "wide").stdout)
            words.append(kubectl.run("get", "events", "--field-selector", "type!=Normal").stdout[-3000:])
            for pod in self.pods(namespace):
                if not all(status.get("ready") for status in pod["status"].get("containerStatuses", [{}])):
                    name = pod["metadata"]["name"]
                    log = kubectl.run("logs", name, "--all-containers", "--tail", "15", "--prefix").stdout
                    words.append(log)
        return "\n".join(words)

    def execute(self, namespace: str, pod: str, container: str, *command: str, timeout: float = 120) -> str:
        """What a command prints inside a container."""
        return self.kubectl.within(namespace)(
            "exec", pod, "--container", container, "--", *command, timeout=timeout
        )

    def run_backup(self, part: str, seconds: float = 180) -> str:
        """Do what a CronJob would do at night, now; returns what it printed."""
        data = self.kubectl.within("drl-data")
        name = f"{part}-{secrets.token_hex(3)}"
        data("create", "job", name, f"--from=cronjob/backup-{part}")
        return _result(data, name, seconds)

    def restore(self, part: str, seconds: float = 180) -> str:
        """Apply the restoring Job of a part; returns what it printed."""
        name = f"restore-{part}"
        data = self.kubectl.within("drl-data")
        data.apply(*(w.manifest for w in workloads(render("restore")) if w.name == f"Job/{name}"))
        return _result(data, name, seconds)

    def lose(self, stateful_set: str, claim: str) -> None:
        """Delete the pod and its volume; what comes back is empty."""
        data = self.kubectl.within("drl-data")
        data("scale", "statefulset", stateful_set, "--replicas=0")
        data("wait", "--for=delete", f"pod/{stateful_set}-0", "--timeout=120s", timeout=150)
        data("delete", "persistentvolumeclaim", claim, timeout=120)
        data("scale", "statefulset", stateful_set, "--replicas=1")

    def delete_pod_of(self, workload: str) -> None:
        """Delete the pod of a StatefulSet or Deployment of one pod; its controller makes another."""
        (namespace, name), *others = [
            (place, pod["metadata"]["name"])
            for place in ("drl-data", "drl-system")
            for pod in self.pods(place)
            if pod["metadata"]["name"].startswith(f"{workload}-")
            and pod["metadata"].get("ownerReferences", [{}])[0].get("kind") != "Job"
        ]
        assert not others, others
        self.kubectl.within(namespace)("delete", "pod", name, timeout=180)

    def read_bytes(self, namespace: str, pod: str, container: str, *command: str) -> bytes:
        """What a command inside a container writes, as it is."""
        return _exec(namespace, pod, container, command, b"")

    def write_bytes(self, content: bytes, namespace: str, pod: str, container: str, *command: str) -> None:
        """Give a command inside a container these bytes."""
        _exec(namespace, pod, container, command, content)

    def carry_out_backups(self, into: Path) -> None:
        """Copy what the claim ``backups`` holds into a folder of this machine."""
        data = self.kubectl.within("drl-data")
        loader = yaml.safe_load((folder() / "restore" / "loader-pod.yaml").read_text())
        image = next(
            c["image"]
            for w in workloads(render(OVERLAY))
            if w.name.endswith("/postgres")
            for c in w.containers
        )
        loader["spec"]["containers"][0]["image"] = image
        data.apply(loader)
        data("wait", "--for=condition=Ready", "pod/loader", "--timeout=120s", timeout=130)
        archive = self.read_bytes("drl-data", "loader", "loader", "tar", "-C", "/backups", "-cf", "-", ".")
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(into, filter="data")
        data("delete", "pod", "loader", timeout=120)


def _is_ready(item: dict[str, Any]) -> bool:
    wanted, status = item["spec"]["replicas"], item["status"]
    return (
        status.get("observedGeneration") == item["metadata"]["generation"]
        and status.get("readyReplicas", 0) == wanted
        and status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
    )


def _exec(namespace: str, pod: str, container: str, command: tuple[str, ...], content: bytes) -> bytes:
    place = [tool("kubectl"), "--namespace", namespace, "exec", "--stdin", pod, "--container", container]
    done = subprocess.run([*place, "--", *command], input=content, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def _result(kubectl: Kubectl, job: str, seconds: float) -> str:
    kubectl(
        "wait", "--for=condition=Complete", f"job/{job}", f"--timeout={seconds:.0f}s", timeout=seconds + 10
    )
    return kubectl("logs", f"job/{job}")


@contextmanager
def deployed(kubectl: Kubectl, pipeline: Path) -> Iterator[Deployment]:
    """The stack, removed at the end with everything that it kept.

    Raises:
        AssertionError: one of its namespaces is there already: somebody's deployment, which is left alone.
    """
    taken = kubectl.run("get", "namespaces", *NAMESPACES, "--ignore-not-found", "--output", "name").stdout
    assert not taken, f"this cluster has a deployment already, which a test must not touch: {taken}"
    write_overlay(pipeline)
    deployment = Deployment(kubectl)
    try:
        deployment.apply()
        yield deployment
    finally:
        kubectl("delete", "namespace", *NAMESPACES, "--ignore-not-found", timeout=180)
