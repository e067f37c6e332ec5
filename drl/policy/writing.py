"""Writing a policy: three files whose bytes depend on its description and tensors alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drl.digest import canonical_json
from drl.policy.description import Description
from drl.policy.onnx import build_onnx
from drl.policy.onnx import to_bytes as onnx_bytes
from drl.policy.tensors import Tensor, check_tensors
from drl.policy.tensors import to_bytes as tensor_bytes


def write_policy(folder: Path, description: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write ``policy.json``, ``policy.safetensors`` and ``policy.onnx`` into ``folder``.

    Args:
        folder: made if it does not exist; files of the same names are replaced.
        description: as :mod:`drl.policy.description` says.
        tensors: float32 tensors by name, exactly those that the layers name.

    Raises:
        InputError: the description is malformed, or the tensors do not make the described network.
    """
    checked = Description.from_json(description, where="description")
    check_tensors(checked, tensors, where="tensors")
    files = {
        "policy.json": canonical_json(checked.to_json()),
        "policy.safetensors": tensor_bytes(tensors),
        "policy.onnx": onnx_bytes(build_onnx(checked, tensors)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
