"""The serving process stays small: what it imports, and what it may never import."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import drl.serving.app, drl.serving.client, drl.serving.command, drl.serving.service, uvicorn
print(",".join(sorted({m.partition(".")[0] for m in sys.modules})))
status = open("/proc/self/status").read()
print([line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")][0])
"""
HEAVY = {
    *("airflow", "boto3", "botocore", "gymnasium", "matplotlib", "mlflow", "neo4j", "onnx", "pandas"),
    *("psycopg2", "pyarrow", "ray", "scipy", "securesystemslib", "torch", "web3"),
}
MOST_MIB = 150


def test_the_serving_process_is_small_and_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    modules, kib = done.stdout.splitlines()
    assert not HEAVY & set(modules.split(","))
    assert int(kib) / 1024 < MOST_MIB
