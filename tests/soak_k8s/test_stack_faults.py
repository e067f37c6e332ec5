"""The flagship on a real cluster while each pod of the stack goes once; restarts, an upgrade, a total loss.

One deployment serves the tests, in their order. What was run, when and where: deployment/k8s/README.md.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from clean_code import WORKING_TREE, clean_code
from cluster.cluster_airflow import ClusterAirflow, cluster_airflow
from cluster.deployment import NAMESPACES, OVERLAY, Deployment, deployed
from cluster.images import BUILD_SECONDS, Image
from cluster.kubernetes_api import Kubectl, eventually
from cluster.records import SCHEDULER, carry_out, verify_inside, verify_outside
from k8s_manifests import folder, tool

from drl.data.sources import fetch
from drl.spec import load_pipeline
from drl.steps.journal import run_key

PIPELINE = "cluster_battery"
READY_SECONDS = 900
RUN_SECONDS = 5400
PRICES = "s3://staging/sources/prices.csv"
COMPONENTS = ("postgres", "minio", "neo4j", "evm", "mlflow", "airflow-api-server")
COMPONENTS_OF_AIRFLOW = ("airflow-dag-processor", "airflow-triggerer", "airflow-scheduler")

pytestmark = pytest.mark.timeout(BUILD_SECONDS + READY_SECONDS + RUN_SECONDS)


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flagship's prices, from where its pipeline says; the cluster need not reach a package index."""
    data = load_pipeline(clean_code() / "dags" / "battery_arbitrage.yaml").data
    assert data is not None
    return fetch(data.source, tmp_path_factory.mktemp("prices"), base=clean_code(), s3=None).path


@pytest.fixture(scope="module")
def pipeline(prices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`battery_arbitrage` with its prices in the deployment's own bucket."""
    source = clean_code() / "dags" / "battery_arbitrage.yaml"
    value = yaml.safe_load(source.read_text())
    value |= {"pipeline": PIPELINE, "registration": {"model": PIPELINE}}
    digest = hashlib.sha256(prices.read_bytes()).hexdigest()
    value["data"]["source"] = {"kind": "s3", "uri": PRICES, "sha256": digest}
    value["data"]["redistributable"] = True  # to ourselves: the record then holds what level 3 needs
    expectations = source.parent / value["data"]["expectations"]
    path = tmp_path_factory.mktemp("pipelines") / f"{PIPELINE}.yaml"
    (path.parent / expectations.name).write_bytes(expectations.read_bytes())
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    path.with_suffix(".py").write_text(source.with_suffix(".py").read_text())
    return path


@pytest.fixture(scope="module")
def stack_on_cluster(
    images: dict[str, Image], kubectl: Kubectl, pipeline: Path, prices: Path
) -> Iterator[Deployment]:
    with deployed(kubectl, pipeline) as deployment:
        deployment.wait_until_ready(READY_SECONDS)
        _upload(deployment, prices)
        yield deployment


@pytest.fixture(scope="module")
def run(stack_on_cluster: Deployment) -> str:
    """Key of a run during which each pod of the stack was deleted once, one after the other."""
    with cluster_airflow() as airflow:
        airflow.wait_for_dag(PIPELINE, 180)
        airflow.pause(PIPELINE, False)
        name = airflow.trigger(PIPELINE)
        eventually(lambda: _trains(airflow, name), 900)
        for component in COMPONENTS + COMPONENTS_OF_AIRFLOW:
            print(f"deleting the pod of {component}", flush=True)
            stack_on_cluster.delete_pod_of(component)
            stack_on_cluster.wait_until_ready(READY_SECONDS)
        airflow.wait(PIPELINE, name, RUN_SECONDS)
        assert airflow.tasks(PIPELINE, name)["promote"]["state"] == "success"
    return run_key(PIPELINE, name)


def test_the_run_ends_though_every_pod_of_the_stack_went_once(stack_on_cluster: Deployment, run: str) -> None:
    assert "Level 3" in verify_inside(stack_on_cluster, run)


def test_everything_can_be_restarted(stack_on_cluster: Deployment, run: str) -> None:
    for namespace in ("drl-data", "drl-system"):
        stack_on_cluster.kubectl.within(namespace)("rollout", "restart", "statefulset,deployment")
    stack_on_cluster.wait_until_ready(READY_SECONDS)
    assert "Level 3" in verify_inside(stack_on_cluster, run)


def test_the_manifests_before_these_are_upgraded(stack_on_cluster: Deployment, run: str) -> None:
    stack_on_cluster.kubectl("apply", "--filename", "-", text=_previous_manifests(), timeout=120)
    stack_on_cluster.wait_until_ready(READY_SECONDS)
    stack_on_cluster.apply()
    stack_on_cluster.wait_until_ready(READY_SECONDS)
    assert "Level 3" in verify_inside(stack_on_cluster, run)


def test_a_deployment_that_was_lost_is_restored(
    stack_on_cluster: Deployment, run: str, tmp_path: Path
) -> None:
    """Save every part, carry it out, delete all, `make k8s-restore` from the folder, start, verify."""
    verify_inside(stack_on_cluster, run)
    record, trust = carry_out(stack_on_cluster, tmp_path)
    for part in ("postgres", "neo4j", "buckets", "chain"):
        assert "saved" in stack_on_cluster.run_backup(part, 600)
    backup, keys = tmp_path / "backup", tmp_path / "keys.tar"
    backup.mkdir()
    stack_on_cluster.carry_out_backups(backup)
    keys.write_bytes(
        stack_on_cluster.read_bytes(*SCHEDULER, "tar", "-C", "/var/lib/drl/airflow", "-cf", "-", "keys")
    )

    stack_on_cluster.kubectl("delete", "namespace", *NAMESPACES, timeout=300)
    environment = os.environ | {"PATH": f"{Path(tool('kubectl')).parent}:{os.environ['PATH']}"}
    subprocess.run([folder() / "restore" / "restore.sh", backup], check=True, env=environment, timeout=1800)
    stack_on_cluster.apply()
    stack_on_cluster.wait_until_ready(READY_SECONDS)
    stack_on_cluster.write_bytes(
        keys.read_bytes(), *SCHEDULER, "tar", "-C", "/var/lib/drl/airflow", "-xf", "-"
    )
    assert "Level 3" in verify_inside(stack_on_cluster, run)
    assert verify_outside(record, trust)["exit_code"] == 0


def _trains(airflow: ClusterAirflow, run: str) -> bool:
    tasks = airflow.tasks(PIPELINE, run)
    failed = [name for name, task in tasks.items() if task["state"] == "failed"]
    assert not failed, airflow.log(PIPELINE, run, failed[0], tasks[failed[0]]["try_number"])[-3000:]
    return bool(tasks["train"]["state"] == "running")


def _upload(deployment: Deployment, prices: Path) -> None:
    bucket, _, key = PRICES.removeprefix("s3://").partition("/")
    program = (
        "import os, sys, boto3; e = os.environ; "
        "c = boto3.client('s3', endpoint_url=e['DRL_S3_ENDPOINT'], region_name='us-east-1', "
        "aws_access_key_id=e['DRL_S3_ACCESS_KEY'], aws_secret_access_key=e['DRL_S3_SECRET_KEY']); "
        f"c.put_object(Bucket={bucket!r}, Key={key!r}, Body=sys.stdin.buffer.read())"
    )
    deployment.write_bytes(prices.read_bytes(), *SCHEDULER, "python", "-c", program)


def _previous_manifests() -> str:
    """The small cluster as the manifests were before their last change, with this deployment's secrets."""
    git = ["git", "-C", str(WORKING_TREE)]
    last = [*git, "log", "-2", "--format=%H", "--", "deployment/k8s"]
    commit = subprocess.run(last, check=True, capture_output=True, text=True).stdout.split()[-1]
    archive = subprocess.run(
        [*git, "archive", commit, "deployment/k8s"], check=True, capture_output=True
    ).stdout
    with tempfile.TemporaryDirectory() as place:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(place, filter="data")
        manifests = Path(place) / "deployment" / "k8s"
        secrets = manifests / "secrets"
        (secrets / "values.json").write_bytes((folder() / "secrets" / "values.json").read_bytes())
        subprocess.run([sys.executable, manifests / "make_secrets.py"], check=True)
        overlay = folder() / OVERLAY
        (manifests / OVERLAY).mkdir()
        for path in overlay.iterdir():
            (manifests / OVERLAY / path.name).write_bytes(path.read_bytes())
        rendered = [tool("kubectl"), "kustomize", str(manifests / OVERLAY)]
        return subprocess.run(rendered, check=True, capture_output=True, text=True).stdout
