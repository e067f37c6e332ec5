"""Policies as a verifying child would hand them over, without one: for what comes after the proof."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from drl.artifact import Artifact
from drl.policy.root import FILES, model_root
from drl.policy.writing import write_policy
from drl.serving.proof import Expected, Proof, Target

ROOMS: dict[str, dict[str, Any]] = {
    "categorical": {"kind": "discrete", "n": 3},
    "q_values": {"kind": "discrete", "n": 3},
    "gaussian": {"kind": "box", "low": [-2.0, 0.0], "high": [2.0, 1.0]},
    "squashed_gaussian": {"kind": "box", "low": [-2.0, 0.0], "high": [2.0, 1.0]},
}


EXPECTED = Expected(100, (0.0,) * 4, (1.0,) * 4, (-3.0,) * 4, (3.0,) * 4)
"""Observations that a policy of four inputs might be used to."""


def policy_folder(
    folder: Path, head: str = "categorical", *, seed: int = 0, inputs: int = 4, outputs: int | None = None
) -> Path:
    """A network [inputs] → 16 → head of small random weights; three actions, unless ``outputs`` says."""
    space = ROOMS[head] if outputs is None else {"kind": "discrete", "n": outputs}
    rng, size = np.random.default_rng(seed), space.get("n", 4)
    sizes = [(inputs, 16), (16, size)]
    tensors = {}
    for i, (rows, columns) in enumerate(sizes):
        tensors[f"{i}.weight"] = (0.3 * rng.standard_normal((columns, rows))).astype(np.float32)
        tensors[f"{i}.bias"] = np.zeros(columns, np.float32)
    description = {
        "format": "drl.policy/1",
        "algorithm": "PPO",
        "observation_space": {"kind": "box", "shape": [inputs]},
        "action_space": space,
        "layers": [
            {"weight": f"{i}.weight", "bias": f"{i}.bias", "activation": "tanh" if i == 0 else "identity"}
            for i in range(2)
        ],
        "head": head,
    }
    write_policy(folder, description, tensors)
    return folder


def target_of(folder: Path, *, model: str = "pole", version: int = 1) -> Target:
    return Target(model, version, model_root(folder), f"{model}/run-{version}")


def proof_of(folder: Path, *, model: str = "pole", version: int = 1) -> Proof:
    """What a proof that holds says about these files."""
    files = tuple(Artifact.of(folder / name) for name in FILES)
    target = target_of(folder, model=model, version=version)
    return Proof(
        target,
        "holds",
        (),
        "Level 2: decision recomputed.",
        2,
        "PROMOTE",
        {"demo": True},
        files,
    )
