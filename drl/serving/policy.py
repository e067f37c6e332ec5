"""A policy that serves: ONNX Runtime for the network, numpy for what becomes of its outputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from drl.digest import sha256_bytes
from drl.errors import Falsified, InputError
from drl.policy.description import Description
from drl.policy.forward import NumpyPolicy
from drl.policy.root import FILES
from drl.record.roots import resources_root
from drl.serving.proof import Proof

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

GOLDEN_ROWS = 64
TOLERANCE = 1e-4
"""Outputs of ONNX Runtime may differ from float64 numpy by this times the larger of 1 and their size."""
_SCALES = (0.1, 1.0, 10.0)
# Bounds of the logarithms of standard deviations, as RLlib's Gaussian distributions have them in training.
_LOG_DEVIATIONS = {"gaussian": (-20.0, 20.0), "squashed_gaussian": (-5.0, 2.0)}


class ServedPolicy:
    """One proved policy, ready to act; made from bytes whose digests were looked at here.

    Attributes:
        proof: why it may be served.
        description: what ``policy.json`` says.
    """

    def __init__(self, proof: Proof, files: Mapping[str, bytes]) -> None:
        """Check, load and warm up.

        Raises:
            Falsified: other bytes than were proved, or ONNX Runtime answers otherwise than the tensors do.
            InputError: a file is malformed.
        """
        _require_proved(proof, files)
        self.proof = proof
        self.description = Description.from_json(_json(files["policy.json"]))
        self._network = NumpyPolicy(self.description, _tensors(files["policy.safetensors"]))
        self._session = _session(files["policy.onnx"])
        self._warm_up()

    @classmethod
    def load(cls, proof: Proof, folder: Path) -> ServedPolicy:
        """From the folder that the verifying child filled."""
        return cls(proof, {name: (folder / name).read_bytes() for name in FILES})

    def act(self, observations: Float32, *, seed: int | None = None) -> npt.NDArray[Any]:
        """Actions for observations [N, D]: int64 [N], or float64 [N, d] inside the box.

        Args:
            observations: finite, of the policy's size.
            seed: None for the deterministic action, else of the one generator that all rows are drawn from.

        Raises:
            InputError: outputs are not finite, or a seed for a policy that has no distribution.
        """
        outputs = self._outputs(observations).astype(np.float64)
        if not np.isfinite(outputs).all():
            raise InputError(
                "the policy's outputs are not finite for these observations",
                remedy="send observations of the size that the policy was trained on",
            )
        if seed is None:
            return self._network.actions(outputs)
        return _DRAWS[self.description.head](self, outputs, np.random.Generator(np.random.PCG64(seed)))

    def _outputs(self, observations: Float32) -> Float32:
        outputs: Float32 = self._session.run(["outputs"], {"observation": observations})[0]
        return outputs

    def _warm_up(self) -> None:
        """Golden vectors: what float64 numpy makes of the tensors, ONNX Runtime must make of its file."""
        observations = golden_observations(self.description.observation_size)
        expected = self._network.outputs(observations)
        for batch in (observations[:1], observations):
            found = self._outputs(batch)
            slack = TOLERANCE * np.maximum(1.0, np.abs(expected[: len(batch)]).max(axis=1, keepdims=True))
            if not (np.abs(found - expected[: len(batch)]) <= slack).all():
                raise Falsified(
                    "ONNX Runtime answers the golden vectors otherwise than the policy's tensors do",
                    remedy="do not serve this file here; compare the versions of onnxruntime",
                )

    def _categorical(self, outputs: Float64, generator: np.random.Generator) -> npt.NDArray[Any]:
        drawn: npt.NDArray[np.int64] = (outputs + generator.gumbel(size=outputs.shape)).argmax(axis=1)
        return drawn

    def _gaussian(self, outputs: Float64, generator: np.random.Generator) -> npt.NDArray[Any]:
        size = outputs.shape[1] // 2
        logarithms = np.clip(outputs[:, size:], *_LOG_DEVIATIONS[self.description.head])
        drawn = outputs[:, :size] + np.exp(logarithms) * generator.standard_normal((len(outputs), size))
        return self._network.actions(np.concatenate([drawn, outputs[:, size:]], axis=1))

    def _undrawable(self, outputs: Float64, generator: np.random.Generator) -> npt.NDArray[Any]:
        raise InputError(
            "action values are no distribution: this policy acts deterministically only",
            remedy="leave `seed` away",
        )


_DRAWS: dict[str, Callable[[ServedPolicy, Float64, np.random.Generator], npt.NDArray[Any]]] = {
    "categorical": ServedPolicy._categorical,
    "gaussian": ServedPolicy._gaussian,
    "squashed_gaussian": ServedPolicy._gaussian,
    "q_values": ServedPolicy._undrawable,
}


def golden_observations(size: int) -> Float32:
    """The observations [64, size] of the warm-up: small, usual and large ones, the same everywhere."""
    generator = np.random.Generator(np.random.PCG64(0))
    rows = generator.standard_normal((GOLDEN_ROWS, size))
    scales = np.resize(_SCALES, (GOLDEN_ROWS, 1))
    return (rows * scales).astype(np.float32)


def space_json(description: Description) -> dict[str, Any]:
    """Spaces of a policy for its clients."""
    value = description.to_json()
    return {name: value[name] for name in ("observation_space", "action_space", "head", "algorithm")}


def _require_proved(proof: Proof, files: Mapping[str, bytes]) -> None:
    found = {name: sha256_bytes(files[name]) for name in FILES}
    proved = {file.name: file.sha256 for file in proof.files}
    if proof.outcome != "holds" or found != proved or resources_root(found.items()) != proof.target.root:
        raise Falsified(
            f"{proof.target.model}: the files here are not those that were proved",
            remedy="look at the disk of the serving machine; they are fetched again at the next look",
        )


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise InputError(f"policy.json: {error}", remedy="write the policy again") from error


def _tensors(data: bytes) -> dict[str, npt.NDArray[np.float32]]:
    try:
        tensors: dict[str, npt.NDArray[np.float32]] = load_tensors(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"policy.safetensors: {error}", remedy="write the policy again") from error
    return tensors


def _session(data: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
