"""What a checkpoint was made with: gone on with elsewhere, it would not be the same training, bit for bit."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from drl.digest import sha256_json
from drl.training.profile import Profile

_PACKAGES = ("gymnasium", "numpy", "ray", "torch")


def surroundings(profile: Profile) -> dict[str, Any]:
    """Packages that compute or that read RLlib's checkpoints, and the processor as far as it matters.

    With the ``portable`` profile that is its architecture; with ``native`` also the instruction sets that it
    has, since libraries choose their code by them.
    """
    return {
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "instructions": None if profile == "portable" else instructions(),
    }


def instructions() -> str:
    """Digest of the processor's instruction sets, on Linux; elsewhere of its name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    flags = {line.partition(":")[2].strip() for line in lines if line.startswith(("flags", "Features"))}
    return sha256_json(sorted({flag for text in flags for flag in text.split()}) or platform.processor())


def differences(then: Any, now: dict[str, Any]) -> list[str]:
    """``name: then, now`` for each member in which two surroundings differ."""
    if not isinstance(then, dict):
        return ["what it was made with is not written down"]
    return [
        f"{name}: {then.get(name)}, now {value}" for name, value in now.items() if then.get(name) != value
    ]
