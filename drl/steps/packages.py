"""Which packages are here, against those that the lock has and those that are meant to be here.

An image holds the packages of some extras only and says which in a file of its environment; what the lock has
for others is no difference there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from drl.digest import sha256_bytes
from drl.steps.source_code import REPOSITORY

LOCK = REPOSITORY / "requirements.lock"
EXTRAS = Path(sys.prefix) / "drl-extras"
"""What ``deployment/images/install`` writes: names of the extras that were installed, one a line."""
DISTRIBUTION = "drl-pipelines"


def packages_against_lock(lock: Path = LOCK, extras_file: Path = EXTRAS) -> dict[str, Any]:
    """The environment as a run records it.

    Returns:
        ``lock_sha256``, None where there is no lock; ``extras``, those that an image was made of, None where
        everything of the lock is meant to be here; ``differences``, name to (locked, installed) of each
        package that is not as it is meant to be, ``absent`` where it is missing.
    """
    extras = extras_file.read_text().split() if extras_file.exists() else None
    found: dict[str, Any] = {"lock_sha256": None, "extras": extras, "differences": {}}
    if not lock.exists():
        return found
    meant = None if extras is None else needed(extras)
    for name, locked in locked_versions(lock.read_text().splitlines()):
        installed = _installed(name)
        if installed is None and meant is not None and _plain(name) not in meant:
            continue
        if installed != locked:
            found["differences"][name] = [locked, installed or "absent"]
    return found | {"lock_sha256": sha256_bytes(lock.read_bytes())}


def locked_versions(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Name and version of each ``name==version`` line of a lock."""
    pairs = (line.split("#")[0].strip().partition("==") for line in lines)
    return [(name, version) for name, _, version in pairs if version]


def needed(extras: Iterable[str], distribution: str = DISTRIBUTION) -> set[str]:
    """Every distribution that one with these extras asks for, itself too, whether it is installed or not.

    What a missing one would ask for is not known.
    """
    from packaging.requirements import Requirement

    seen: set[tuple[str, str]] = set()
    wanted = [(_plain(distribution), extra) for extra in ("", *extras)]
    while wanted:
        name, extra = wanted.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for requirement in map(Requirement, _requirements(name)):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                wanted += [(_plain(requirement.name), more) for more in ("", *requirement.extras)]
    return {name for name, _ in seen}


def _requirements(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
