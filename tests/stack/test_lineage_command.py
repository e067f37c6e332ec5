"""``drl lineage`` as people call it, on a bucket and a database of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from bolt_servers import cypher, empty_database
from lineage_runs import JournalRun, write_run
from prov.model import ProvDocument

from drl.local.stack import Stack
from drl.steps.lineage import run_lineage
from drl.stores.graph import LineageGraph
from drl.stores.s3 import ArtifactStore
from drl.stores.settings import GraphSettings, S3Settings

FIRST = JournalRun("battery", 1)
SECOND = JournalRun("battery", 2, commit="e" * 40, time_steps=2000, champion=(1, FIRST.root))


class Command:
    """The command, with addresses of its own."""

    def __init__(self, environment: dict[str, str], graph: GraphSettings) -> None:
        self.environment = environment
        self.graph = graph

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "drl", "lineage", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)

    def shown(self, *arguments: str) -> str:
        done = self(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def drl(stack: Stack) -> Iterator[Command]:
    """Two promoted runs in a bucket; the first one recorded, the second one not yet."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environment().items():
            if name.startswith("DRL_"):
                patch.setenv(name, value)
        graph = empty_database("embedded", stack)
        patch.setenv("DRL_BOLT_DATABASE", graph.database)
        patch.setenv("DRL_S3_SEALED", f"lineage-{secrets.token_hex(4)}")
        settings = S3Settings.from_environment()
        client = boto3.client(
            "s3",
            endpoint_url=settings.endpoint,
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=settings.secret_key,
            region_name=settings.region,
        )
        client.create_bucket(Bucket=settings.sealed)
        documents = ArtifactStore(replace(settings, staging=settings.sealed))
        for place, run in ((2, FIRST), (1, SECOND)):
            journal = write_run(documents, run)
            documents.write_once(f"index/{place:013d}", run.key.encode())
            if run is FIRST:
                with LineageGraph(graph) as recorder:
                    recorder.record_run(run_lineage(journal))
        yield Command(dict(os.environ), graph)


@pytest.fixture(scope="module")
def whole(drl: Command) -> Command:
    """The command, once the graph has both runs."""
    drl.shown("rebuild")
    return drl


def test_a_graph_that_lacks_a_run_is_told_and_mended(drl: Command) -> None:
    checked = drl("rebuild", "--check")
    assert checked.returncode == 1
    assert "missing      activity battery/run-2\n" in checked.stdout
    assert "0 different, 0 superfluous" in checked.stderr
    assert "as in the sealed bucket" in drl.shown("rebuild")
    assert "as in the sealed bucket" in drl.shown("rebuild", "--check")
    cypher(drl.graph, "CREATE (:Agent {key_id: 'nobody', kind: 'person'})")
    assert "superfluous  agent nobody" in drl("rebuild").stdout
    cypher(drl.graph, "MATCH (n:Agent {key_id: 'nobody'}) DELETE n")


def test_what_a_model_was_made_of_with_and_without_the_word(whole: Command) -> None:
    shown = whole.shown("battery", "--depth", "4")
    assert shown == whole.shown("of", "battery", "--depth", "4")
    for word in ("source /data/prices.csv", "1 step back", "train battery/run-2/train", SECOND.root[:16]):
        assert word in shown, word
    assert {n["kind"] for n in json.loads(whole.shown("--json", "battery"))} > {
        "source",
        "code",
        "checkpoint",
    }
    assert "release.dsse.json" in whole.shown("from", FIRST.root)


def test_questions_as_tables_and_as_json(whole: Command) -> None:
    assert "battery  1" in whole.shown("trained-on", FIRST.content("train"))
    assert [c["version"] for c in json.loads(whole.shown("trained-on", "eeeeeee", "--json"))] == ["2"]
    assert "no champion was trained on it" in whole.shown("trained-on", FIRST.root)
    difference = whole.shown("diff", "battery", "1", "2")
    assert "settings.training.time_steps  1000" in difference
    assert "the same: source, train, validation, test, environment, packages" in difference
    day = FIRST.at(0).date().isoformat()
    assert json.loads(whole.shown("champion", "battery", "--on", day, "--json"))["version"] == "1"
    assert f"champion since {SECOND.at(11).isoformat()}" not in whole.shown(
        "champion", "battery", "--on", day
    )
    assert SECOND.at(11).isoformat() in whole.shown("champion", "battery")
    assert "had no champion" in whole.shown("champion", "battery", "--on", "2020-01-01")
    unasked = whole("failing")
    assert (unasked.returncode, unasked.stdout) == (2, "")
    assert "no champion was audited yet" in unasked.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nosuch",), "no run has made a model 'nosuch'"),
        (("from", "f" * 64), "f: not in the lineage graph"),
        (("of", FIRST.root[:12]), "all 64 digits"),
        (("trained-on", "f" * 40), "f: not in the lineage graph"),
        (("champion", "nosuch"), "model 'nosuch': not in the lineage graph"),
        (("champion", "battery", "--on", "yesterday"), "no date"),
        (("diff", "battery", "1", "7"), "version 7: not in the lineage graph"),
        (("trained-on", "prices"), "no digest and no commit"),
        (("export",), "nothing to export"),
        (("export", "--run", "battery/run-9"), "not in the lineage graph"),
        (("export", "battery", "--out", "/no/such/folder"), "No such file or directory"),
    ],
)
def test_what_cannot_be_asked_is_said(whole: Command, arguments: tuple[str, ...], message: str) -> None:
    done = whole(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert "what to do" in done.stderr


def test_exports(whole: Command, tmp_path: Path) -> None:
    out = tmp_path / "ancestry.json"
    whole.shown("export", "battery", "--out", str(out))
    document = ProvDocument.deserialize(content=out.read_text(), format="json")
    names = {str(record.identifier) for record in document.get_records()}
    assert f"sha256:{SECOND.root}" in names
    assert "drl:battery/run-2/prepare" in names
    events = whole.shown("export", "--run", FIRST.key, "--format", "openlineage").splitlines()
    assert {json.loads(event)["job"]["name"] for event in events} >= {"battery.train", "battery.evaluate"}
