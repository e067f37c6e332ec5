"""``drl init``: a new pipeline that works as it is written."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import yaml

from drl.envs.loading import make_environment
from drl.errors import InputError
from drl.spec import EnvironmentSpec, load_pipeline

_TEMPLATE = """\
# yaml-language-server: $schema=../drl/schemas/pipeline.schema.json
pipeline: {name}
description: {algorithm} on {environment}.
tags: [{tag}]

environment:
  entry_point: {environment}

training:
  settings:
    algorithm: {algorithm}
  time_steps: {time_steps}
  seeds: 3

evaluation:
  episodes: 100
  seed: 1000000
  baselines:
{baselines}
promotion:
  gate: {gate}
  block: 1
  guard: {{worst_fraction: 0.1, margin: 0}}

registration:
  model: {name}
"""

_DAG = """\
from operators.pipeline import airflow_dag

dag = airflow_dag(__file__)
"""


def write_pipeline(name: str, environment: str, folder: Path) -> list[Path]:
    """Write ``NAME.yaml`` and ``NAME.py``; nothing is overwritten.

    Args:
        name: of the pipeline, in lower case with underscores.
        environment: a registered Gymnasium id or ``module:Class`` that needs no data.
        folder: where pipelines are.

    Raises:
        InputError: the environment cannot be made, or a file exists.
    """
    targets = [folder / f"{name}.yaml", folder / f"{name}.py"]
    for path in targets:
        if path.exists():
            raise InputError(f"{path}: exists", remedy="choose another name, or remove the file")
    made = make_environment(EnvironmentSpec(entry_point=environment), data=None, mode="train")
    discrete = isinstance(made.action_space, gymnasium.spaces.Discrete)
    made.close()
    baselines = "    - {name: random, kind: random}\n"
    if discrete:
        baselines = "    - {name: idle, kind: constant, settings: {action: 0}}\n" + baselines
    text = _TEMPLATE.format(
        name=name,
        environment=environment,
        tag=yaml.safe_dump(environment, default_flow_style=True).split("\n")[0],
        algorithm="PPO" if discrete else "SAC",
        time_steps=102_400 if discrete else 20_000,
        baselines=baselines,
        gate="random",
    )
    folder.mkdir(parents=True, exist_ok=True)
    targets[0].write_text(text, encoding="utf-8")
    targets[1].write_text(_DAG, encoding="utf-8")
    load_pipeline(targets[0])
    return targets
