"""A policy's files: round trips, equal bytes, and everything malformed refused."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from drl.errors import DrlError, Falsified, InputError, StepError
from drl.policy.description import Box, Description
from drl.policy.forward import NumpyPolicy
from drl.policy.onnx import check_onnx
from drl.policy.root import model_root
from drl.policy.tensors import read_tensors
from drl.policy.writing import write_policy

Policy = tuple[dict[str, Any], dict[str, np.ndarray]]


def network(
    sizes: list[int],
    *,
    activation: str = "tanh",
    head: str = "categorical",
    bounds: list[tuple[float, float]] | None = None,
    seed: int = 0,
) -> Policy:
    """A random policy: sizes are the observation, the hidden layers and, for discrete heads, the actions."""
    rng = np.random.default_rng(seed)
    widths = [*sizes, 2 * len(bounds)] if bounds else sizes
    names = [(f"layer{i}.weight", f"layer{i}.bias") for i in range(len(widths) - 1)]
    tensors: dict[str, np.ndarray] = {}
    for (weight, bias), inputs, outputs in zip(names, widths, widths[1:], strict=False):
        tensors[weight] = rng.normal(size=(outputs, inputs)).astype(np.float32)
        tensors[bias] = rng.normal(size=outputs).astype(np.float32)
    space = (
        {"kind": "box", "low": [b[0] for b in bounds], "high": [b[1] for b in bounds]}
        if bounds
        else {"kind": "discrete", "n": widths[-1]}
    )
    activations = [activation] * (len(names) - 1) + ["identity"]
    return {
        "format": "drl.policy/1",
        "algorithm": "PPO",
        "observation_space": {"kind": "box", "shape": [sizes[0]]},
        "action_space": space,
        "layers": [
            {"weight": w, "bias": b, "activation": a} for (w, b), a in zip(names, activations, strict=True)
        ],
        "head": head,
    }, tensors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_policy(tmp_path / "policy", *network([4, 8, 2]))
    return tmp_path / "policy"


def test_description_and_tensors_come_back(folder: Path) -> None:
    description, tensors = network([4, 8, 2])
    assert json.loads((folder / "policy.json").read_bytes()) == description
    assert Description.from_json(description).to_json() == description
    read = read_tensors(folder / "policy.safetensors")
    assert read.keys() == tensors.keys()
    assert all(read[name].tobytes() == tensors[name].tobytes() for name in tensors)


def test_equal_policies_have_equal_bytes_whatever_the_order(folder: Path, tmp_path: Path) -> None:
    description, tensors = network([4, 8, 2])
    write_policy(tmp_path / "again", dict(reversed(description.items())), dict(reversed(tensors.items())))
    for name in ("policy.json", "policy.onnx", "policy.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_model_root_is_the_digest_of_the_sorted_files_digests(folder: Path) -> None:
    names = ["policy.json", "policy.onnx", "policy.safetensors"]
    digests = b"".join(hashlib.sha256((folder / name).read_bytes()).digest() for name in names)
    assert model_root(folder) == hashlib.sha256(digests).hexdigest()
    (folder / "policy.onnx").unlink()
    with pytest.raises(InputError, match="expected"):
        model_root(folder)


def test_initializers_are_bitwise_the_safetensors(folder: Path) -> None:
    model = onnx.load(folder / "policy.onnx")
    tensors = read_tensors(folder / "policy.safetensors")
    found = {i.name: numpy_helper.to_array(i).tobytes() for i in model.graph.initializer}
    assert found == {name: tensor.tobytes() for name, tensor in tensors.items()}


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 24), min_size=2, max_size=4),
    activation=st.sampled_from(["tanh", "relu"]),
    box=st.booleans(),
    batch=st.integers(1, 9),
    seed=st.integers(0, 2**16),
)
def test_onnx_agrees_with_numpy(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    activation: str,
    box: bool,
    batch: int,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("policy")
    bounds = [(-1.0, 2.0)] * 3 if box else None
    head = "gaussian" if box else "q_values"
    write_policy(folder, *network(sizes, activation=activation, head=head, bounds=bounds, seed=seed))
    policy = NumpyPolicy.load(folder)
    observations = np.random.default_rng(seed).normal(size=(batch, sizes[0])).astype(np.float32)
    session = onnxruntime.InferenceSession((folder / "policy.onnx").read_bytes())
    (served,) = session.run(["outputs"], {"observation": observations})
    expected = policy.outputs(observations)
    assert served.shape == expected.shape
    np.testing.assert_allclose(served, expected, rtol=1e-4, atol=1e-3)


def test_forward_is_the_formula() -> None:
    description, tensors = network([3, 5, 2])
    policy = NumpyPolicy(Description.from_json(description), tensors)
    x = np.array([0.5, -1.0, 2.0])
    wide = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    hidden = np.tanh(wide["layer0.weight"] @ x + wide["layer0.bias"])
    expected = wide["layer1.weight"] @ hidden + wide["layer1.bias"]
    np.testing.assert_allclose(policy.outputs(x[None])[0], expected, rtol=1e-14)
    assert policy.act(x) == int(expected.argmax())
    assert type(policy.act(x)) is int


def test_gaussian_mean_is_clipped_and_squashed_mean_is_stretched() -> None:
    bounds = [(-1.0, 3.0), (0.0, 10.0)]
    outputs = np.array([[5.0, -1.0, 9.0, 9.0], [0.0, 0.0, -9.0, -9.0]])
    gaussian = NumpyPolicy(*_checked(network([2, 4], head="gaussian", bounds=bounds)))
    np.testing.assert_array_equal(gaussian.actions(outputs), [[3.0, 0.0], [0.0, 0.0]])
    squashed = NumpyPolicy(*_checked(network([2, 4], head="squashed_gaussian", bounds=bounds)))
    expected = [[-1 + 2 * (np.tanh(5) + 1), 5 * (np.tanh(-1) + 1)], [1.0, 5.0]]
    np.testing.assert_allclose(squashed.actions(outputs), expected, rtol=1e-15)
    assert isinstance(squashed.description.action_space, Box)


def _checked(policy: Policy) -> tuple[Description, dict[str, np.ndarray]]:
    return Description.from_json(policy[0]), policy[1]


def test_other_observations_are_refused(folder: Path) -> None:
    policy = NumpyPolicy.load(folder)
    with pytest.raises(InputError, match=r"takes \[N, 4\]"):
        policy.act(np.zeros(3))
    with pytest.raises(StepError, match="observation"):
        policy.act(np.array([0.0, np.nan, 0.0, 0.0]))


MALFORMED: list[tuple[str, Any, str]] = [
    ("format", "drl.policy/2", "format 'drl.policy/2'"),
    ("algorithm", "", "algorithm"),
    ("head", "gaussian", "head 'gaussian'"),
    ("head", None, "head None"),
    ("layers", [], "layers"),
    ("layers", [{"weight": "a", "bias": "b"}], r"layers\[0\]: missing fields \['activation'\]"),
    ("layers", [{"weight": "a", "bias": "b", "activation": "gelu"}], "gelu"),
    ("observation_space", {"kind": "box", "shape": [2, 2]}, "one dimension"),
    ("observation_space", {"kind": "box", "shape": [True]}, "positive integer"),
    ("action_space", {"kind": "discrete", "n": 0}, "positive integer"),
    ("action_space", {"kind": "discrete", "n": 2, "start": 1}, "unknown fields"),
    ("action_space", {"kind": "box", "low": [1.0], "high": [0.0]}, "below high"),
    ("action_space", {"kind": "box", "low": [0.0], "high": ["x"]}, "finite number"),
    ("action_space", "discrete", "kind None"),
    ("extra", 1, "unknown fields"),
]


@pytest.mark.parametrize(("field", "value", "message"), MALFORMED)
def test_malformed_description_is_refused(folder: Path, field: str, value: Any, message: str) -> None:
    description, tensors = network([4, 8, 2])
    description[field] = value
    with pytest.raises(InputError, match=message):
        write_policy(folder / "new", description, tensors)
    assert not (folder / "new").exists()
    (folder / "policy.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match=message):
        NumpyPolicy.load(folder)


def _float64(tensors: dict[str, np.ndarray]) -> None:
    tensors["layer0.bias"] = tensors["layer0.bias"].astype(np.float64)


def _not_finite(tensors: dict[str, np.ndarray]) -> None:
    tensors["layer0.bias"][1] = np.inf


def _transposed(tensors: dict[str, np.ndarray]) -> None:
    tensors["layer0.weight"] = tensors["layer0.weight"].T.copy()


def _one_missing(tensors: dict[str, np.ndarray]) -> None:
    del tensors["layer1.bias"]


def _one_more(tensors: dict[str, np.ndarray]) -> None:
    tensors["log_std"] = np.zeros(2, np.float32)


def _short_head(tensors: dict[str, np.ndarray]) -> None:
    tensors["layer1.weight"] = tensors["layer1.weight"][:1]
    tensors["layer1.bias"] = tensors["layer1.bias"][:1]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (_float64, "float64"),
        (_not_finite, "not finite"),
        (_transposed, "do not take 4 inputs"),
        (_one_missing, "layers name"),
        (_one_more, "layers name"),
        (_short_head, "last layer has 1 outputs"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path: Path, break_it: Any, message: str) -> None:
    description, tensors = network([4, 8, 2])
    break_it(tensors)
    with pytest.raises(InputError, match=message):
        write_policy(tmp_path, description, tensors)


@pytest.mark.parametrize("name", ["policy.json", "policy.safetensors", "policy.onnx"])
@pytest.mark.parametrize("content", [None, b"", b"\x80\x04\x95 a pickle", b"{}"])
def test_missing_or_foreign_files_are_refused(folder: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(DrlError):
        check_onnx(folder)


def test_onnx_with_other_weights_is_found_false(folder: Path, tmp_path: Path) -> None:
    check_onnx(folder)
    description, tensors = network([4, 8, 2])
    changed = copy.deepcopy(tensors)
    changed["layer0.bias"][0] = np.nextafter(changed["layer0.bias"][0], np.float32(9))
    write_policy(tmp_path / "other", description, changed)
    (folder / "policy.onnx").write_bytes((tmp_path / "other" / "policy.onnx").read_bytes())
    with pytest.raises(Falsified, match="not the network"):
        check_onnx(folder)
