"""What the lineage graph answers, and that it can be made again: on each server, in an empty database."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bolt_servers import SERVERS, cypher, empty_database
from lineage_runs import START, JournalRun, write_rollback, write_run

from drl.digest import sha256_json
from drl.errors import InputError
from drl.steps.exchange import FolderExchange
from drl.steps.lineage import run_lineage
from drl.steps.lineage_documents import compare, rebuild, record_audit
from drl.stores import graph_questions
from drl.stores.graph import Champion, LineageGraph
from drl.stores.lineage_audit import Audit, AuditFinding
from drl.stores.lineage_merging import canonical

DOCUMENT = (Path(__file__).parents[2] / "docs" / "lineage.md").read_text()

FIRST = JournalRun("battery", 1)
SECOND = JournalRun("battery", 2, commit="e" * 40, time_steps=2000, champion=(1, FIRST.root))
HELD = JournalRun("battery", 3, verdict="HOLD", source="newer prices")
OTHER = JournalRun("cartpole", 4)


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory, server: str) -> FolderExchange:
    """Four runs; the second was promoted, and rolled back to the first."""
    folder = FolderExchange(tmp_path_factory.mktemp("sealed"))
    for run in (FIRST, SECOND, HELD, OTHER):
        write_run(folder, run, promote=False)
    return folder


@pytest.fixture(scope="module")
def graph(documents: FolderExchange, server: str, stack: Any) -> Iterator[LineageGraph]:
    """The runs recorded as they happened: once before and once after a promotion, out of order, and twice."""
    with LineageGraph(empty_database(server, stack)) as graph:
        for run in (OTHER, SECOND, FIRST, HELD):
            graph.record_run(run_lineage(write_run(documents, run, promote=False)))
        for run in (FIRST, SECOND, HELD, OTHER, FIRST):
            graph.record_run(run_lineage(write_run(documents, run)))
        journal = write_run(documents, SECOND)
        write_rollback(journal, SECOND, FIRST)
        graph.record_run(run_lineage(journal))
        record_audit(documents, graph, audit(1, first="false", second="holds"))
        record_audit(documents, graph, audit(2, first="holds", second="undetermined"))
        yield graph


def audit(day: int, **outcomes: Any) -> Audit:
    started = START + timedelta(days=day)
    findings = []
    for run, outcome in zip((FIRST, SECOND), (outcomes["first"], outcomes["second"]), strict=True):
        problems = () if outcome == "holds" else ("check 5: train.parquet has other bytes",)
        findings.append(AuditFinding("battery", str(run.number), run.root, run.key, outcome, problems))
    return Audit(f"scheduled {day}", started.isoformat(), started.isoformat(), tuple(findings))


# ------------------------------------------------------------------------------------------- questions


def test_everything_a_model_came_from(graph: LineageGraph) -> None:
    kinds = {relative.kind for relative in graph.ancestry(SECOND.root)}
    wanted = "source, dataset, data, code, environment, packages, settings, seeds, checkpoint, policy file"
    assert {*wanted.split(", "), "ledger opening", "resolved run", "train", "prepare", "run"} <= kinds
    assert "evaluate" not in kinds


def test_what_other_runs_made_alike_is_not_where_a_model_came_from(graph: LineageGraph) -> None:
    """The second run's data are those of the first, byte for byte; its code is not."""
    came_from = {relative.name for relative in graph.ancestry(SECOND.root) if relative.label == "Activity"}
    assert came_from == {SECOND.key, f"{SECOND.key}/train", f"{SECOND.key}/prepare"}
    made = {relative.name for relative in graph.ancestry(SECOND.content("train"), depth=1)}
    assert made == {f"{run.key}/prepare" for run in (FIRST, SECOND, OTHER)}


def test_everything_a_source_reached(graph: LineageGraph) -> None:
    reached = {relative.identifier for relative in graph.descendants(sha256_json("prices"))}
    assert {FIRST.root, SECOND.root, OTHER.root, FIRST.content("test")} <= reached
    assert HELD.root not in reached


@pytest.mark.parametrize(
    "what", [sha256_json("prices"), FIRST.content("train"), sha256_json({"file": ["prices", "train"]})]
)
def test_champions_trained_on_a_source_a_dataset_or_a_file(graph: LineageGraph, what: str) -> None:
    found = [(c.model, c.version, c.outcome) for c in graph.champions_trained_on(what)]
    assert found == [
        ("battery", "1", "promoted"),
        ("battery", "2", "promoted"),
        ("battery", "1", "rolled-back"),
        ("cartpole", "4", "promoted"),
    ]


def test_champions_trained_on_a_commit(graph: LineageGraph) -> None:
    assert [c.version for c in graph.champions_trained_on("e" * 40)] == ["2"]
    assert [c.version for c in graph.champions_trained_on("eeeeeee")] == ["2"]
    assert graph.champions_trained_on("f" * 40) == []
    assert graph.champions_trained_on(HELD.content("train")) == []
    with pytest.raises(InputError, match="no digest and no commit"):
        graph.champions_trained_on("prices")


def test_what_differs_between_two_versions(graph: LineageGraph) -> None:
    one, two = graph.version("battery", "1"), graph.version("battery", "2")
    assert (one.root, two.run) == (FIRST.root, SECOND.key)
    differ = {role for role in one.ingredients if one.ingredients[role] != two.ingredients[role]}
    assert differ == {"code", "settings", "seeds"}
    [settings] = two.ingredients["settings"]
    assert json.loads(settings.content or "")["training"]["time_steps"] == 2000
    three = graph.version("battery", "3")
    differ = {role for role in one.ingredients if one.ingredients[role] != three.ingredients[role]}
    assert differ == {"source", "train", "validation", "test", "settings", "seeds"}
    with pytest.raises(InputError, match="version 9: not in the lineage graph"):
        graph.version("battery", "9")


def test_what_was_champion_on_a_date(graph: LineageGraph) -> None:
    def on(moment: Any) -> str | None:
        found = graph.champion_on("battery", moment)
        return found and found.version

    assert on(FIRST.at(10)) is None
    assert on(FIRST.at(12)) == "1"
    assert on(SECOND.at(12)) == "2"
    assert graph.champion_on("battery", SECOND.at(700)) == Champion(
        "battery", "1", FIRST.root, SECOND.key, "rolled-back", SECOND.at(601).isoformat()
    )
    assert graph.champion_on("no model", SECOND.at(0)) is None


def test_whose_proof_fails_now(graph: LineageGraph) -> None:
    """The newest audit decides: what failed before and holds now is not told."""
    [failing] = graph.failing()
    assert (failing.version, failing.root, failing.run) == ("2", SECOND.root, SECOND.key)
    assert (failing.outcome, failing.problems) == ("undetermined", "check 5: train.parquet has other bytes")


# --------------------------------------------------------------------------------------------- rebuild


def test_the_graph_made_again_from_the_bucket_is_equal(
    graph: LineageGraph, documents: FolderExchange, server: str, stack: Any
) -> None:
    assert compare(documents, graph).equal
    live = canonical(graph.everything())
    with LineageGraph(empty_database(server, stack)) as again:
        assert not compare(documents, again).equal
        assert rebuild(documents, again).equal
        assert canonical(again.everything()) == live


def test_a_changed_graph_is_told_from_the_bucket(graph: LineageGraph, documents: FolderExchange) -> None:
    rebuild(documents, graph)  # Neo4j's only database was emptied by the test before
    for statement in (
        "MATCH (n:Entity {sha256: $root}) SET n.name = 'another'",
        "MATCH (:Entity {sha256: $root})-[r:WAS_DERIVED_FROM {role: 'source'}]->() DELETE r",
        "CREATE (:Agent {key_id: 'nobody', kind: 'person'})",
    ):
        cypher(graph.settings, statement, root=FIRST.root)
    found = compare(documents, graph)
    assert found.different == (f"entity {FIRST.root}",)
    assert found.superfluous == ("agent nobody",)
    assert [line.split()[2] for line in found.missing] == ["WAS_DERIVED_FROM"]
    assert rebuild(documents, graph).missing == ()


# --------------------------------------------------------------------------------------- the document


def documented() -> list[str]:
    return [block.strip() for block in re.findall(r"```cypher\n(.*?)```", DOCUMENT, re.DOTALL)]


def test_the_document_quotes_the_questions() -> None:
    blocks = documented()
    for name in ("CODE", "CHAMPIONS_TRAINED_ON", "CHAMPION_ON", "VERSION", "MADE_WITH", "FAILING"):
        assert getattr(graph_questions, name).strip() in blocks, name


@pytest.mark.parametrize("statement", documented())
def test_documented_cypher_runs(graph: LineageGraph, documents: FolderExchange, statement: str) -> None:
    rebuild(documents, graph)
    parameters = {
        "ids": [sha256_json("prices")],
        "root": SECOND.root,
        "digest": sha256_json("prices"),
        "commit": "eeeeeee",
        "model": "battery",
        "version": "2",
        "time": int(SECOND.at(700).timestamp()),
        "run": SECOND.key,
        "roles": list(graph_questions.FACETS),
        "key_id": next(agent.key_id for agent in graph.run(SECOND.key).agents),
    }
    assert cypher(graph.settings, statement, **parameters)
