"""Where the seconds of a run went: each task, the steps' own work, and what is left for everything else.

Reads the times that the operators wrote down, and takes Airflow's own cost from a DAG of the same shape whose
tasks do nothing, run in the same way. Run after `make run`: python benchmarks/budget.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]

_EMPTY = """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.bases.operator import chain

class Nothing(EmptyOperator):
    inherits_from_empty_operator = False

with DAG("empty_of_the_same_shape") as dag:
    chain(*(Nothing(task_id=f"task_{i}") for i in range(12)))
"""


def empty_dag_seconds() -> float:
    from drl.local.airflow_home import airflow_environment
    from drl.local.home import Home
    from drl.local.stack import Stack

    home = Home.at().path
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "empty_of_the_same_shape.py").write_text(_EMPTY)
        environment = airflow_environment(home, ROOT, Stack.at(home).environment())
        bundle = {
            "name": "empty",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": folder},
        }
        environment["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps([bundle])
        begin = time.perf_counter()
        subprocess.run(
            ["airflow", "dags", "test", "empty_of_the_same_shape"],
            env=environment,
            check=True,
            capture_output=True,
        )
        return time.perf_counter() - begin


def main() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "drl", "show", "--json"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    found = json.loads(shown.stdout)
    seconds = found["seconds"]
    own = {step: seconds[step] for step in ("prepare", "train", "evaluate") if step in seconds}
    rest = {task: value for task, value in seconds.items() if task not in own}
    print(f"{found['run']}, {os.cpu_count()} cores\n")
    print("| what | seconds |\n|---|---|")
    for task, value in own.items():
        print(f"| {task}: the step's own work, and its process | {value:.1f} |")
    for task, value in rest.items():
        print(f"| {task} | {value:.1f} |")
    print(f"| **everything beyond the steps' own work** | **{sum(rest.values()):.1f}** |")
    print(
        f"| an empty DAG of the same shape, `airflow dags test`, start to end | {empty_dag_seconds():.1f} |"
    )


if __name__ == "__main__":
    main()
