"""A served policy: only the proved bytes, the actions of float64 numpy, and draws that a seed repeats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from served_policies import ROOMS, policy_folder, proof_of

from drl.errors import Falsified, InputError
from drl.policy.forward import NumpyPolicy
from drl.policy.root import FILES
from drl.serving.policy import ServedPolicy
from drl.serving.proof import Proof

OBSERVATIONS = np.random.default_rng(5).standard_normal((300, 4)).astype(np.float32)


@pytest.mark.parametrize("head", sorted(ROOMS))
def test_acts_as_the_verifiers_numpy_does(tmp_path: Path, head: str) -> None:
    folder = policy_folder(tmp_path / "policy", head)
    served, numpy = ServedPolicy.load(proof_of(folder), folder), NumpyPolicy.load(folder)
    expected = numpy.actions(numpy.outputs(OBSERVATIONS))
    np.testing.assert_allclose(served.act(OBSERVATIONS), expected, atol=1e-5)
    np.testing.assert_allclose(served.act(OBSERVATIONS[:1]), expected[:1], atol=1e-5)


@pytest.mark.parametrize("head", ["categorical", "gaussian", "squashed_gaussian"])
def test_a_seed_repeats_its_draws_and_another_one_does_not(tmp_path: Path, head: str) -> None:
    folder = policy_folder(tmp_path / "policy", head)
    served = ServedPolicy.load(proof_of(folder), folder)
    first = served.act(OBSERVATIONS, seed=7)
    np.testing.assert_array_equal(served.act(OBSERVATIONS, seed=7), first)
    assert not np.array_equal(served.act(OBSERVATIONS, seed=8), first)
    if head != "categorical":
        low, high = np.array(ROOMS[head]["low"]), np.array(ROOMS[head]["high"])
        assert ((first >= low) & (first <= high)).all()


def test_draws_follow_the_policys_distribution(tmp_path: Path) -> None:
    folder = policy_folder(tmp_path / "policy")
    served, numpy = ServedPolicy.load(proof_of(folder), folder), NumpyPolicy.load(folder)
    row = np.repeat(OBSERVATIONS[:1], 20_000, axis=0)
    logits = numpy.outputs(row[:1])[0]
    wanted = np.exp(logits) / np.exp(logits).sum()
    found = np.bincount(served.act(row, seed=1), minlength=3) / len(row)
    np.testing.assert_allclose(found, wanted, atol=0.015)  # four standard deviations


def test_action_values_are_no_distribution(tmp_path: Path) -> None:
    folder = policy_folder(tmp_path / "policy", "q_values")
    with pytest.raises(InputError, match="deterministically only"):
        ServedPolicy.load(proof_of(folder), folder).act(OBSERVATIONS, seed=1)


@pytest.mark.parametrize("name", FILES)
def test_other_bytes_than_the_proved_ones_are_not_loaded(tmp_path: Path, name: str) -> None:
    folder = policy_folder(tmp_path / "policy")
    proof = proof_of(folder)
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(Falsified, match="not those that were proved"):
        ServedPolicy.load(proof, folder)


@pytest.mark.parametrize("outcome", ["false", "undetermined"])
def test_what_does_not_hold_is_not_loaded(tmp_path: Path, outcome: str) -> None:
    folder = policy_folder(tmp_path / "policy")
    with pytest.raises(Falsified, match="not those that were proved"):
        ServedPolicy.load(replace(proof_of(folder), outcome=outcome), folder)  # type: ignore[arg-type]


def test_golden_vectors_find_a_network_of_other_weights(tmp_path: Path) -> None:
    """A lie that every digest confirms: the ONNX file is another network's."""
    folder, other = policy_folder(tmp_path / "policy"), policy_folder(tmp_path / "other", seed=1)
    (folder / "policy.onnx").write_bytes((other / "policy.onnx").read_bytes())
    with pytest.raises(Falsified, match="golden vectors"):
        ServedPolicy.load(proof_of(folder), folder)


def test_outputs_beyond_float32_are_refused(tmp_path: Path) -> None:
    folder = policy_folder(tmp_path / "policy", inputs=4)
    served = ServedPolicy.load(proof_of(folder), folder)
    with pytest.raises(InputError, match="not finite"):
        served.act(np.full((1, 4), np.nan, np.float32))


def test_a_proof_comes_back_from_its_child_as_it_was(tmp_path: Path) -> None:
    proof = proof_of(policy_folder(tmp_path / "policy"))
    assert Proof.from_json(proof.to_json()) == proof
