"""Records of a deployment, checked in the scheduler's container and on this machine."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from clean_code import clean_code
from cluster.deployment import Deployment
from cluster.kubernetes_api import PortForward

from drl.policy.root import model_root

SCHEDULER = ("drl-system", "airflow-scheduler-0", "scheduler")
RECORD, TRUST = "run.record.zip", "trust.yaml"


def verify_inside(deployment: Deployment, run: str) -> str:
    """Export a run's record, describe the deployment, verify; returns what the verifier says."""
    script = (
        f"cd /tmp && rm -f {RECORD} {TRUST} && "
        f"drl record export {run} --out {RECORD} >&2 && drl trust init --out {TRUST} >&2 && "
        f"drl verify {RECORD} --trust {TRUST} --rpc $DRL_EVM_RPC_URL"
    )
    return deployment.execute(*SCHEDULER, "sh", "-c", script, timeout=300)


def carry_out(deployment: Deployment, folder: Path) -> tuple[Path, Path]:
    """Bring record and trust policy of the last ``verify_inside`` into a folder here."""
    for name in (RECORD, TRUST):
        text = deployment.execute(*SCHEDULER, "base64", f"/tmp/{name}")
        (folder / name).write_bytes(base64.b64decode(text))
    return folder / RECORD, folder / TRUST


def verify_outside(record: Path, trust: Path) -> dict[str, Any]:
    """The verifier's answer on this machine, which reaches the cluster's chain and nothing else of it."""
    with closing(PortForward("drl-data", "service/evm-service", 8545)) as chain:
        said = drl("verify", str(record), "--trust", str(trust), "--rpc", chain.address, "--json")
    answer: dict[str, Any] = json.loads(said)
    return answer


def model_root_in(answer: str) -> str:
    """The model root that a verifier's answer names."""
    found = re.search(r"model root ([0-9a-f]{64})", answer)
    assert found, answer
    return found[1]


def registered_version(deployment: Deployment, model: str, root: str) -> int:
    """MLflow's version of a model with this root, asked in the scheduler's container."""
    program = (
        "from drl.stores.registry import ModelRegistry; from drl.stores.settings import RegistrySettings; "
        f"print(ModelRegistry(RegistrySettings.from_environment()).version_by_root({model!r}, {root!r}))"
    )
    return int(deployment.execute(*SCHEDULER, "python", "-c", program))


def nodes_with(deployment: Deployment, root: str) -> int:
    """How many nodes of the graph have a property of this value; Neo4j is asked itself."""
    program = (
        "import os; from neo4j import GraphDatabase as g; e = os.environ; "
        "d = g.driver(e['DRL_BOLT_URI'], auth=(e['DRL_BOLT_USER'], e['DRL_BOLT_PASSWORD'])); "
        "q = 'MATCH (n) WHERE any(k IN keys(n) WHERE n[k] = $root) RETURN count(n) AS n'; "
        f"print(d.execute_query(q, root={root!r}).records[0]['n'])"
    )
    return int(deployment.execute(*SCHEDULER, "python", "-c", program))


def root_of_a_local_run(pipeline: Path, folder: Path) -> str:
    """Model root of the same pipeline's training on this machine."""
    drl("run", str(pipeline), "--keep", str(folder))
    train = folder / "outputs" / "train"
    released = json.loads((train / "selection.json").read_bytes())["released"]
    return model_root(train / f"seed-{released}")


def drl(*arguments: str) -> str:
    """What a command of this package prints here."""
    done = subprocess.run(
        [sys.executable, "-m", "drl", *arguments],
        cwd=clean_code(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
