"""A tiny pipeline through real Airflow, twice; then every server is asked what it holds."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from airflow_runs import (
    REPOSITORY,
    SEEDS,
    TIME_STEPS,
    AirflowBundle,
    DagTest,
    Records,
    public_keys,
    write_pipeline,
)
from botocore.config import Config

from drl.artifact import Artifact
from drl.digest import canonical_json, sha256_bytes
from drl.errors import Falsified
from drl.local.airflow_home import AirflowSecrets
from drl.local.state import State
from drl.record.dsse import read_unverified, verify
from drl.record.files import open_record, sha256_of
from drl.record.git_tree import tree_of_tar
from drl.record.keys import load_public
from drl.record.ledger import Account, Closing, Entry, Note, Opening, entry_from_json
from drl.record.seeds import derive_seeds
from drl.steps.journal import RunJournal, run_key
from drl.steps.lineage import run_lineage
from drl.steps.request import AcceptedStep
from drl.stores.chain import ChainSettings, Ledger
from drl.stores.graph import LineageGraph
from drl.stores.record_prefix import PrefixFiles
from drl.stores.registry import ModelRegistry
from drl.stores.settings import GraphSettings, RegistrySettings
from drl.verification.trust import load_trust

DERIVED, CHOSEN = "e2e_derived", "e2e_chosen"
STEPS = ("train", "evaluate")
STATEMENTS = {"intent", "train", "evaluate", "evaluation", "model"}


@dataclass(frozen=True)
class Finished:
    """A run that Airflow ended, with clients of the servers that can tell about it."""

    bundle: AirflowBundle
    records: Records
    test: DagTest
    pipeline: str

    @property
    def key(self) -> str:
        return run_key(self.pipeline, self.test.run_id)

    @property
    def journal(self) -> RunJournal:
        return self.records.journal(self.key)

    def step(self, name: str) -> AcceptedStep:
        return AcceptedStep.from_json(self.journal.read_json(f"{name}.json"))

    @property
    def artifacts(self) -> list[Artifact]:
        """Every output of every step, and the resolved run."""
        outputs = [artifact for name in STEPS for artifact in self.step(name).result.outputs]
        return [*outputs, Artifact.from_json(self.journal.read_json("resolved.ref.json")), self.source]

    @property
    def source(self) -> Artifact:
        """The archive of the source code that ran."""
        return Artifact.from_json(self.journal.read_json("resolved.json")["code"]["archive"])

    @property
    def root(self) -> str:
        return str(self.step("train").result.summary["model_root"])

    def drl(self, *arguments: str) -> str:
        environment = os.environ | {"DRL_HOME": str(self.bundle.stack.home.path)}
        return subprocess.run(
            [sys.executable, "-m", "drl", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout


@pytest.fixture(scope="module")
def settings(bundle: AirflowBundle) -> Iterator[None]:
    """The stack's DRL_* variables in this process, for the stores' clients."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in bundle.stack.environment().items():
            if name.startswith("DRL_"):
                patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def derived(bundle: AirflowBundle, records: Records, settings: None) -> Finished:
    """A run with derived seeds, of which the run's own parameters change how many and how long."""
    write_pipeline(bundle.dags, DERIVED, training={"seeds": 3, "time_steps": 1_000_000})
    test = bundle.test(DERIVED, "--conf", json.dumps({"seeds": 2, "time_steps": TIME_STEPS}))
    assert test.succeeded, test.log[-5000:]
    return Finished(bundle, records, test, DERIVED)


@pytest.fixture(scope="module")
def first(bundle: AirflowBundle, records: Records, settings: None) -> Finished:
    write_pipeline(bundle.dags, CHOSEN)
    test = bundle.test(CHOSEN)
    assert test.succeeded, test.log[-5000:]
    return Finished(bundle, records, test, CHOSEN)


@pytest.fixture(scope="module")
def again(first: Finished) -> Finished:
    """The same pipeline once more; nothing has changed."""
    test = first.bundle.test(CHOSEN)
    assert test.succeeded, test.log[-5000:]
    return Finished(first.bundle, first.records, test, CHOSEN)


def account(pipeline: str) -> list[Entry]:
    """A pipeline's entries, read from the chain."""
    uri = os.environ["DRL_POSTGRES_URI"]
    ledger = Ledger(ChainSettings.from_environment(), lambda: psycopg.connect(uri))
    ledger.deploy()
    return ledger.account(pipeline)


# --------------------------------------------------------------------------------------- what was asked


def test_the_runs_own_parameters_reach_the_training(derived: Finished) -> None:
    training = derived.journal.read_json("resolved.json")["spec"]["training"]
    assert (training["seeds"], training["time_steps"]) == (2, TIME_STEPS)
    assert len(derived.step("train").result.summary["time_steps"]) == 2


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"promotion": {"alpha": 0.5}}, "run parameter 'promotion' = {'alpha': 0.5}: not a parameter of"),
        ({"time_steps": "many"}, "Invalid input for param time_steps"),
    ],
)
def test_other_parameters_are_refused_before_anything_is_signed(
    derived: Finished, conf: dict[str, Any], message: str
) -> None:
    before = derived.records.runs(DERIVED)
    test = derived.bundle.test(DERIVED, "--conf", json.dumps(conf))
    assert not test.succeeded
    assert message in test.log
    begun = [run for run in derived.records.runs(DERIVED) if run not in before]
    for run in begun:
        assert derived.records.journal(run).names() == []
    assert Account.of(account(DERIVED)).opened == 1


# --------------------------------------------------------------------------------------- what was signed


def test_every_statement_is_signed_by_the_operators_and_listed_by_the_release(derived: Finished) -> None:
    steps, release = public_keys(derived.bundle.keys)
    envelopes = {a.name.removesuffix(".dsse.json"): a for a in derived.journal.envelopes()}
    assert set(envelopes) == STATEMENTS | {"release", "promotion"}
    for name in envelopes:
        key = release if name in ("model", "release", "promotion") else steps
        verify(derived.journal.read(f"{name}.dsse.json"), [key])
    listed = derived.journal.statement("release", [release])["predicate"]["statements"]
    assert {s["name"]: s["digest"]["sha256"] for s in listed} == {
        f"{name}.dsse.json": envelopes[name].sha256 for name in STATEMENTS
    }


def test_steps_and_release_have_keys_of_their_own(derived: Finished) -> None:
    steps, release = public_keys(derived.bundle.keys)
    assert steps.keyid != release.keyid


def test_the_release_is_about_the_policy_that_was_trained(derived: Finished) -> None:
    statement = read_unverified(derived.journal.read("release.dsse.json"))
    assert statement["subject"] == [{"name": DERIVED, "digest": {"sha256": derived.root}}]
    evidence = {r["name"]: r["digest"]["sha256"] for r in statement["predicate"]["evidence"]["resources"]}
    outputs = {f"{s}/{a.name}": a.sha256 for s in STEPS for a in derived.step(s).result.outputs}
    assert evidence == outputs | {"source.tar": derived.source.sha256}


# ------------------------------------------------------------------------------------------- the ledger


def test_the_ledger_has_one_run_opened_and_closed_with_the_release(derived: Finished) -> None:
    entries = account(DERIVED)
    counted = Account.of(entries)
    verdict = derived.step("evaluate").result.summary["decision"]["verdict"]
    assert verdict == "PROMOTE"
    assert (counted.opened, counted.closed[verdict], counted.unclosed) == (1, 1, ())
    opening, closing, note = entries
    assert isinstance(opening, Opening)
    assert isinstance(closing, Closing)
    assert isinstance(note, Note)
    journal = derived.journal
    assert opening == entry_from_json(journal.read_json("opening.json")["entry"])
    assert opening.intent == sha256_bytes(journal.read("intent.dsse.json"))
    assert closing.record == sha256_bytes(journal.read("release.dsse.json"))
    assert note.statement == sha256_bytes(journal.read("promotion.dsse.json"))


def test_the_run_was_opened_before_training(derived: Finished) -> None:
    opened = datetime.fromtimestamp(account(DERIVED)[0].receipt.block_time, UTC)
    assert opened <= datetime.fromisoformat(derived.step("train").result.started)


def test_seeds_follow_from_intent_and_opening_block(derived: Finished) -> None:
    opening = account(DERIVED)[0]
    assert isinstance(opening, Opening)
    seeds = [str(seed) for seed in derive_seeds(opening.intent, opening.receipt.block_hash, 2)]
    assert derived.step("train").result.summary["seeds"] == seeds
    assert derived.step("train").request.parameters == {"seeds": seeds}


# -------------------------------------------------------------------------------------------- artifacts


def bucket(stack_settings: Records) -> Any:
    settings = stack_settings.settings
    return boto3.client(
        "s3",
        endpoint_url=settings.endpoint,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )


def test_every_output_is_sealed_as_it_was_made(derived: Finished) -> None:
    client = bucket(derived.records)
    sealed = {a.sha256: a.size for a in [*derived.artifacts, *derived.journal.envelopes()]}
    assert len(sealed) > 20
    soonest = datetime.now(UTC) + timedelta(days=28)
    for sha256, size in sealed.items():
        found = client.get_object(Bucket="sealed", Key=f"sha256/{sha256}")
        body = found["Body"].read()
        assert (len(body), hashlib.sha256(body).hexdigest()) == (size, sha256)
        assert found["ObjectLockMode"] == "COMPLIANCE"
        assert found["ObjectLockRetainUntilDate"] > soonest


def test_nothing_handed_on_is_a_pickle(derived: Finished) -> None:
    # A pickle of protocol 2 to 5 begins with PROTO, in a file or in an archive of torch.
    store = bucket(derived.records)
    for artifact in derived.artifacts:
        head = store.get_object(Bucket="sealed", Key=f"sha256/{artifact.sha256}")["Body"].read(4)
        assert head[:1] != b"\x80" or artifact.name.endswith(".safetensors"), artifact.name
        assert not artifact.name.endswith((".pkl", ".pickle", ".pt", ".pth", ".joblib"))


# --------------------------------------------------------------------------------------- MLflow, lineage


def test_mlflow_has_the_champion_with_its_digests_and_all_curves(derived: Finished) -> None:
    registry = ModelRegistry(RegistrySettings.from_environment())
    champion = registry.champion(DERIVED)
    assert champion is not None
    assert (champion.version, champion.run_key, champion.model_root) == (1, derived.key, derived.root)
    released = derived.step("train").result.summary["released"]
    files = {a.name.split("/")[-1]: a.sha256 for a in derived.step("train").result.below(f"seed-{released}")}
    assert {a.name: a.sha256 for a in champion.files}.items() <= files.items()
    tags = registry._client.get_model_version(DERIVED, "1").tags
    assert tags["drl.verdict"] == "PROMOTE"
    run = derived.journal.read_json("registration.json")["mlflow_run"]
    assert registry._client.get_run(run).info.status == "FINISHED"
    assert registry._client.get_run(run).data.params["time_steps"] == str(TIME_STEPS)
    for artifact in derived.step("train").result.outputs:
        if artifact.name.endswith("metrics.jsonl"):
            series = artifact.name.split("/")[0]
            data = bucket(derived.records).get_object(Bucket="sealed", Key=f"sha256/{artifact.sha256}")
            rows = [json.loads(line) for line in data["Body"].read().splitlines()]
            expected = [(row["time_steps"], row["values"]["return_mean_100"]) for row in rows]
            history = registry._client.get_metric_history(run, f"{series}/return_mean_100")
            assert [(m.step, m.value) for m in sorted(history, key=lambda m: m.step)] == expected


def test_the_graph_holds_the_lineage_and_reaches_the_resolved_run(derived: Finished) -> None:
    lineage = run_lineage(derived.journal)
    resolved = derived.journal.read_json("resolved.ref.json")["sha256"]
    with LineageGraph(GraphSettings.from_environment()) as graph:
        counts = graph.record_run(lineage)
        assert (counts.nodes_created, counts.relations_created) == (0, 0)
        stored = graph.run(derived.key)
        steps = {f"{derived.key}/{step}" for step in STEPS}
        assert {a.key for a in stored.activities} == {derived.key, *steps, f"{derived.key}/promotion"}
        assert set(stored.relations) <= set(lineage.relations)
        ancestors = {relative.identifier: relative for relative in graph.ancestry(derived.root)}
    assert ancestors[resolved].kind == "resolved run"
    assert ancestors[f"{derived.key}/train"].distance == 1
    told = derived.journal.read_json("promotion.lineage.json")
    assert told == {"nodes": counts.nodes, "edges": counts.relations}


def test_the_command_line_tells_the_same(derived: Finished) -> None:
    shown = json.loads(derived.drl("show", derived.key, "--json"))
    journal = derived.journal
    for name in ("resolved", "opening", "closing", "registration", "promotion"):
        assert shown[name] == journal.read_json(f"{name}.json"), name
    assert shown["lineage"] == journal.read_json("promotion.lineage.json")
    for name in STEPS:
        assert shown[name] == journal.read_json(f"{name}.json")["result"], name
    told = json.loads(derived.drl("lineage", DERIVED, "--json"))
    with LineageGraph(GraphSettings.from_environment()) as graph:
        assert told == [vars(relative) for relative in graph.ancestry(derived.root)]


# ------------------------------------------------------------------------------------ handed to somebody


@pytest.fixture(scope="module")
def record(derived: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of the champion."""
    path = tmp_path_factory.mktemp("record") / "champion.zip"
    assert f"of run {derived.key}" in derived.drl("record", "export", DERIVED, "--out", str(path))
    return path


def test_a_record_holds_what_its_statements_name_and_nothing_else(derived: Finished, record: Path) -> None:
    named = {a.sha256: a.size for a in derived.artifacts if a.name != "resolved.json"}
    keys = {key.keyid for key in public_keys(derived.bundle.keys)}
    with open_record(record) as files:
        assert set(files.names()) == {
            *("resolved.json", "opening.json", "closing.json", "account.json"),
            *(f"{name}.dsse.json" for name in STATEMENTS | {"release", "promotion"}),
            "promotion.note.json",
            *(f"keys/{key_id}.pem" for key_id in keys),
            *(f"sha256/{digest}" for digest in named),
        }
        for digest, size in named.items():
            assert (sha256_of(files, f"sha256/{digest}"), files.size(f"sha256/{digest}")) == (digest, size)
        for key_id in keys:
            assert load_public(files.read(f"keys/{key_id}.pem"), where=key_id).keyid == key_id
        for name in ("resolved.json", "closing.json", "release.dsse.json", "promotion.note.json"):
            assert files.read(name) == derived.journal.read(name)
        told = json.loads(files.read("account.json"))
    assert [entry_from_json(entry) for entry in told["entries"]] == account(DERIVED)
    assert told["head"]["number"] >= told["entries"][-1]["receipt"]["block_number"]


def test_the_source_archive_is_the_tree_that_the_run_names(derived: Finished, record: Path) -> None:
    code = derived.journal.read_json("resolved.json")["code"]
    assert code["dirty"] is False
    with open_record(record) as files, files.open(f"sha256/{derived.source.sha256}") as stream:
        assert tree_of_tar(stream, where="source.tar") == code["tree"]


def test_one_record_is_one_file_however_it_is_asked_for(
    derived: Finished, record: Path, tmp_path: Path
) -> None:
    for name, arguments in {"run": [derived.key], "version": [DERIVED, "--version", "1"]}.items():
        path = tmp_path / f"{name}.zip"
        derived.drl("record", "export", *arguments, "--out", str(path))
        with open_record(path) as again, open_record(record) as files:
            assert again.names() == files.names()
            for file in files.names():
                if file != "account.json":  # others may have written to the chain meanwhile
                    assert again.read(file) == files.read(file)


def test_a_record_says_what_it_is(derived: Finished, record: Path) -> None:
    shown = derived.drl("record", "show", str(record))
    for said in (derived.key, derived.root, "verdict     PROMOTE", "source.tar", "3 ledger entries"):
        assert said in shown


def test_a_record_is_the_same_below_an_s3_prefix(derived: Finished, record: Path) -> None:
    client, prefix = bucket(derived.records), f"handed-over/{DERIVED}"
    with open_record(record) as files:
        for name in files.names():
            client.put_object(Bucket="staging", Key=f"{prefix}/{name}", Body=files.read(name))
        there = PrefixFiles(derived.records.settings, f"s3://staging/{prefix}")
        assert there.names() == files.names()
        for name in files.names():
            assert (there.size(name), sha256_of(there, name)) == (files.size(name), sha256_of(files, name))
    for name, reason in {"a b": "ASCII", "x/.hidden": "ASCII"}.items():
        client.put_object(Bucket="staging", Key=f"{prefix}-evil/{name}", Body=b"x")
        with pytest.raises(Falsified, match=reason):
            PrefixFiles(derived.records.settings, f"s3://staging/{prefix}-evil/")
        client.delete_object(Bucket="staging", Key=f"{prefix}-evil/{name}")


def test_the_deployment_says_whom_to_trust(derived: Finished, tmp_path: Path) -> None:
    path = tmp_path / "trust.yaml"
    derived.drl("trust", "init", "--out", str(path))
    policy = load_trust(path)
    steps, release = public_keys(derived.bundle.keys)
    assert {key.id for key in policy.keys_for("steps")} == {steps.keyid}
    assert {key.id for key in policy.keys_for("release")} == {release.keyid}
    receipt = account(DERIVED)[0].receipt
    assert policy.ledger is not None
    assert policy.ledger.writers == [receipt.writer]
    assert (policy.ledger.genesis, policy.ledger.contract) == (receipt.genesis, receipt.contract)
    assert DERIVED in (policy.pipelines or [])
    assert "Demo chain" in path.read_text()


def test_what_cannot_be_exported_is_said(derived: Finished, tmp_path: Path) -> None:
    for arguments, reason in {
        ("no_such_model",): "has no champion",
        (DERIVED, "--version", "99"): f"no run made {DERIVED} version 99",
        (f"{DERIVED}/never",): "not sealed",
    }.items():
        with pytest.raises(subprocess.CalledProcessError) as failure:
            derived.drl("record", "export", *arguments, "--out", str(tmp_path / "a.zip"))
        assert reason in failure.value.stderr
        assert not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------------------------- secrets


def secrets_of(bundle: AirflowBundle) -> dict[str, bytes]:
    """Everything that nobody but its user may see, in the forms in which it could leak."""
    home = bundle.stack.home
    state = State.load(home.state)
    assert state is not None
    credentials, airflow = state.credentials, AirflowSecrets.of(home.path / "airflow")
    texts = {
        "postgres": credentials.postgres_password,
        "bolt": credentials.bolt_password,
        "s3 operator": credentials.s3_operator.secret,
        "s3 step": credentials.s3_step.secret,
        "s3 mlflow": credentials.s3_mlflow.secret,
        "s3 signing": credentials.s3_signing_key,
        "evm": credentials.evm_private_key.removeprefix("0x"),
        "fernet": airflow.fernet_key,
        "api": airflow.api_secret_key,
        "jwt": airflow.jwt_secret,
        "admin": airflow.admin_password,
    }
    forms = {name: text.encode() for name, text in texts.items()}
    forms["evm bytes"] = bytes.fromhex(texts["evm"])
    for path in bundle.keys.glob("*.pem"):
        body = "".join(path.read_text().splitlines()[1:-1])
        seed = base64.b64decode(body)[-32:]
        forms |= {f"{path.name} pem": body.encode(), f"{path.name} bytes": seed}
        forms[f"{path.name} hex"] = seed.hex().encode()
    return forms


def leaks(data: bytes, secrets: dict[str, bytes]) -> list[str]:
    lower = data.lower()
    return [name for name, value in secrets.items() if value in data or value.lower() in lower]


def tables(address: str) -> Iterator[tuple[str, bytes]]:
    """Every table of a database as text."""
    with contextlib.closing(psycopg.connect(address)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT schemaname, tablename FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        for schema, name in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{schema}"."{name}" t')
            yield name, "\n".join(row for (row,) in cursor.fetchall()).encode()


def test_the_search_for_secrets_finds_them(derived: Finished) -> None:
    secrets = secrets_of(derived.bundle)
    key_files = {path.name for path in derived.bundle.keys.glob("*.pem")}
    assert {"steps.pem", "release.pem"} <= key_files
    assert len(secrets) == 12 + 3 * len(key_files)
    kept = (derived.bundle.stack.home.state).read_bytes()
    assert {"postgres", "bolt", "s3 operator", "s3 step", "s3 mlflow", "s3 signing", "evm"} <= set(
        leaks(kept, secrets)
    )
    pems = b"\n".join((derived.bundle.keys / name).read_bytes() for name in key_files)
    assert set(leaks(pems, secrets)) == {f"{name} pem" for name in key_files}
    assert "fernet" in leaks((derived.bundle.stack.home.path / "airflow/secrets.json").read_bytes(), secrets)


def test_no_secret_is_in_logs_databases_or_buckets(derived: Finished) -> None:
    secrets = secrets_of(derived.bundle)
    assert leaks(derived.test.log.encode(), secrets) == []
    folder = Path(derived.bundle.environment["AIRFLOW_HOME"]) / "logs"
    for path in folder.rglob("*"):
        if path.is_file():
            assert leaks(path.read_bytes(), secrets) == [], path
    seen = set()
    for database in ("airflow", "mlflow", "drl"):
        for name, rows in tables(derived.bundle.address.rsplit("/", 1)[0] + f"/{database}"):
            assert leaks(rows, secrets) == [], f"{database}.{name}"
            seen |= {name} if rows else set()
    # Operators without template fields leave nothing in rendered_task_instance_fields, which is searched too.
    assert {"xcom", "serialized_dag", "task_instance", "params", "ledger_outbox"} <= seen
    client = bucket(derived.records)
    for name in ("staging", "sealed"):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=name)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        assert len(keys) > 20
        for key in keys:
            body = client.get_object(Bucket=name, Key=key)["Body"].read()
            assert leaks(body, secrets) == [], f"{name}/{key}"


# ------------------------------------------------------------------------------------------ a second run


def test_a_run_on_unchanged_inputs_is_held_as_the_same_model(first: Finished, again: Finished) -> None:
    for run in (first, again):
        assert run.step("train").request.parameters["seeds"] == [str(seed) for seed in SEEDS]
        assert run.journal.read_json("opening.json")["seeds_from"] == "owner-chosen"
    assert again.root == first.root
    assert (
        again.step("train").result.summary["model_roots"]
        == (first.step("train").result.summary["model_roots"])
    )
    champion = again.journal.read_json("resolved.json")["champion"]
    assert (champion["version"], champion["model_root"]) == (1, first.root)
    decision = again.step("evaluate").result.summary["decision"]
    assert decision["verdict"] == "HOLD"
    assert "same model" in decision["reason"]
    assert again.step("evaluate").result.summary["champion_root"] == first.root


def test_a_hold_is_closed_and_registered_and_changes_no_alias(again: Finished) -> None:
    counted = Account.of(account(CHOSEN))
    assert (counted.opened, counted.closed) == (2, {"PROMOTE": 1, "HOLD": 1, "REJECT": 0})
    registry = ModelRegistry(RegistrySettings.from_environment())
    assert registry.alias(CHOSEN) == 1
    assert again.journal.read_json("registration.json")["version"] == 2
    assert not again.journal.has("promotion.json")
    assert not [entry for entry in account(CHOSEN) if isinstance(entry, Note)][1:]


def test_the_same_bytes_are_stored_once(first: Finished, again: Finished) -> None:
    versions = bucket(again.records).get_paginator("list_object_versions")
    policies = [a for a in again.step("train").result.outputs if a.name.startswith("seed-")]
    same = {a.sha256 for a in policies} & {a.sha256 for a in first.step("train").result.outputs}
    assert len(same) >= 5  # three files for each of two seeds, of which policy.json is one
    for name in ("staging", "sealed"):
        for sha256 in same:
            pages = versions.paginate(Bucket=name, Prefix=f"sha256/{sha256}")
            assert sum(len(page.get("Versions", [])) for page in pages) == 1, name


def test_the_second_run_costs_what_the_first_did(first: Finished, again: Finished) -> None:
    # Processor time: other programs of the machine do not count.
    assert 0 < again.test.cpu_seconds < 1.2 * first.test.cpu_seconds


# --------------------------------------------------------------------------------------------- the audit


def audit(first: Finished) -> tuple[DagTest, dict[str, Any]]:
    """Run the audit of the champion by Airflow; returns it with the asset event that it left."""
    (first.bundle.dags / "audit.py").write_text((REPOSITORY / "dags" / "audit.py").read_text())
    test = first.bundle.test("audit", "--conf", json.dumps({"models": [CHOSEN]}))
    with contextlib.closing(psycopg.connect(first.bundle.address)) as connection:
        row = connection.execute(
            "SELECT extra FROM asset_event WHERE source_dag_id = 'audit' ORDER BY timestamp DESC LIMIT 1"
        ).fetchone()
    assert row is not None
    return test, row[0]


def failing() -> list[str]:
    with LineageGraph(GraphSettings.from_environment()) as graph:
        return [found.model for found in graph.failing()]


def test_the_audit_finds_a_good_champion_good(first: Finished, again: Finished) -> None:
    test, event = audit(first)
    assert test.succeeded, test.log[-5000:]
    assert f"{CHOSEN} version 1: holds" in test.log
    for line in (
        "holds alias: version 1",
        "holds ledger: 3 entries of run 1 stand and are final",
        "holds locks: ",
        "holds record: Level 2",
    ):
        assert line in test.log
    assert event == {"audited": 1, "false": [], "undetermined": []}
    assert CHOSEN not in failing()


def test_the_audit_fails_when_alias_or_journal_were_tampered_with(first: Finished, again: Finished) -> None:
    registry = ModelRegistry(RegistrySettings.from_environment())
    client = bucket(first.records)
    key = f"journal/{again.key}/evaluation.dsse.json"
    envelope = json.loads(again.journal.read("evaluation.dsse.json"))
    payload = base64.b64decode(envelope["payload"]).replace(b'"HOLD"', b'"PROMOTE"')
    forged = canonical_json(envelope | {"payload": base64.b64encode(payload).decode()})
    version = client.put_object(Bucket="sealed", Key=key, Body=forged)["VersionId"]
    registry.set_champion(CHOSEN, 2, expected=1)
    try:
        test, event = audit(first)
    finally:
        registry.set_champion(CHOSEN, 1, expected=2)
        client.delete_object(Bucket="sealed", Key=key, VersionId=version)
    assert not test.succeeded
    assert "the proof of a champion does not hold" in test.log
    assert re.search(r"false alias: it points to version 2 .* say version 1", test.log)
    assert re.search(r"false record: check 1: evaluation\.dsse\.json", test.log)
    assert event == {"audited": 1, "false": [CHOSEN], "undetermined": []}
    assert CHOSEN in failing()
