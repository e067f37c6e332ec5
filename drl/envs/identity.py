"""What names an environment's code and the episodes that are held out, the same for a run and a verifier."""

from __future__ import annotations

import importlib.util
from importlib import metadata
from pathlib import Path
from typing import Any

from drl.digest import sha256_file, sha256_json
from drl.errors import InputError


def test_identity(spec: dict[str, Any]) -> str:
    """What is spent by looking at it: the digest of source and test window, or of the test episodes.

    Args:
        spec: a frozen pipeline as JSON.
    """
    if spec["data"] is None:
        keys = ("episodes", "seed")
        return sha256_json(
            {"environment": spec["environment"], **{key: spec["evaluation"][key] for key in keys}}
        )
    source = spec["data"]["source"]
    return sha256_json({"source": source["sha256"], "test": spec["data"]["splits"]["test"]})


def environment_identity(entry_point: str) -> dict[str, Any]:
    """Which code the environment is: digest of the Python files of its package, and its distribution."""
    package, digest = environment_package(entry_point)
    names = metadata.packages_distributions().get(package.split(".")[0], [])
    version = metadata.version(names[0]) if names else None
    return {"entry_point": entry_point, "package": package, "sha256": digest, "version": version}


def environment_package(entry_point: str) -> tuple[str, str]:
    """Name of the package that holds the environment here, and the digest of its Python files.

    The digest is SHA-256 of the canonical JSON that maps each ``*.py`` file below the package's folder, by
    its relative POSIX path, to the SHA-256 of its bytes.

    Raises:
        InputError: there is no such package, or no such id in Gymnasium's registry.
    """
    module = entry_point.partition(":")[0] if ":" in entry_point else _registered_module(entry_point)
    package = ".".join(module.split(".")[:-1]) or module
    try:
        found = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        found = None
    if found is None or found.origin is None:
        raise InputError(
            f"environment {entry_point!r}: no module {package!r}", remedy="install the package that holds it"
        )
    folder = Path(found.origin).parent
    files = {p.relative_to(folder).as_posix(): sha256_file(p) for p in sorted(folder.rglob("*.py"))}
    return package, sha256_json(files)


def _registered_module(gymnasium_id: str) -> str:
    import gymnasium

    if gymnasium_id not in gymnasium.registry:
        raise InputError(
            f"environment.entry_point {gymnasium_id!r}: not registered with Gymnasium",
            remedy="write a registered id such as CartPole-v1, or module:Class",
        )
    entry_point = gymnasium.spec(gymnasium_id).entry_point
    return str(entry_point).partition(":")[0]
