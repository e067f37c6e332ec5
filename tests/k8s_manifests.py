"""The Kubernetes manifests as kustomize renders them, with secrets drawn for the test alone."""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "deployment" / "k8s"
TOOLS = ROOT / ".venv" / "deployment" / "bin"
COMBINATIONS = tuple(sorted(path.parent.name for path in SOURCE.glob("tests/*/kustomization.yaml")))
COMPONENTS = tuple(sorted(path.parent.name for path in SOURCE.glob("components/*/kustomization.yaml")))
RENDERED = (".", "restore", *(f"tests/{name}" for name in COMBINATIONS))
"""Everything that somebody may apply."""

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Workload:
    """Something that makes pods."""

    manifest: Manifest

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.manifest['metadata']['name']}"

    @property
    def namespace(self) -> str:
        return str(self.manifest["metadata"]["namespace"])

    @property
    def template(self) -> Manifest:
        spec = self.manifest["spec"]
        template: Manifest = (spec["jobTemplate"]["spec"] if self.kind == "CronJob" else spec)["template"]
        return template

    @property
    def pod(self) -> Manifest:
        spec: Manifest = self.template["spec"]
        return spec

    @property
    def labels(self) -> Mapping[str, str]:
        labels: Mapping[str, str] = self.template["metadata"]["labels"]
        return labels

    @property
    def containers(self) -> list[Manifest]:
        return [*self.pod.get("initContainers", []), *self.pod["containers"]]

    @property
    def serves(self) -> bool:
        """Whether its pods are to run for ever."""
        return self.kind not in ("Job", "CronJob")


def tool(name: str) -> str:
    """Path of a program that only these tests need."""
    path = TOOLS / name
    assert path.exists(), f"{path} is missing; run: make .venv/deployment/.installed"
    return str(path)


@cache
def folder() -> Path:
    """A copy of the manifests with secrets of its own; made once for a test session."""
    place = Path(tempfile.mkdtemp(prefix="drl-k8s-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    copy = place / "k8s"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("*.env.partial", "__pycache__"))
    for path in (copy / "secrets").rglob("*"):
        if path.suffix in (".env", ".json", ".key"):
            path.unlink()  # those of whoever works here
    shutil.copyfile(SOURCE / "base/airflow/settings.env", copy / "base/airflow/settings.env")
    subprocess.run([sys.executable, str(copy / "make_secrets.py")], check=True, timeout=120)
    return copy


@cache
def render(path: str) -> tuple[Manifest, ...]:
    """The objects of a kustomization, by its path below ``deployment/k8s``."""
    done = subprocess.run(
        [tool("kubectl"), "kustomize", str(folder() / path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, f"{path}: {done.stderr}"
    return tuple(yaml.load_all(done.stdout, Loader=yaml.CSafeLoader))


@cache
def every_object() -> tuple[Manifest, ...]:
    """All different objects of all renderings."""
    distinct = {json.dumps(m, sort_keys=True): m for path in RENDERED for m in render(path)}
    return tuple(distinct.values())


def workloads(manifests: tuple[Manifest, ...] | None = None) -> Iterator[Workload]:
    """Those of the objects, by default of all, that make pods."""
    kinds = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")
    return (Workload(m) for m in (every_object() if manifests is None else manifests) if m["kind"] in kinds)


def of_kind(kind: str, manifests: tuple[Manifest, ...] | None = None) -> list[Manifest]:
    """Objects of a kind."""
    return [m for m in (every_object() if manifests is None else manifests) if m["kind"] == kind]


def secret_values() -> dict[str, str]:
    """Every value that was drawn for this test."""
    values: dict[str, str] = json.loads((folder() / "secrets" / "values.json").read_bytes())
    return values
