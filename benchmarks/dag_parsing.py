"""What a DAG file costs to parse beyond importing Airflow and the Kubernetes operator, in a fresh process.

Prints seconds a file and which heavy packages were imported (none may be). Run: python benchmarks/dag_parsing.py
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "ray", "mlflow", "great_expectations", "web3", "neo4j", "pandas"}

_PROGRAM = """
import json, sys, time
begin = time.perf_counter()
import airflow.sdk, airflow.providers.cncf.kubernetes.operators.pod
from airflow.dag_processing.dagbag import DagBag
imported = time.perf_counter()
bag = DagBag(sys.argv[1])
assert not bag.import_errors, bag.import_errors
print(json.dumps([imported - begin, (time.perf_counter() - imported) / len(bag.dags), sorted(sys.modules)]))
"""


def main() -> None:
    rounds = []
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"AIRFLOW_HOME": home, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
        for _ in range(5):
            done = subprocess.run(
                [sys.executable, "-c", _PROGRAM, str(ROOT / "dags")],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            rounds.append(json.loads(done.stdout.splitlines()[-1]))
    base, each = (statistics.median(r[i] for r in rounds) for i in (0, 1))
    heavy = sorted({name.split(".")[0] for name in rounds[0][2]} & HEAVY)
    print(
        "| importing Airflow and the Kubernetes operator, s | each DAG file beyond that, s | heavy imports |"
    )
    print("|---|---|---|")
    print(f"| {base:.2f} | {each:.3f} | {', '.join(heavy) or 'none'} |")


if __name__ == "__main__":
    main()
