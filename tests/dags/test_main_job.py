"""The main job: what `make run` does after installing, on servers of the test's own, and its last screen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from clean_code import clean_code

from drl.local.stack import Stack


def drl(stack: Stack, *arguments: str) -> str:
    environment = os.environ | {"DRL_HOME": str(stack.home.path)}
    done = subprocess.run(
        [sys.executable, "-m", "drl", *arguments],
        cwd=clean_code(),
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def shown(stack: Stack) -> dict[str, Any]:
    drl(stack, "airflow", "dags", "test", "battery_arbitrage")
    found: dict[str, Any] = json.loads(drl(stack, "show", "--json"))
    return found


def test_the_policy_earns_at_least_87_percent_of_foresight_on_2024(shown: dict[str, Any]) -> None:
    actors = shown["evaluate"]["summary"]["actors"]
    assert actors["foresight"]["score"]["estimate"] == 1
    assert actors["policy"]["score"]["estimate"] > 0.87
    assert 0.69 < actors["clock"]["score"]["estimate"] < 0.71
    assert 0.86 < actors["mpc_mean7"]["score"]["estimate"] < actors["mpc_mix"]["score"]["estimate"] < 0.89


def test_it_is_promoted_over_the_clock_and_says_by_how_much(shown: dict[str, Any]) -> None:
    decision = shown["evaluate"]["summary"]["decision"]
    assert decision["verdict"] == "PROMOTE"
    assert decision["other"] == "clock"
    assert decision["episodes"] == 52
    assert decision["estimate"]["lower"] > 100
    assert shown["promotion"]["outcome"] == "promoted"


def test_the_gap_to_the_strongest_baseline_is_shown(shown: dict[str, Any]) -> None:
    gap = shown["evaluate"]["summary"]["gap"]
    assert gap["baseline"] == "mpc_mix"
    assert gap["estimate"]["lower"] < gap["estimate"]["estimate"] < gap["estimate"]["upper"]


def test_the_error_budget_of_the_fixed_test_year_is_spent(shown: dict[str, Any]) -> None:
    assert shown["opening"]["entry"]["look"] == 1
    assert shown["evaluate"]["summary"]["alpha"] == pytest.approx(0.05 * 6 / 3.141592653589793**2)


def test_the_last_screen_says_it_all(stack: Stack, shown: dict[str, Any]) -> None:
    screen = drl(stack, "show")
    for said in (
        "PROMOTE",
        "mpc_mix",
        "to the strongest baseline",
        "demo chain: proves no time to others",
        shown["train"]["summary"]["model_root"],
        shown["closing"]["receipt"]["tx"],
        "version 1 (champion)",
    ):
        assert said in screen
    report = next(line.split()[-1] for line in screen.splitlines() if line.startswith("report"))
    assert "<html" in Path(report).read_text()[:200]


def test_the_tasks_beyond_the_steps_are_cheap(shown: dict[str, Any]) -> None:
    seconds = shown["seconds"]
    rest = sum(value for task, value in seconds.items() if task not in ("prepare", "train", "evaluate"))
    assert rest < 30  # 10 s on a quiet machine; benchmarks/budget.py prints the table


def test_lineage_reaches_the_source(stack: Stack, shown: dict[str, Any]) -> None:
    found = json.loads(drl(stack, "lineage", "battery_arbitrage", "--json"))
    source = shown["resolved"]["spec"]["data"]["source"]["sha256"]
    assert source in {relative["identifier"] for relative in found}
