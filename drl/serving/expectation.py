"""``python -m drl.serving.expectation``: which observations a policy is used to.

They are those that it meets in its training environment, played here again. A process of its own, which runs
once a proved policy answers: how long the environment's code takes and what goes wrong in it decide nothing.
Reads one JSON object from standard input and writes the answer to standard output.

No record holds training observations, so they are made: the released policy acts in the training episodes of
the frozen pipeline (for a pipeline with data, on its training split) for a bounded number of time steps. The
environment's code is that of this installation, and only a class that the trust policy allows is imported.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from drl.data.columns import Columns, read_columns
from drl.envs.loading import make_environment
from drl.errors import DrlError, Undetermined
from drl.policy.forward import NumpyPolicy
from drl.record.dsse import read_unverified
from drl.record.export import RELEASE, named_files
from drl.serving.proof import Expected, Target
from drl.spec import PipelineSpec, parse_pipeline
from drl.steps.journal import RunJournal
from drl.stores.s3 import ArtifactStore
from drl.stores.settings import S3Settings
from drl.verification.trust import load_trust

_TRAINING_DATA = "prepare/train.parquet"
_OWN = "drl.envs"
_SEED = 0


def main() -> int:
    """Answer the question on standard input."""
    os.nice(10)  # whoever is served goes first
    answer = sys.stdout
    with redirect_stdout(sys.stderr):
        expected, unexpected = answered(json.load(sys.stdin))
    json.dump({"expected": expected.to_json() if expected else None, "unexpected": unexpected}, answer)
    return 0


def answered(question: Mapping[str, Any]) -> tuple[Expected | None, str | None]:
    """What to expect of ``target``, whose proved files lie in the folder ``policy``; or why nobody knows."""
    target, policy = Target.from_json(question["target"]), Path(question["policy"])
    try:
        settings = S3Settings.from_environment()
        store = ArtifactStore(settings)
        journal = RunJournal(ArtifactStore(replace(settings, staging=settings.sealed)), target.run)
        allowed = load_trust(Path(question["trust"])).environments
        with tempfile.TemporaryDirectory() as scratch:
            train = _training_split(read_unverified(journal.read(RELEASE)), store, Path(scratch))
            resolved, steps = journal.read_json("resolved.json"), int(question["steps"])
            return expected_observations(resolved, policy, train, allowed, steps=steps)
    except DrlError as error:
        return None, error.message


def expected_observations(
    resolved: Mapping[str, Any], policy: Path, train: Path | None, allowed: Sequence[str], *, steps: int
) -> tuple[Expected | None, str | None]:
    """What to expect, or why nobody knows.

    Args:
        resolved: the frozen run, as its journal has it.
        policy: folder of the released policy.
        train: the training split, None for a pipeline without data.
        allowed: packages beside ``drl.envs`` whose environments may be imported.
        steps: most time steps to play.
    """
    try:
        spec = parse_pipeline(resolved["spec"], path=Path("resolved.json"))
        _require_allowed(spec, allowed)
        data = None if train is None else read_columns(train)
        return _summary(_met(spec, NumpyPolicy.load(policy), data, steps)), None
    except DrlError as error:
        return None, error.message
    except Exception as error:  # the environment's own code may raise anything
        return None, f"{type(error).__name__} while playing the training environment: {error}"


def _training_split(release: dict[str, Any], store: ArtifactStore, into: Path) -> Path | None:
    """The training split that the release names, fetched; None for a pipeline without data."""
    for file in named_files(release["predicate"]):
        if file.name == _TRAINING_DATA:
            return store.get(file, into, sealed=True)
    return None


def _require_allowed(spec: PipelineSpec, allowed: Sequence[str]) -> None:
    module, colon, _ = spec.environment.entry_point.partition(":")
    if colon and not any(module == name or module.startswith(f"{name}.") for name in (_OWN, *allowed)):
        raise Undetermined(
            f"the trust policy does not allow to import {module}",
            remedy=f"add `environments: [{module}]` to it",
        )


def _met(
    spec: PipelineSpec, policy: NumpyPolicy, data: Columns | None, steps: int
) -> npt.NDArray[np.float64]:
    """Observations [N, D] of training episodes, N at most ``steps``."""
    environment: gym.Env[Any, Any] = make_environment(spec.environment, data=data, mode="train")
    try:
        observation, _ = environment.reset(seed=_SEED)
        met = []
        for _ in range(steps):
            met.append(np.array(observation, dtype=np.float64))
            observation, _, terminated, truncated, _ = environment.step(policy.act(observation))
            if terminated or truncated:
                observation, _ = environment.reset()
        return np.array(met)
    finally:
        environment.close()


def _summary(met: npt.NDArray[np.float64]) -> Expected:
    parts = (met.mean(axis=0), met.std(axis=0), met.min(axis=0), met.max(axis=0))
    return Expected(len(met), *(tuple(part.tolist()) for part in parts))


if __name__ == "__main__":
    sys.exit(main())
