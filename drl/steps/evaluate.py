"""Evaluate: policy, champion and baselines on the same held-out episodes, and the verdict.

No Ray, no keys. Everything that the verdict rests on is written beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from drl.data.columns import Columns, read_columns
from drl.digest import canonical_json, sha256_file
from drl.envs.loading import environment_class, make_environment
from drl.errors import InputError
from drl.evaluation.actor import Actor
from drl.evaluation.agreement import onnx_agreement
from drl.evaluation.baselines import construct_baselines, fit_baselines
from drl.evaluation.comparison import compare
from drl.evaluation.episodes import Episodes
from drl.evaluation.report.curves import read_learning_curves
from drl.evaluation.report.render import ReportInputs, render_report
from drl.evaluation.rollout import Rollout, rollout
from drl.policy.forward import NumpyPolicy
from drl.policy.root import model_root
from drl.progress import Progress
from drl.spec import PipelineSpec

FORMAT = "drl.evaluation/1"


def evaluate(
    spec: PipelineSpec,
    *,
    policy: Path,
    champion: Path | None,
    champion_root: str | None,
    test_data: Path | None,
    train_data: Path | None,
    out: Path,
    alpha: float,
    learning_curves: list[Path],
    validation: dict[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """Play, compare, decide, report.

    Writes into ``out``: ``episodes.jsonl``, ``actions/<actor>.npy``, ``baselines.json`` (what was fitted),
    ``evaluation.json`` and ``report.html``. The same inputs give the same bytes.

    Args:
        spec: the pipeline.
        policy: folder of the released policy.
        champion: folder of the policy to be compared with, None while there is none.
        champion_root: its model root, as resolved before training.
        test_data: the held-out split, None for an environment without data.
        train_data: the training split, which baselines are fitted on.
        out: an existing folder.
        alpha: two-sided error of the intervals, after the error budget.
        learning_curves: ``seed-<i>/metrics.jsonl`` of every seed.
        validation: what ``selection.json`` holds.
        progress: where to report.

    Returns:
        what ``evaluation.json`` holds.

    Raises:
        StepError: an environment raised, returned a NaN, or did not end.
        InputError: a file, a baseline or the champion's root is not what was declared.
    """
    root = model_root(policy)
    if champion is not None and champion_root != model_root(champion):
        raise InputError(
            f"{champion}: model root {model_root(champion)}, resolved as {champion_root}",
            remedy="fetch the champion's policy files again; these are not the ones that were resolved",
        )
    test, train = _read(test_data), _read(train_data)
    kind = environment_class(spec.environment.entry_point)
    with progress.phase("fit baselines"):
        parameters = fit_baselines(spec.evaluation, kind, train)
    (out / "baselines.json").write_bytes(canonical_json(parameters))
    released = NumpyPolicy.load(policy)
    actors: dict[str, Actor] = {"policy": released}
    if champion is not None:
        actors["champion"] = NumpyPolicy.load(champion)
    actors |= construct_baselines(parameters, kind)
    rollouts = {name: _play(spec, name, actor, test, progress) for name, actor in actors.items()}
    episodes = Episodes.of(rollouts)
    episodes.write(out / "episodes.jsonl")
    _write_actions(rollouts, out / "actions")
    with progress.phase("statistics"):
        result = {
            "format": FORMAT,
            "pipeline": spec.pipeline,
            "unit": spec.evaluation.unit,
            "protocol": _protocol(spec, episodes, test_data),
            "alpha": alpha,
            "model_root": root,
            "champion_root": champion_root,
            **compare(
                spec.evaluation,
                spec.promotion,
                episodes.returns,
                alpha=alpha,
                identical=champion_root == root,
            ),
            "validation": validation,
            "onnx": onnx_agreement(released, policy / "policy.onnx", _observations(rollouts["policy"])),
        }
    (out / "evaluation.json").write_bytes(canonical_json(result))
    with progress.phase("report"):
        inputs = ReportInputs(
            spec=spec,
            evaluation=result,
            episodes=episodes,
            curves=read_learning_curves(learning_curves),
            trace=_trace(spec, kind, test, rollouts["policy"].actions),
        )
        (out / "report.html").write_text(render_report(inputs), encoding="utf-8")
    progress.log(f"{result['decision']['verdict']}: {result['decision']['reason']}")
    return result


def _read(path: Path | None) -> Columns | None:
    return None if path is None else read_columns(path)


def _play(spec: PipelineSpec, name: str, actor: Actor, test: Columns | None, progress: Progress) -> Rollout:
    """A fresh environment for each actor, so that none inherits state from another."""
    environment = make_environment(spec.environment, data=test, mode="evaluate")
    try:
        with progress.phase(f"play {name}"):
            played = rollout(
                actor,
                environment,
                episodes=spec.evaluation.episodes,
                seed=spec.evaluation.seed,
                keep_observations=name == "policy",
            )
    finally:
        environment.close()
    average = float(np.mean(played.returns))
    progress.log(f"{name}: {average:,.2f} {spec.evaluation.unit} per episode, {len(played.returns)} episodes")
    return played


def _write_actions(rollouts: dict[str, Rollout], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, played in rollouts.items():
        np.save(folder / f"{name}.npy", played.actions, allow_pickle=False)


def _observations(played: Rollout) -> np.ndarray:
    if played.observations is None:
        raise InputError("the rollout kept no observations", remedy="play it with keep_observations")
    return played.observations.reshape(len(played.observations), -1)


def _protocol(spec: PipelineSpec, episodes: Episodes, test_data: Path | None) -> dict[str, Any]:
    return {
        "rollouts": spec.evaluation.episodes,
        "seed": spec.evaluation.seed,
        "episodes": len(episodes.labels),
        "first": episodes.labels[0],
        "last": episodes.labels[-1],
        "test_data": None if test_data is None else sha256_file(test_data),
    }


def _trace(
    spec: PipelineSpec, kind: type | None, test: Columns | None, actions: np.ndarray
) -> dict[str, np.ndarray] | None:
    """Columns to draw a week of, from environments that offer them."""
    offered = getattr(kind, "trace_columns", None)
    if offered is None or test is None:
        return None
    trace: dict[str, np.ndarray] = offered(test, actions, **spec.environment.settings)
    return trace
