"""``drl metrics`` on real servers: every number is theirs, and a server that is away is said to be."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
import requests
from bolt_servers import empty_database
from cluster.kubernetes_api import eventually
from lineage_runs import START, JournalRun, write_run
from prometheus_client.parser import text_string_to_metric_families

from drl.local.stack import Stack
from drl.steps.exchange import FolderExchange
from drl.steps.lineage import run_lineage
from drl.steps.lineage_documents import record_audit
from drl.stores.graph import LineageGraph
from drl.stores.lineage_audit import Audit, AuditFinding
from drl.stores.outbox import Call, Outbox

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "deployment/k8s/components/monitoring/dashboard.json"
RUNS = (
    JournalRun("battery", 1),
    JournalRun("battery", 2, verdict="HOLD"),
    JournalRun("battery", 3, verdict="HOLD"),
    JournalRun("cartpole", 4),
)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def environment(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A graph with four runs and a false proof, and an outbox with an entry that waits."""
    graph = empty_database("embedded", stack)
    documents = FolderExchange(tmp_path_factory.mktemp("documents"))
    with LineageGraph(graph) as lineage:
        for run in RUNS:
            lineage.record_run(run_lineage(write_run(documents, run)))
        root, key = RUNS[0].root, RUNS[0].key
        finding = AuditFinding("battery", "1", root, key, "false", ("record: a digest differs",))
        for name, began in (("older", START - timedelta(days=1)), ("daily", START)):
            record_audit(documents, lineage, Audit(name, began.isoformat(), began.isoformat(), (finding,)))
    variables = stack.environment() | {"DRL_BOLT_DATABASE": graph.database}
    with _waiting_entry(variables["DRL_POSTGRES_URI"]):
        yield dict(os.environ) | variables


@contextmanager
def _waiting_entry(uri: str) -> Iterator[None]:
    outbox = Outbox(
        lambda: psycopg.connect(uri), chain_id=999_999, genesis="0x9", meant=True, writer="0xmetrics"
    )
    with outbox.rows() as rows:
        rows.want(Call("note", "a" * 64, None, "0x"))
    try:
        yield
    finally:
        with psycopg.connect(uri) as connection:
            connection.execute("DELETE FROM drl.ledger_outbox WHERE writer = '0xmetrics'")
            connection.execute("DELETE FROM drl.ledger_chain WHERE writer = '0xmetrics'")


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def once(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "drl", "metrics", "--once"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def told(environment: dict[str, str]) -> Samples:
    done = once(environment)
    assert done.returncode == 0, done.stderr
    return samples(done.stdout)


def of(told: Samples, name: str) -> dict[frozenset[tuple[str, str]], float]:
    return {labels: value for (each, labels), value in told.items() if each == name}


def test_runs_and_looks_are_those_of_the_ledger_entries_in_the_graph(told: Samples) -> None:
    runs = {
        tuple(sorted(dict(labels).values())): value for labels, value in of(told, "drl_runs").items() if value
    }
    assert runs == {("PROMOTE", "battery"): 1, ("HOLD", "battery"): 2, ("PROMOTE", "cartpole"): 1}
    assert {dict(labels)["pipeline"] for labels in of(told, "drl_looks")} == {"battery", "cartpole"}


def test_a_false_proof_and_a_waiting_entry_are_told(told: Samples) -> None:
    assert of(told, "drl_failing_proofs")[frozenset({("outcome", "false")})] == 1
    assert of(told, "drl_ledger_entries")[frozenset({("kind", "note"), ("state", "built")})] >= 1
    assert told["drl_ledger_waiting_seconds", frozenset()] > 0
    assert set(of(told, "drl_source_up").values()) == {1}


def test_the_newest_audit_is_told_by_its_time(told: Samples) -> None:
    assert told["drl_newest_audit_timestamp_seconds", frozenset()] == START.timestamp()


def test_a_variable_that_is_missing_takes_only_its_own_source_along(environment: dict[str, str]) -> None:
    done = once({name: value for name, value in environment.items() if name != "DRL_BOLT_URI"})
    assert done.returncode == 0, done.stderr
    up = of(samples(done.stdout), "drl_source_up")
    assert up == {frozenset({("source", "outbox")}): 1, frozenset({("source", "graph")}): 0}
    assert "DRL_BOLT_URI is not set" in done.stderr


def test_a_server_that_is_away_is_said_to_be_and_the_others_go_on(environment: dict[str, str]) -> None:
    done = once(
        environment | {"DRL_POSTGRES_URI": f"postgresql://nobody:secret@127.0.0.1:{_free_port()}/drl"}
    )
    assert done.returncode == 0, done.stderr
    up = of(samples(done.stdout), "drl_source_up")
    assert up == {frozenset({("source", "outbox")}): 0, frozenset({("source", "graph")}): 1}
    assert "PostgreSQL of DRL_POSTGRES_URI cannot be asked" in done.stderr
    assert "secret" not in done.stderr


def test_the_dashboard_names_only_what_is_told(
    environment: dict[str, str], scrape: Callable[[], str]
) -> None:
    eventually(lambda: "drl_runs" in scrape(), 60)
    exposed = {name for name, _ in samples(scrape())} | {"drl_airflow_healthy"}  # tests/dags asks Airflow
    panels = json.loads(DASHBOARD.read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    named = {name for query in queries for name in re.findall(r"\bdrl_\w+", query)}
    assert len(named) > 5
    assert named <= exposed


@pytest.fixture
def scrape(environment: dict[str, str]) -> Iterator[Callable[[], str]]:
    """What the server answers; nothing while it starts."""
    port = _free_port()
    command = [sys.executable, "-m", "drl", "metrics", "--port", str(port)]

    def ask() -> str:
        try:
            return requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
        except requests.ConnectionError:
            return ""

    with subprocess.Popen(command, env=environment) as server:
        yield ask
        server.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
