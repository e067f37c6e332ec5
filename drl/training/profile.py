"""The instruction set is part of the seed: environment variables that fix it before the process starts.

Libraries choose code paths by CPU at import; the same seed then gives other bits on another machine. The
``portable`` profile pins every library to the paths that all x86-64 CPUs share, which costs nothing that
could be measured for networks of this size. This module imports nothing heavy.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from drl.errors import StepError

Profile = Literal["portable", "native"]

_COMMON = {
    # One thread: the order of floating-point sums does not depend on the number of cores.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    # cuBLAS needs a fixed workspace to be deterministic.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}

_PORTABLE = {
    "MKL_CBWR": "COMPATIBLE",
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL",
}


def profile_environment(profile: Profile) -> dict[str, str]:
    """Environment variables with which a training process must be started."""
    return _COMMON | (_PORTABLE if profile == "portable" else {})


def require_profile(profile: Profile) -> None:
    """Refuse to train in a process that was started otherwise.

    Raises:
        StepError: a variable was missing or different when the process started; setting it later is too
            late, because numpy and torch look when they are imported.
    """
    started_with = _initial_environment()
    wrong = {
        name: started_with.get(name)
        for name, value in profile_environment(profile).items()
        if started_with.get(name) != value
    }
    if wrong:
        raise StepError(
            f"this process was not started with the {profile} profile: {wrong}",
            remedy="start it with the variables of drl.training.profile.profile_environment",
        )


def _initial_environment() -> dict[str, str]:
    """The variables that the process was started with, on Linux; elsewhere the present ones."""
    path = Path("/proc/self/environ")
    if not path.exists():
        return dict(os.environ)
    pairs = path.read_bytes().decode(errors="surrogateescape").split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)
