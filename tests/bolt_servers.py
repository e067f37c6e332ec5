"""The Bolt servers that lineage is tested on: the embedded one, and a Neo4j where the environment names one.

``DRL_TEST_NEO4J_URI``, ``_USER`` and ``_PASSWORD`` give a Neo4j whose only database tests may empty.
"""

from __future__ import annotations

import os
import secrets
from typing import Any

import neo4j

from drl.local.arcadedb import USER
from drl.local.probes import http
from drl.local.stack import Stack
from drl.local.state import State
from drl.stores.settings import GraphSettings

SERVERS = ["embedded", *(["neo4j"] if "DRL_TEST_NEO4J_URI" in os.environ else [])]


def settings_of(server: str, stack: Stack) -> GraphSettings:
    """How to reach a server's database, whatever is in it."""
    if server == "neo4j":
        return GraphSettings(*(os.environ[f"DRL_TEST_NEO4J_{part}"] for part in ("URI", "USER", "PASSWORD")))
    names = ("URI", "USER", "PASSWORD", "DATABASE")
    return GraphSettings(*(stack.environment()[f"DRL_BOLT_{name}"] for name in names))


def empty_database(server: str, stack: Stack) -> GraphSettings:
    """A database with nothing in it: a new one, or Neo4j's only one emptied."""
    settings = settings_of(server, stack)
    if server == "neo4j":
        empty_neo4j(settings)
        return settings
    state = State.load(stack.home.state)
    assert state is not None
    name = f"lineage{secrets.token_hex(4)}"
    status, body = http(
        f"http://127.0.0.1:{state.ports['bolt']['http']}/api/v1/server",
        body={"command": f"create database {name}"},
        login=(USER, settings.password),
        timeout=30,
    )
    assert status == 200, body
    return GraphSettings(settings.uri, settings.user, settings.password, name)


def empty_neo4j(settings: GraphSettings) -> None:
    """Delete everything, in transactions that a small heap can hold."""
    some = "MATCH (n) WITH n LIMIT 5000 DETACH DELETE n RETURN count(*) AS n"
    while cypher(settings, some)[0]["n"]:
        pass


def cypher(settings: GraphSettings, statement: str, **parameters: Any) -> list[neo4j.Record]:
    """Run a statement as somebody with the official driver would."""
    auth = (settings.user, settings.password)
    with neo4j.GraphDatabase.driver(settings.uri, auth=auth) as driver:
        records, _, _ = driver.execute_query(statement, parameters, database_=settings.database)
    return records
