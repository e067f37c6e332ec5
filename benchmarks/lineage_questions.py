"""How fast the lineage graph answers with 10,000 runs in it, on the embedded server and on a Neo4j.

Run: drl stack up; PYTHONPATH=tests python benchmarks/lineage_questions.py [--runs 10000] [--server embedded]
A Neo4j is measured too where DRL_TEST_NEO4J_URI, _USER and _PASSWORD name one; its only database is emptied.

The runs are two real shapes (promoted and held, from the journals that the tests write) under new digests:
100 pipelines, a new source every 1,000 runs, new data every 100, a commit every 50, one in ten promoted, each
compared with its pipeline's champion; and 90 daily audits of all champions. The embedded server gets a database
of its own, dropped at the end.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from bolt_servers import SERVERS, empty_neo4j
from lineage_runs import START, JournalRun, write_run

from drl.digest import sha256_bytes
from drl.local.arcadedb import USER
from drl.local.probes import http
from drl.local.stack import Stack
from drl.local.state import State
from drl.steps.exchange import FolderExchange
from drl.steps.lineage import run_lineage
from drl.stores.graph import LineageGraph
from drl.stores.lineage import RunLineage
from drl.stores.lineage_audit import Audit, AuditFinding
from drl.stores.settings import GraphSettings

PIPELINES, BATCH, AUDITS = 100, 50, 90
CHAMPION = "9" * 64
# How many runs share an entity of a kind; everything else is a run's own.
SHARED = {"source": 1000, "dataset": 100, "data": 100, "code": 50, "packages": 500, "environment": 10**9}


class Fleet:
    """Ten thousand runs from two."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            documents = FolderExchange(Path(folder))
            runs = {
                v: JournalRun("template", n, verdict=v, champion=(1, CHAMPION))
                for n, v in ((1, "HOLD"), (2, "PROMOTE"))
            }
            self.templates = {v: run_lineage(write_run(documents, run)).to_json() for v, run in runs.items()}
        self.kinds = {e["sha256"]: e["kind"] for t in self.templates.values() for e in t["entities"]}
        self.roots = {v: run.root for v, run in runs.items()}
        self.champions: dict[str, str] = {}

    def lineages(self, count: int) -> Iterator[RunLineage]:
        for number in range(count):
            yield self._lineage(number)

    def model(self, number: int) -> str:
        return f"pipeline_{number % PIPELINES}"

    def version(self, number: int) -> str:
        return str(number // PIPELINES + 1)

    def verdict(self, number: int) -> str:
        return "PROMOTE" if number // PIPELINES % 10 == 0 else "HOLD"

    def root(self, number: int) -> str:
        return self.digest(self.roots[self.verdict(number)], number)

    def digest(self, old: str, number: int) -> str:
        group = number // SHARED.get(self.kinds[old], 1)
        return sha256_bytes(f"{old} {group}".encode())

    def _lineage(self, number: int) -> RunLineage:
        template = self.templates[self.verdict(number)]
        model = self.model(number)
        champion = self.champions.get(model, self.root(number))
        run = f"{model}/run-{number}"
        old_run = template["run"]

        def renamed(identifier: str) -> str:
            if identifier == CHAMPION:
                return champion
            if identifier in self.kinds:
                return self.digest(identifier, number)
            return identifier.replace(old_run, run)

        entities = {}
        for entity in template["entities"]:
            attributes = self._attributes(entity["attributes"], entity["kind"], number)
            fresh = entity | {"sha256": renamed(entity["sha256"]), "attributes": attributes}
            entities[fresh["sha256"]] = fresh | ({"name": model} if entity["kind"] == "model" else {})
        activities = [a | {"key": renamed(a["key"]), "run": run} for a in template["activities"]]
        relations = [
            r | {"source": renamed(r["source"]), "target": renamed(r["target"])}
            for r in template["relations"]
        ]
        if self.verdict(number) == "PROMOTE":
            self.champions[model] = self.root(number)
        value = template | {"run": run, "entities": list(entities.values())}
        return RunLineage.from_json(value | {"activities": activities, "relations": relations})

    def _attributes(self, attributes: dict[str, Any], kind: str, number: int) -> dict[str, Any]:
        changed = {
            "model": self.model(number),
            "version": self.version(number),
            "champion": self.version(number),
            "block_time": int(START.timestamp()) + 60 * number,
            "commit": sha256_bytes(f"commit {number // SHARED['code']}".encode())[:40],
        }
        return attributes | {name: value for name, value in changed.items() if name in attributes}

    def audits(self) -> Iterator[RunLineage]:
        last = [
            max(n for n in range(p, PIPELINES * 100, PIPELINES) if self.verdict(n) == "PROMOTE")
            for p in range(PIPELINES)
        ]
        for day in range(AUDITS):
            findings = []
            for number in last:
                bad = (number + day) % 50 == 0
                problems = ("check 5: train.parquet has other bytes",) if bad else ()
                model, version = self.model(number), self.version(number)
                findings.append(
                    AuditFinding(
                        model,
                        version,
                        self.root(number),
                        f"{model}/run-{number}",
                        "false" if bad else "holds",
                        problems,
                    )
                )
            moment = (START + timedelta(days=day)).isoformat()
            yield Audit(f"day {day}", moment, moment, tuple(findings)).lineage()


def load(graph: LineageGraph, fleet: Fleet, count: int) -> str:
    start, lineages = time.perf_counter(), fleet.lineages(count)
    nodes = relations = 0
    while some := list(islice(lineages, BATCH)):
        counts = graph.record_runs(some)
        nodes, relations = nodes + counts.nodes_created, relations + counts.relations_created
    seconds = time.perf_counter() - start
    for audit in fleet.audits():
        graph.record_run(audit)
    return f"{count / seconds:,.0f} runs/s ({nodes / seconds:,.0f} nodes/s, {relations / seconds:,.0f} relations/s)"


def questions(graph: LineageGraph, fleet: Fleet, count: int) -> dict[str, tuple[int, Callable[[], Any]]]:
    """Each question with how often to ask it; the arguments are drawn anew each time."""
    draw = random.Random(1)

    def any_run() -> int:
        return draw.randrange(count)

    def entity(kind: str, role: str = "") -> str:
        old = next(
            e["sha256"]
            for e in fleet.templates["HOLD"]["entities"]
            if e["kind"] == kind and role in e["name"]
        )
        return fleet.digest(old, any_run())

    def commit() -> str:
        return sha256_bytes(f"commit {any_run() // SHARED['code']}".encode())[:40]

    def two_versions() -> Any:
        number = any_run()
        model = fleet.model(number)
        return graph.version(model, fleet.version(number)), graph.version(model, "1")

    def a_moment() -> Any:
        return graph.champion_on(fleet.model(any_run()), START + timedelta(seconds=60 * any_run()))

    return {
        "everything a model came from": (100, lambda: graph.ancestry(fleet.root(any_run()))),
        "every champion trained on a split (100 runs)": (
            100,
            lambda: graph.champions_trained_on(entity("dataset", "train")),
        ),
        "every champion trained on a source (1,000 runs)": (
            50,
            lambda: graph.champions_trained_on(entity("source")),
        ),
        "every champion trained on a commit (50 runs)": (100, lambda: graph.champions_trained_on(commit())),
        "what differs between two versions": (100, two_versions),
        "what was champion on a date": (100, a_moment),
        "whose proof fails now (9,000 findings)": (20, graph.failing),
        "blast radius of a split (100 runs)": (20, lambda: graph.descendants(entity("dataset", "train"))),
        "everything about a run": (100, lambda: graph.run(f"{fleet.model(n := any_run())}/run-{n}")),
    }


def measure(repeats: int, ask: Callable[[], Any]) -> tuple[float, float]:
    """Milliseconds at the median and the 95th percentile; the first two answers warm the server up."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        ask()
        times.append(1000 * (time.perf_counter() - start))
    cuts = statistics.quantiles(times[2:], n=20)
    return cuts[9], cuts[18]


def ask_all(name: str, settings: GraphSettings, runs: int) -> None:
    fleet = Fleet()
    with LineageGraph(settings) as graph:
        print(f"\n{name}: loaded at {load(graph, fleet, runs)}, {BATCH} runs a transaction", flush=True)
        print("\n| question | p50, ms | p95, ms |\n|---|---:|---:|", flush=True)
        for question, (repeats, ask) in questions(graph, fleet, runs).items():
            middle, high = measure(repeats, ask)
            print(f"| {question} | {middle:,.1f} | {high:,.1f} |", flush=True)
        single = next(islice(fleet.lineages(1), 1))
        middle, high = measure(50, lambda: graph.record_run(single))
        print(f"| record a run again | {middle:,.1f} | {high:,.1f} |", flush=True)


def embedded(runs: int) -> None:
    stack = Stack.at()
    variables, state = stack.environment(), State.load(stack.home.state)
    assert state is not None
    settings = GraphSettings(
        variables["DRL_BOLT_URI"], USER, variables["DRL_BOLT_PASSWORD"], "lineage_benchmark"
    )

    def command(text: str) -> None:
        url = f"http://127.0.0.1:{state.ports['bolt']['http']}/api/v1/server"
        status, body = http(url, body={"command": text}, login=(USER, settings.password), timeout=60)
        assert status == 200, body

    command(f"create database {settings.database}")
    try:
        ask_all("Embedded server (ArcadeDB, 256 MB heap)", settings, runs)
    finally:
        command(f"drop database {settings.database}")


def neo4j(runs: int) -> None:
    settings = GraphSettings(*(os.environ[f"DRL_TEST_NEO4J_{part}"] for part in ("URI", "USER", "PASSWORD")))
    empty_neo4j(settings)
    ask_all("Neo4j 5.26 Community", settings, runs)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--runs", type=int, default=10_000)
    arguments.add_argument("--server", choices=SERVERS, action="append")
    given = arguments.parse_args()
    for server in given.server or SERVERS:
        {"embedded": embedded, "neo4j": neo4j}[server](given.runs)


if __name__ == "__main__":
    main()
