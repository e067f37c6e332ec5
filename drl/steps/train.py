"""Train several seeds and choose the one to release, on the validation split only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drl.data.columns import read_columns
from drl.envs.loading import make_environment
from drl.evaluation.selection import select_seed
from drl.policy.root import model_root
from drl.progress import Progress
from drl.spec import PipelineSpec
from drl.training.checkpoints import CheckpointStore
from drl.training.train import train as train_seeds


def train(
    spec: PipelineSpec,
    *,
    seeds: list[int],
    train_data: Path | None,
    validation_data: Path | None,
    demonstrations: Path | None,
    checkpoints: CheckpointStore,
    out: Path,
    progress: Progress,
    attempt: str = "1",
    until: int | None = None,
) -> dict[str, Any]:
    """Write ``seed-<i>/policy.*``, metrics, the checkpoint chain and ``selection.json`` into ``out``.

    Args:
        attempt: what to call this attempt in the chain of checkpoints.
        until: stop each seed at this iteration, where nothing is chosen yet: for comparing checkpoints.

    Returns:
        The model root of each seed's policy, the validation scores and the index of the released seed; with
        ``until`` the seeds and their time steps only.
    """
    with progress.phase("training"):
        trained = train_seeds(
            spec,
            seeds=seeds,
            train_data=train_data,
            demonstrations=demonstrations,
            out=out,
            checkpoints=checkpoints,
            progress=progress,
            attempt=attempt,
            until=until,
        )
    time_steps = [t.time_steps for t in trained]
    if until is not None:
        return {"seeds": [str(seed) for seed in seeds], "until": until, "time_steps": time_steps}
    with progress.phase("selection"):
        data = read_columns(validation_data) if validation_data else None
        environment = make_environment(spec.environment, data=data, mode="evaluate")
        folders = [out / f"seed-{index}" for index in range(len(seeds))]
        selection = select_seed(spec, policies=folders, environment=environment, out=out)
    roots = [model_root(folder) for folder in folders]
    released = int(selection["released"])
    progress.log(f"released seed {released} of {len(seeds)}: model root {roots[released]}")
    return {
        "seeds": [str(seed) for seed in seeds],
        "model_roots": roots,
        "model_root": roots[released],
        "released": released,
        "selection": selection,
        "time_steps": time_steps,
    }
