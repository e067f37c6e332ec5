"""Trains scenarios of the training tests in one process: ``python training_program.py SCENARIOS.json``.

Each scenario names a spec, a checkpoint folder and an out folder; its result or error goes to a JSON file.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from drl.errors import DrlError
from drl.progress import Progress
from drl.spec import PipelineSpec
from drl.training import sampling
from drl.training.checkpoints import FolderCheckpoints
from drl.training.train import train

FRAGMENT_RUNNER = sampling.FragmentRunner


class Interrupted(Exception):
    """Stands for whatever ends a training between two checkpoints."""


class InterruptingCheckpoints(FolderCheckpoints):
    """Ends the training, or the whole process, once an iteration's checkpoint was kept."""

    def __init__(self, root: Path, *, after: int | None, kill: bool) -> None:
        super().__init__(root)
        self.after, self.kill = after, kill

    def save(self, series: str, iteration: int, folder: Path) -> None:
        super().save(series, iteration, folder)
        if iteration == self.after:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise Interrupted


def damage_newest(checkpoints: Path) -> None:
    """Change one byte in the file that RLlib would unpickle first."""
    state = max(checkpoints.iterdir()) / "rllib" / "algorithm_state.pkl"
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(data)


def run(scenario: dict[str, Any]) -> dict[str, Any]:
    lines, start = io.StringIO(), time.monotonic()
    given = {name: scenario.get(name) and Path(scenario[name]) for name in ("train_data", "demonstrations")}
    result: dict[str, Any] = {}
    runner = SingleAgentEnvRunner if scenario.get("rllibs_own_runner") else FRAGMENT_RUNNER
    sampling.FragmentRunner = runner  # type: ignore[misc]
    if scenario.get("damage"):
        damage_newest(Path(scenario["checkpoints"]) / "seed-0")
    try:
        trained = train(
            PipelineSpec.model_validate(scenario["spec"]),
            seeds=scenario["seeds"],
            out=Path(scenario["out"]),
            checkpoints=InterruptingCheckpoints(
                Path(scenario["checkpoints"]), after=scenario.get("after"), kill=scenario.get("kill", False)
            ),
            progress=Progress(lines),
            attempt=scenario.get("attempt", "1"),
            until=scenario.get("until"),
            **given,
        )
        result["roots"] = [seed.model_root for seed in trained]
        result["time_steps"] = [seed.time_steps for seed in trained]
    except DrlError as error:
        result |= {"error": type(error).__name__, "message": str(error)}
    except Interrupted:
        result["error"] = "Interrupted"
    import ray

    result |= {
        "seconds": time.monotonic() - start,
        "ray_started": ray.is_initialized(),
        "progress": [json.loads(line) for line in lines.getvalue().splitlines()],
    }
    return result


if __name__ == "__main__":
    scenarios = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps({name: run(s) for name, s in scenarios.items()}))
