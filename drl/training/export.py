"""From a trained RLModule to the tensors and the description of a policy file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from drl.errors import StepError
from drl.policy.forward import NumpyPolicy
from drl.policy.root import model_root
from drl.policy.writing import write_policy
from drl.training import rllib

TOLERANCE = 1e-5
"""Largest difference of float32 module and float64 policy, relative to 1 + the largest output."""

_HEADS = {"DQN": "q_values", "SAC": "squashed_gaussian"}


def actor_network(module: Any, algorithm: str) -> Any:
    """The acting part of an RLModule as one torch.nn.Sequential that shares its parameters.

    A dueling head is folded into one dense layer: its action values
    ``Q = v + a - mean(a)`` are linear in the advantage outputs ``a`` and the value output ``v``, which are
    linear in the encoder's output. Folded parameters are copies.
    """
    import torch

    if algorithm == "PPO":
        return torch.nn.Sequential(*module.encoder.actor_encoder.net.mlp, *module.pi.net.mlp)
    if algorithm == "SAC":
        return torch.nn.Sequential(*module.pi_encoder.net.mlp, *module.pi.net.mlp)
    (advantage,), (value,) = module.af.net.mlp, module.vf.net.mlp
    folded = torch.nn.Linear(advantage.in_features, advantage.out_features)
    with torch.no_grad():
        for target, a, v in (
            (folded.weight, advantage.weight, value.weight),
            (folded.bias, advantage.bias, value.bias),
        ):
            target.copy_((a.double() - a.double().mean(0, keepdim=True) + v.double()).float())
    return torch.nn.Sequential(*module.encoder.net.mlp, folded)


def export_policy(algorithm: Any, name: str, folder: Path) -> str:
    """Write the policy of ``algorithm`` (PPO, DQN or SAC by ``name``) and return its model root.

    Raises:
        StepError: the written policy does not compute what the trained module computes.
    """
    module = rllib.learner_module(algorithm)
    runner = algorithm.env_runner.env
    description, tensors = _describe(
        actor_network(module, name), name, runner.single_observation_space, runner.single_action_space
    )
    write_policy(folder, description, tensors)
    difference = _largest_difference(module, name, NumpyPolicy.load(folder))
    if not difference <= TOLERANCE:
        raise StepError(
            f"{folder}: the written policy differs from the trained module by {difference:.2g} "
            f"(relative, tolerance {TOLERANCE:g})",
            remedy="report this: the export does not know this network",
        )
    return model_root(folder)


def _describe(
    actor: Any, name: str, observation: gym.Space[Any], action: gym.Space[Any]
) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.float32]]]:
    layers: list[dict[str, str]] = []
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    for part in actor:
        kind = type(part).__name__
        if kind == "Linear":
            weight, bias = f"layer{len(layers)}.weight", f"layer{len(layers)}.bias"
            tensors[weight] = part.weight.detach().cpu().numpy()
            tensors[bias] = part.bias.detach().cpu().numpy()
            layers.append({"weight": weight, "bias": bias, "activation": "identity"})
        elif kind in {"Tanh", "ReLU"}:
            layers[-1]["activation"] = kind.lower()
        else:
            raise StepError(
                f"a layer of type {kind} has no place in a policy file",
                remedy="report this: RLlib built another network than was configured",
            )
    discrete = isinstance(action, gym.spaces.Discrete)
    description = {
        "format": "drl.policy/1",
        "algorithm": name,
        "observation_space": {"kind": "box", "shape": [int(size) for size in observation.shape or ()]},
        "action_space": _action_space(action),
        "layers": layers,
        "head": _HEADS.get(name, "categorical" if discrete else "gaussian"),
    }
    return description, tensors


def _action_space(space: Any) -> dict[str, Any]:
    if isinstance(space, gym.spaces.Discrete):
        return {"kind": "discrete", "n": int(space.n)}
    return {"kind": "box", "low": [float(x) for x in space.low], "high": [float(x) for x in space.high]}


def _largest_difference(module: Any, name: str, policy: NumpyPolicy) -> float:
    """Relative difference on 1,000 random observations of several scales."""
    import torch

    rng = np.random.default_rng(0)
    size = (1_000, policy.description.observation_size)
    observations = (rng.normal(size=size) * rng.uniform(0.1, 3.0, size=(1_000, 1))).astype(np.float32)
    batch = {"obs": torch.from_numpy(observations)}
    with torch.no_grad():
        if name == "DQN":
            expected = module.compute_q_values(batch)["qf_preds"].numpy()
        else:
            expected = module.forward_inference(batch)["action_dist_inputs"].numpy()
    scale = 1.0 + np.abs(expected).max()
    return float(np.abs(policy.outputs(observations) - expected).max() / scale)
