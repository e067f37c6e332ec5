"""``kill -9`` at random moments of a training: the next attempt ends in the bits of an undisturbed one."""

from __future__ import annotations

import importlib.util
import json
import random
import signal
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drl.training import chain

MOMENTS = {"ppo": 10, "dqn": 3, "sac": 3}
LONGEST_START_S = 120.0


def training_tests() -> ModuleType:
    """The helpers of the short tests, which are found by path as pytest finds them."""
    path = Path(__file__).parents[1] / "stack" / "test_training_rllib.py"
    spec = importlib.util.spec_from_file_location("training_tests", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["training_tests"] = module
    spec.loader.exec_module(module)
    return module


TESTS = training_tests()
SPECS = {
    "ppo": TESTS.specification(TESTS.PPO, time_steps=24 * 256),
    # Buffers that overflow, so that what was thrown away is part of the state too.
    "dqn": TESTS.specification(TESTS.DQN | {"buffer": 500}, time_steps=2_000),
    "sac": TESTS.specification(TESTS.SAC | {"buffer": 400}, entry_point="Pendulum-v1", time_steps=600),
}


def scenario(folder: Path, name: str, kind: str, attempt: str) -> dict[str, Any]:
    return {
        "spec": SPECS[kind],
        "seeds": [7, 8] if kind == "ppo" else [7],
        "checkpoints": str(folder / f"{name}.checkpoints"),
        "out": str(folder / name),
        "attempt": attempt,
    }


def wait_for_a_checkpoint(folder: Path, name: str) -> None:
    end = time.monotonic() + LONGEST_START_S
    while not list((folder / f"{name}.checkpoints").glob("seed-0/[0-9]*")):
        assert time.monotonic() < end, (folder / f"{name}.stderr").read_text()[-2000:]
        time.sleep(0.01)


def chains(folder: Path, name: str) -> dict[int, list[str]]:
    data = (folder / name / "checkpoints.jsonl").read_bytes()
    return {seed: [link.digest for link in links] for seed, links in chain.by_seed(data, where=name).items()}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", SPECS)
def test_killed_at_random_moments(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    whole = TESTS.start(tmp_path, "whole", {"whole": scenario(tmp_path, "whole", kind, "1")})
    wait_for_a_checkpoint(tmp_path, "whole")
    began = time.monotonic()
    expected = TESTS.finish(tmp_path, "whole", whole)["whole"]["roots"]
    length = time.monotonic() - began
    moments = [random.uniform(0, length) for _ in range(MOMENTS[kind])]
    lines = []
    for number, moment in enumerate(moments):
        name = f"killed-{number}"
        process = TESTS.start(tmp_path, name, {name: scenario(tmp_path, name, kind, "1")})
        wait_for_a_checkpoint(tmp_path, name)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        died = process.wait(timeout=60) == -signal.SIGKILL
        again = {name: scenario(tmp_path, name, kind, "2")}
        result = TESTS.finish(tmp_path, f"{name}-again", TESTS.start(tmp_path, f"{name}-again", again))[name]
        data = (tmp_path / name / "checkpoints.jsonl").read_bytes()
        spliced = [
            f"{s.seed}: attempt {s.writer.attempt} {s.first}-{s.last}"
            for links in chain.by_seed(data, where=name).values()
            for s in chain.splices(links)
        ]
        lines.append(f"{kind} {moment:.2f} s of {length:.2f} (killed: {died}) -> {'; '.join(spliced)}")
        assert result["roots"] == expected, lines[-1]
        assert chains(tmp_path, name) == chains(tmp_path, "whole"), lines[-1]
    with capsys.disabled():
        print("\n" + "\n".join(lines))
        print(json.dumps({"kind": kind, "identical": len(lines), "of": len(moments)}))
