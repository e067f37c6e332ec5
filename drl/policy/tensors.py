"""The tensors of a policy, checked against its description. Reading safetensors needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from drl.errors import InputError
from drl.policy.description import Description

Tensor = npt.NDArray[np.float32]

_REMEDY = "write the policy again from the trained weights, or fetch its files again by digest"


def check_tensors(description: Description, tensors: Mapping[str, np.ndarray], *, where: str) -> None:
    """Refuse tensors that do not make the described network.

    Raises:
        InputError: names missing or too many, a dtype other than float32, a value that is not finite, or
            shapes that do not chain from the observation to the head.
    """
    named = [name for layer in description.layers for name in (layer.weight, layer.bias)]
    if len(set(named)) != len(named) or set(named) != set(tensors):
        raise InputError(
            f"{where}: tensors {sorted(tensors)}, but the layers name {sorted(named)}", remedy=_REMEDY
        )
    for name, tensor in tensors.items():
        if tensor.dtype != np.float32:
            raise InputError(f"{where}: tensor {name} is {tensor.dtype}, expected float32", remedy=_REMEDY)
        if not np.isfinite(tensor).all():
            raise InputError(f"{where}: tensor {name} has values that are not finite", remedy=_REMEDY)
    inputs = description.observation_size
    for layer in description.layers:
        weight, bias = tensors[layer.weight], tensors[layer.bias]
        if weight.ndim != 2 or weight.shape[1] != inputs or bias.shape != weight.shape[:1]:
            raise InputError(
                f"{where}: {layer.weight} {weight.shape} and {layer.bias} {bias.shape} "
                f"do not take {inputs} inputs",
                remedy=_REMEDY,
            )
        inputs = weight.shape[0]
    if inputs != description.action_space.outputs:
        raise InputError(
            f"{where}: the last layer has {inputs} outputs, the head {description.head} needs "
            f"{description.action_space.outputs}",
            remedy=_REMEDY,
        )


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """The safetensors file of ``tensors``: sorted names, no metadata, so equal tensors give equal bytes."""
    data: bytes = save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)})
    return data


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file into numpy arrays.

    Raises:
        InputError: the file cannot be read or is no safetensors file.
    """
    try:
        tensors: dict[str, Tensor] = load(path.read_bytes())
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not readable as safetensors: {error}", remedy=_REMEDY) from error
    return tensors
