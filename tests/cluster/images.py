"""The project's images: built from the working tree and loaded into the cluster, once for a test session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
from clean_code import clean_code

LOAD = "k3s ctr images import"
BUILD_SECONDS = 2400
"""What a test may take that is the first to want images, and so builds them."""


@dataclass(frozen=True)
class Image:
    """An image in the cluster.

    Attributes:
        compressed: bytes that a registry would keep at most; None where another session built it.
    """

    name: str
    compressed: int | None


@pytest.fixture(scope="session")
def images(cluster: None, request: pytest.FixtureRequest) -> dict[str, Image]:
    """The images by target: executor, airflow, api.

    ``DRL_CLUSTER_LOAD`` is the command that loads an archive, ``DRL_IMAGE_BASE`` the base image. With
    ``DRL_CLUSTER_IMAGES=loaded`` those of an earlier session are taken as they are.
    """
    if os.environ.get("DRL_CLUSTER_IMAGES") == "loaded":
        return {name: Image(f"localhost/drl-{name}:0.1.0", None) for name in ("executor", "airflow", "api")}
    built = {}
    for image in _build():
        name, compressed = image["name"], image["compressed"]
        _tell(
            request.config,
            f"{name}: built in {image['seconds']:.0f} s, loaded in {image['load_seconds']:.0f} s, "
            f"compressed {compressed / 1e6:,.0f} MB, unpacked {image['unpacked'] / 1e6:,.0f} MB",
        )
        built[name.partition("drl-")[2].partition(":")[0]] = Image(name, compressed)
    return built


def _tell(config: pytest.Config, line: str) -> None:
    """Print a line that a passing test's captured output would hide."""
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{line}", flush=True)


def _build() -> list[dict[str, float | int | str]]:
    """Build a clean copy of the working tree, so that what runs in images can be promoted."""
    code = clean_code()
    command = [sys.executable, str(code / "deployment" / "images" / "build.py"), "--json"]
    command += ["--load", os.environ.get("DRL_CLUSTER_LOAD", LOAD)]
    if base := os.environ.get("DRL_IMAGE_BASE"):
        command += ["--base", base]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=code,
        env=os.environ | {"PYTHONPATH": str(code)},
        timeout=BUILD_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return json.loads(done.stdout)
