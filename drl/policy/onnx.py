"""The same network as ONNX, for servers: built node by node, so that its bytes depend on nothing else.

Input ``observation`` float32 [batch, D]; output ``outputs`` float32 [batch, K], the raw head. The
initializers are bitwise the tensors of the safetensors file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no stubs
from onnx import TensorProto, helper, numpy_helper

from drl.errors import Falsified, InputError
from drl.policy.description import Description
from drl.policy.forward import read_description
from drl.policy.tensors import Tensor, check_tensors, read_tensors

OPSET = 17
IR_VERSION = 8

_NODES = {"tanh": "Tanh", "relu": "Relu"}


def build_onnx(description: Description, tensors: Mapping[str, Tensor]) -> onnx.ModelProto:
    """The ONNX model of a checked policy."""
    nodes, initializers, current = [], [], "observation"
    for index, layer in enumerate(description.layers):
        last = index == len(description.layers) - 1
        activation = _NODES.get(layer.activation)
        result = "outputs" if last else f"layer{index}.out"
        linear = f"layer{index}.linear" if activation else result
        nodes.append(
            helper.make_node(
                "Gemm", [current, layer.weight, layer.bias], [linear], name=f"layer{index}.gemm", transB=1
            )
        )
        if activation:
            nodes.append(helper.make_node(activation, [linear], [result], name=f"layer{index}.activation"))
        initializers += [numpy_helper.from_array(tensors[n], name=n) for n in (layer.weight, layer.bias)]
        current = result
    observation, outputs = description.observation_size, description.action_space.outputs
    graph = helper.make_graph(
        nodes,
        "policy",
        [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", observation])],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ["batch", outputs])],
        initializers,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="drl"
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def to_bytes(model: onnx.ModelProto) -> bytes:
    """Deterministic bytes of a model."""
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def check_onnx(folder: Path) -> None:
    """Check that ``policy.onnx`` is the network and the weights of the other two files.

    Raises:
        Falsified: the ONNX file is another network, or has other weights.
        InputError: a file is missing or unreadable.
    """
    description, tensors = read_description(folder), read_tensors(folder / "policy.safetensors")
    check_tensors(description, tensors, where=str(folder / "policy.safetensors"))
    path = folder / "policy.onnx"
    try:
        found = onnx.load_model_from_string(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise InputError(f"{path}: not readable as ONNX: {error}", remedy="fetch the file again") from error
    if found != build_onnx(description, tensors):
        raise Falsified(
            f"{path}: not the network of policy.json and policy.safetensors",
            remedy="do not serve this file; fetch the policy again by its model root",
        )
