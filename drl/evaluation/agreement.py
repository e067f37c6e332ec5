"""Does the ONNX file act like the policy? Measured on the observations that the policy met."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from drl.policy.forward import NumpyPolicy

_BATCH = 8192
_CLOSE = 1e-5


def onnx_agreement(policy: NumpyPolicy, onnx_file: Path, observations: np.ndarray) -> dict[str, Any]:
    """Compare float64 numpy outputs with those of ONNX Runtime on one thread.

    Args:
        policy: the policy that acted.
        onnx_file: its ``policy.onnx``.
        observations: [N, D] as the policy met them.

    Returns:
        ``observations`` (N), ``max_abs_difference`` of the raw outputs, and ``equal_actions``: the share of
        observations with the same action, for continuous actions within 1e-5.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(onnx_file), options, providers=["CPUExecutionProvider"])
    largest, equal = 0.0, 0
    for first in range(0, len(observations), _BATCH):
        batch = observations[first : first + _BATCH].astype(np.float32)
        ours = policy.outputs(batch)
        theirs = session.run(["outputs"], {"observation": batch})[0].astype(np.float64)
        largest = max(largest, float(np.abs(ours - theirs).max()))
        difference = np.abs(policy.actions(ours) - policy.actions(theirs)).reshape(len(batch), -1)
        equal += int((difference.max(axis=1) <= _CLOSE).sum())
    return {
        "observations": len(observations),
        "max_abs_difference": largest,
        "equal_actions": equal / len(observations),
    }
