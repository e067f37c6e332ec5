"""Save a graph over Bolt into a file of JSON lines, or restore the newest such file into an empty graph.

Usage: ``graph_backup.py save|restore FOLDER``, with ``NEO4J_URI``, ``NEO4J_USER``, ``NEO4J_PASSWORD``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from neo4j import Driver, GraphDatabase
from neo4j.exceptions import ServiceUnavailable
from neo4j.time import Date, DateTime, Duration, Time

KEPT = 14
BATCH = 1000
WAIT_SECONDS = 600.0
NODES = "MATCH (n) RETURN elementId(n) AS id, labels(n) AS labels, properties(n) AS properties"
EDGES = (
    "MATCH (a)-[e]->(b) "
    "RETURN elementId(a) AS start, elementId(b) AS end, type(e) AS type, properties(e) AS properties"
)
MARK, ID = "`_Restored`", "`_restored_id`"
# No property of a node or edge is a map, so a map among them is one of these.
TIMES = {"$" + kind.__name__: kind for kind in (Date, DateTime, Duration, Time)}

Row = dict[str, Any]


def main(action: str, folder: Path) -> None:
    """Do one of the two."""
    login = (os.environ["NEO4J_USER"], os.environ["NEO4J_PASSWORD"])
    with GraphDatabase.driver(os.environ["NEO4J_URI"], auth=login) as driver:
        _wait(driver)
        if action == "save":
            save(driver, folder)
        else:
            restore(driver, folder)


def save(driver: Driver, folder: Path) -> None:
    """Write nodes, then edges, in one reading transaction; keep the newest files."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "partial"
    with driver.session() as session, session.begin_transaction() as reading, partial.open("w") as file:
        for query in (NODES, EDGES):
            for record in reading.run(query):
                file.write(json.dumps(_to_json(record.data()), sort_keys=True) + "\n")
    target = folder / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}.jsonl"
    partial.replace(target)
    for old in sorted(folder.glob("*.jsonl"))[:-KEPT]:
        old.unlink()
    print(f"saved {target}")


def restore(driver: Driver, folder: Path) -> None:
    """Make the newest file's nodes and edges; a graph that has a node already is left alone."""
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise SystemExit(f"no *.jsonl in {folder}: put the backup there first")
    if driver.execute_query("MATCH (n) RETURN count(n) AS n").records[0]["n"]:
        raise SystemExit("the graph is not empty: nothing is restored over it")
    driver.execute_query(f"CREATE INDEX restored IF NOT EXISTS FOR (n:{MARK}) ON (n.{ID})")
    driver.execute_query("CALL db.awaitIndexes(300)")
    with files[-1].open() as file:
        rows = [json.loads(line, object_hook=_time_from_json) for line in file]
    _make_nodes(driver, (row for row in rows if "labels" in row))
    _make_edges(driver, (row for row in rows if "type" in row))
    while driver.execute_query(
        f"MATCH (n:{MARK}) WITH n LIMIT {BATCH} REMOVE n:{MARK}, n.{ID} RETURN count(n) AS n"
    ).records[0]["n"]:
        pass
    driver.execute_query("DROP INDEX restored")
    print(f"restored {files[-1]}: {len(rows)} nodes and edges")


def _make_nodes(driver: Driver, rows: Iterable[Row]) -> None:
    for labels, group in _grouped(rows, lambda row: "".join(f":{_quoted(n)}" for n in row["labels"])):
        driver.execute_query(
            f"UNWIND $rows AS row CREATE (n:{MARK}{labels}) SET n = row.properties, n.{ID} = row.id",
            rows=group,
        )


def _make_edges(driver: Driver, rows: Iterable[Row]) -> None:
    for kind, group in _grouped(rows, lambda row: _quoted(row["type"])):
        driver.execute_query(
            f"UNWIND $rows AS row MATCH (a:{MARK} {{{ID}: row.start}}), (b:{MARK} {{{ID}: row.end}}) "
            f"CREATE (a)-[e:{kind}]->(b) SET e = row.properties",
            rows=group,
        )


def _grouped(rows: Iterable[Row], key: Any) -> Iterator[tuple[str, list[Row]]]:
    """Batches of rows that one query can make: labels and types are part of its text."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    for name, members in groups.items():
        remaining = iter(members)
        while batch := list(islice(remaining, BATCH)):
            yield name, batch


def _to_json(value: Any) -> Any:
    if (mark := f"${type(value).__name__}") in TIMES:
        return {mark: value.iso_format()}
    if isinstance(value, dict):
        return {key: _to_json(each) for key, each in value.items()}
    if type(value) is list:
        return [_to_json(each) for each in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise SystemExit(f"a property of type {type(value).__name__} cannot be saved: take neo4j-admin's dump")


def _time_from_json(value: Row) -> Any:
    if len(value) == 1 and (kind := TIMES.get(next(iter(value)))):
        return kind.from_iso_format(next(iter(value.values())))
    return value


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _wait(driver: Driver) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            driver.verify_connectivity()
        except ServiceUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(2)
        else:
            return


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
