"""Does the tenth run cost what the second did? Ten small runs in a row, and what each cost beyond its steps.

Run: python benchmarks/many_runs.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_CONF = json.dumps({"time_steps": 4096, "seeds": 1})


def drl(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "drl", *arguments],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def main() -> None:
    drl("stack", "up")
    print("| run | seconds beyond the steps' own work | of these: journal, ledger, graph, registry tasks |")
    print("|---|---|---|")
    for number in range(1, 11):
        drl("airflow", "dags", "test", "cartpole", "--conf", _CONF)
        seconds = json.loads(drl("show", "--json"))["seconds"]
        rest = {task: value for task, value in seconds.items() if task not in ("train", "evaluate")}
        parts = ", ".join(f"{task} {value:.1f}" for task, value in rest.items() if value >= 0.3)
        print(f"| {number} | {sum(rest.values()):.1f} | {parts} |", flush=True)


if __name__ == "__main__":
    main()
