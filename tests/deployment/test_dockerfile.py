"""The Dockerfile's form, and what each image will hold by the declarations alone: no image is built here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from k8s_manifests import tool
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
LOCKED = {
    canonicalize_name(re.split(r"[=<>]", line)[0])
    for line in (ROOT / "requirements.lock").read_text().splitlines()
}
EXTRAS = {"executor": "executor", "airflow": "airflow", "api": "serving"}
UV = Path(sys.executable).with_name("uv")
HEAVY = {"torch", "ray", "apache-airflow", "apache-airflow-core", "mlflow", "great-expectations"}
HOLDS = {
    "executor": {"torch", "ray", "great-expectations"},
    "airflow": {"apache-airflow", "apache-airflow-core", "mlflow"},
    "api": set(),
}


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        [tool("hadolint"), str(ROOT / "Dockerfile")], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_nothing_is_taken_from_elsewhere_than_the_base() -> None:
    stages = [re.match(r"FROM (\S+) AS (\S+)", block) for block in DOCKERFILE.split("\n")]
    found = [(stage[1], stage[2]) for stage in stages if stage]
    assert found[0] == ("${BASE}", "python")
    assert {origin for origin, _ in found[1:]} == {"python"}
    assert {name for _, name in found} == {"python", "uv", *EXTRAS}
    assert "://" not in DOCKERFILE


@pytest.mark.parametrize("image", EXTRAS)
def test_an_image_installs_its_extra_once_and_is_nobody_important(image: str) -> None:
    block = DOCKERFILE.split(f"AS {image}\n")[1].split("\nFROM ")[0]
    assert re.findall(r"install packages (\S+)", block) == [EXTRAS[image]]
    users = re.findall(r"^USER (\d+):(\d+)$", block, re.MULTILINE)
    assert users == [("10001", "10001")]
    assert block.index("USER") > block.rindex("RUN")


@pytest.mark.parametrize("image", EXTRAS)
def test_an_image_holds_only_what_it_runs(image: str) -> None:
    packages = closure(EXTRAS[image])
    assert packages & HEAVY == HOLDS[image]
    assert packages <= LOCKED, "the build refuses what the lock does not pin"


def test_the_pipeline_is_what_the_images_hold_together() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {*extras["executor"], *extras["airflow"]} <= {*extras["pipeline"], *extras["serving"]}


def test_only_what_runs_is_sent_to_a_build() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if not line.startswith("#")]
    assert rules[0] == "*"
    sent = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert {"drl", "operators", "plugins", "dags", "requirements.lock", "pyproject.toml"} <= sent
    assert all((ROOT / name).exists() for name in sent)
    assert not any(name.startswith((".git", ".venv", ".drl", "tests", "deployment/k8s")) for name in sent)


def test_shell_script_is_whole() -> None:
    script = ROOT / "deployment" / "images" / "install"
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True).returncode == 0
    assert script.stat().st_mode & 0o111


class TestOnlyLocked:
    """The build's own check of what it installed, by the real uv, on the environment of these tests."""

    def checked(
        self, tmp_path: Path, lock: list[str], environment: str = sys.prefix
    ) -> subprocess.CompletedProcess[str]:
        (tmp_path / "requirements.lock").write_text("\n".join(lock) + "\n")
        script = (ROOT / "deployment" / "images" / "install").read_text()
        for there, here in (("/uv/bin/uv", str(UV)), ("/opt/build", str(tmp_path))):
            assert there in script
            script = script.replace(there, here)
        return subprocess.run(
            ["bash", "-c", script, "install", "only_locked"],
            env={"PATH": os.defpath, "HOME": str(tmp_path), "VIRTUAL_ENV": environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def frozen(self) -> list[str]:
        command = [str(UV), "pip", "freeze", "-q", "--python", sys.executable]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [re.sub(r"\+[a-z0-9]+$", "", line) for line in done.stdout.splitlines()]

    def test_what_is_locked_passes(self, tmp_path: Path) -> None:
        assert self.checked(tmp_path, self.frozen()).returncode == 0

    def test_what_is_not_locked_is_named(self, tmp_path: Path) -> None:
        lock = [line for line in self.frozen() if not line.startswith("numpy==")]
        done = self.checked(tmp_path, lock)
        assert done.returncode == 1
        assert re.search(r"not as requirements.lock has it: numpy==\S+\n$", done.stderr)

    def test_a_list_that_cannot_be_made_is_no_empty_list(self, tmp_path: Path) -> None:
        done = self.checked(tmp_path, self.frozen(), str(tmp_path / "no environment"))
        assert done.returncode != 0
        assert "no environment" in done.stderr


class TestSettings:
    """What a build is given of this machine's package settings."""

    def settings(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: str, volumes: str) -> str:
        (tmp_path / "pip.conf").write_text(config)
        for name in ("PIP_FIND_LINKS", "PIP_CERT", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_FIND_LINKS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
        program = (
            "import packages; from drl.errors import InputError\n"
            f"try: found = packages.package_settings(volumes={volumes}); print(found.script, found.mounts)\n"
            "except InputError as error: print(error)\n"
        )
        monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'deployment' / 'images'}")
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        return done.stdout

    def test_an_index_is_handed_on(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        config = "[install]\nindex-url = https://name:word@packages.example/simple\n"
        found = self.settings(monkeypatch, tmp_path, config, "True")
        for variable in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
            assert f"export {variable}=https://name:word@packages.example/simple\n" in found

    def test_a_folder_is_mounted(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        config = f"[install]\nfind-links = {tmp_path}\n"
        found = self.settings(monkeypatch, tmp_path, config, "True")
        assert f"export UV_FIND_LINKS=/mnt/packages{tmp_path}\n" in found
        assert f"'{tmp_path}', '/mnt/packages{tmp_path}:ro'" in found

    def test_an_engine_without_mounts_says_so(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        config = f"[install]\nfind-links = {tmp_path}\n"
        assert "cannot mount" in self.settings(monkeypatch, tmp_path, config, "False")


def closure(extra: str) -> set[str]:
    """Every distribution that the base and an extra of this project need, by what is installed here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        Requirement(text) for text in [*project["dependencies"], *project["optional-dependencies"][extra]]
    ]
    seen: set[tuple[str, frozenset[str]]] = set()
    while wanted:
        requirement = wanted.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen or key[0] == "setuptools":
            continue
        seen.add(key)
        extras = ("", *requirement.extras)
        needed = [Requirement(text) for text in metadata.requires(requirement.name) or ()]
        wanted += [
            r for r in needed if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in extras)
        ]
    return {name for name, _ in seen}
