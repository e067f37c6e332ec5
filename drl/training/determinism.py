"""Seeds of everything, and the fence at which a resumed run and an uninterrupted one become the same.

RLlib checkpoints neither random states nor environments. So at every checkpoint, in every run, all random
generators are seeded anew from (seed, iteration) and the environments are reset: whoever continues from
the checkpoint continues alike.
"""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np


def fence_seed(seed: int, iteration: int) -> int:
    """31 bits of SHA-256 of ``seed:iteration``."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{iteration}".encode()).digest()[:4]) >> 1


def set_up_torch() -> None:
    """One thread and deterministic kernels; RLlib itself leaves CUDA builds undetermined."""
    import torch

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def seed_everything(value: int) -> None:
    """Seed Python, numpy and torch."""
    import torch

    random.seed(value)
    np.random.seed(value)  # RLlib draws from the global generator
    torch.manual_seed(value)


def fence(algorithm: Any, seed: int, iteration: int) -> None:
    """Seed every generator of ``algorithm`` from (seed, iteration) and let its environments be reset."""
    value = fence_seed(seed, iteration)
    seed_everything(value)
    runner = algorithm.env_runner
    runner._seed = value
    runner._needs_initial_reset = True
    runner.env.action_space.seed(value)
    buffer = getattr(algorithm, "local_replay_buffer", None)
    if buffer is not None:
        buffer.rng = np.random.default_rng(value)
