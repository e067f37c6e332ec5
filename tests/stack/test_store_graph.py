"""The lineage graph against real Bolt servers: see ``tests/bolt_servers.py``."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from bolt_servers import SERVERS, settings_of

from drl.digest import sha256_bytes
from drl.errors import InputError, StoreError
from drl.stores.graph import LineageCounts, LineageGraph, Relative
from drl.stores.lineage import Activity, Agent, Entity, Relation, RunLineage
from drl.stores.settings import GraphSettings


@pytest.fixture(scope="module", params=SERVERS)
def settings(request: pytest.FixtureRequest, stack: Any) -> GraphSettings:
    return settings_of(request.param, stack)


@pytest.fixture(scope="module")
def graph(settings: GraphSettings) -> Any:
    with LineageGraph(settings) as graph:
        yield graph


def a_run(mark: str, *, champion: str | None = None) -> RunLineage:
    """Prices -> split -> policy -> report, and a release statement, named after ``mark``."""

    def entity(kind: str, **attributes: Any) -> Entity:
        return Entity(sha256_bytes(f"{mark} {kind}".encode()), kind, f"{kind} of {mark}", attributes)

    prices, split = entity("dataset"), entity("split", rows=70128)
    policy, report = (
        entity("policy", algorithm="PPO", released=True),
        entity("report", verdict="HOLD", gap=-0.25),
    )
    prepare, train, evaluate = (
        Activity(f"{mark}/{kind}", kind, "2026-11-24T01:00:00+01:00", "2026-11-24T00:05:00.250000Z")
        for kind in ("prepare", "train", "evaluate")
    )
    key = Agent(f"key of {mark}", "operator key", {"name_shown": "operator"})
    other = champion or policy.sha256
    return RunLineage(
        run=mark,
        entities=(prices, split, policy, report)
        + ((Entity(champion, "policy", "champion"),) if champion else ()),
        activities=(Activity(mark, "run"), prepare, train, evaluate),
        agents=(key,),
        relations=(
            Relation("USED", prepare.key, prices.sha256, "source"),
            Relation("WAS_GENERATED_BY", split.sha256, prepare.key, "train"),
            Relation("WAS_DERIVED_FROM", split.sha256, prices.sha256),
            Relation("USED", train.key, split.sha256, "train"),
            Relation("WAS_GENERATED_BY", policy.sha256, train.key),
            Relation("USED", evaluate.key, policy.sha256, "policy"),
            Relation("USED", evaluate.key, other, "champion"),
            Relation("WAS_GENERATED_BY", report.sha256, evaluate.key),
            Relation("WAS_ASSOCIATED_WITH", train.key, key.key_id),
            Relation("WAS_ATTRIBUTED_TO", report.sha256, key.key_id),
        ),
    )


def of_kind(lineage: RunLineage, kind: str) -> str:
    return next(e.sha256 for e in lineage.entities if e.name == f"{kind} of {lineage.run}")


def test_recorded_once_whatever_is_sent_again(graph: LineageGraph) -> None:
    lineage = a_run(secrets.token_hex(4))
    assert graph.record_run(lineage) == LineageCounts(9, 10, nodes_created=9, relations_created=10)
    before = graph.counts()
    assert graph.record_run(lineage) == LineageCounts(9, 10, nodes_created=0, relations_created=0)
    assert graph.counts() == before
    assert graph.run(lineage.run) == lineage


@pytest.mark.parametrize("turned", [False, True])
def test_whoever_names_an_entity_first_the_smallest_name_stays(graph: LineageGraph, turned: bool) -> None:
    lineage = a_run(secrets.token_hex(4))
    renamed = replace(lineage, entities=tuple(replace(e, name="zzz") for e in lineage.entities))
    for one in (renamed, lineage) if turned else (lineage, renamed):
        graph.record_run(one)
    assert graph.run(lineage.run) == lineage


def test_concurrent_writers_make_one_graph(settings: GraphSettings, graph: LineageGraph) -> None:
    lineage = a_run(secrets.token_hex(4))
    before = graph.counts()
    barrier = threading.Barrier(4)

    def write(_: int) -> LineageCounts:
        with LineageGraph(settings) as own:
            barrier.wait()
            return own.record_run(lineage)

    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(write, range(4)))
    assert sum(c.nodes_created for c in counts) == 9
    assert sum(c.relations_created for c in counts) == 10
    after = graph.counts()
    assert sum(after.values()) - sum(before.values()) == 19
    assert graph.run(lineage.run) == lineage


def test_concurrent_runs_that_share_a_dataset(settings: GraphSettings, graph: LineageGraph) -> None:
    shared = Entity(sha256_bytes(secrets.token_bytes(8)), "dataset", "prices")
    marks = [secrets.token_hex(4) for _ in range(8)]

    def lineage(mark: str) -> RunLineage:
        step = Activity(f"{mark}/prepare", "prepare")
        return RunLineage(mark, (shared,), (step,), (), (Relation("USED", step.key, shared.sha256),))

    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda mark: graph.record_run(lineage(mark)), marks))
    assert sum(c.nodes_created for c in counts) == 1 + len(marks)
    assert {r.identifier for r in graph.descendants(shared.sha256)} == {f"{m}/prepare" for m in marks}


def test_ancestry_and_blast_radius_cross_runs(graph: LineageGraph) -> None:
    first = a_run(secrets.token_hex(4))
    second = a_run(secrets.token_hex(4), champion=of_kind(first, "policy"))
    graph.record_run(first)
    graph.record_run(second)

    ancestry = graph.ancestry(of_kind(second, "report"))
    assert ancestry[0] == Relative(
        "Activity", f"{second.run}/evaluate", "evaluate", f"{second.run}/evaluate", 1
    )
    assert {of_kind(first, "dataset"), of_kind(second, "dataset")} <= {r.identifier for r in ancestry}
    assert [r.distance for r in ancestry] == sorted(r.distance for r in ancestry)
    assert {r.distance for r in graph.ancestry(of_kind(second, "report"), depth=2)} == {1, 2}

    blast = {r.identifier for r in graph.descendants(of_kind(first, "dataset"))}
    assert {of_kind(first, "policy"), of_kind(second, "report")} <= blast
    assert of_kind(second, "policy") not in blast
    assert graph.ancestry("0" * 64) == []


def test_a_bounded_walk_ends_early_and_stays_with_its_own_run_among_many(graph: LineageGraph) -> None:
    """Nine runs cut the same split; the walk back from a policy of one of them may look at four rows."""
    mark = secrets.token_hex(4)
    source, split, policy = (
        Entity(sha256_bytes(f"{mark} {kind}".encode()), kind, kind) for kind in ("dataset", "split", "policy")
    )
    for number in range(9):
        run = f"{mark}/run-{number}"
        prepare, train = (Activity(f"{run}/{kind}", kind, run=run) for kind in ("prepare", "train"))
        relations = [
            Relation("WAS_GENERATED_BY", split.sha256, prepare.key),
            Relation("WAS_DERIVED_FROM", split.sha256, source.sha256),
            Relation("USED", train.key, split.sha256),
            *([Relation("WAS_GENERATED_BY", policy.sha256, train.key)] if number == 8 else []),
        ]
        graph.record_run(RunLineage(run, (source, split, policy), (prepare, train), (), tuple(relations)))
    back = [f"{mark}/run-8/train", split.sha256, f"{mark}/run-8/prepare", source.sha256]
    assert [r.identifier for r in graph.ancestry(policy.sha256, most=4)] == back
    assert [r.identifier for r in graph.ancestry(policy.sha256, most=3)] == back[:3]
    assert [r.distance for r in graph.descendants(split.sha256, most=4)] == [1] * 4


def test_a_run_nobody_recorded(graph: LineageGraph) -> None:
    with pytest.raises(InputError, match="not in the lineage graph"):
        graph.run("no such run")


def test_wrong_password_is_refused_without_showing_it(settings: GraphSettings) -> None:
    wrong = replace(settings, password="not-the-password")
    with LineageGraph(wrong) as graph, pytest.raises(StoreError, match="refused user") as error:
        graph.ping()
    assert "not-the-password" not in f"{error.value} {wrong!r}"


def test_unknown_database(settings: GraphSettings) -> None:
    with (
        LineageGraph(replace(settings, database="nosuchdb")) as graph,
        pytest.raises(StoreError, match="nosuchdb"),
    ):
        graph.ping()


def test_dead_server_is_an_error_in_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    start = time.monotonic()
    dead = GraphSettings(f"bolt://127.0.0.1:{port}", "neo4j", "hidden-secret")
    with LineageGraph(dead, patience=3) as graph, pytest.raises(StoreError, match=str(port)) as error:
        graph.ping()
    assert time.monotonic() - start < 6
    assert "hidden-secret" not in str(error.value)


def test_server_that_falls_silent_is_an_error_in_bounded_time(settings: GraphSettings) -> None:
    """A proxy to the real server that stops passing answers on, as a frozen machine does."""
    host, port = settings.uri.removeprefix("bolt://").split(":")
    frozen = threading.Event()

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not frozen.is_set():
                    sink.sendall(data)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((host, int(port)))
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        through = replace(settings, uri=f"bolt://127.0.0.1:{listener.getsockname()[1]}")
        graph = LineageGraph(through, patience=2)
        graph.ping()
        frozen.set()
        start = time.monotonic()
        with pytest.raises(StoreError, match="no answer within 2 s"):
            graph.ping()
        assert time.monotonic() - start < 4
        listener.shutdown(socket.SHUT_RDWR)
