"""Airflow connections to clients of the outside systems.

Connection ids carry the ecosystem's names, and types and fields those of the official providers where one
exists: ``minio_default`` (aws), ``neo4j_default`` (neo4j), ``postgres_default`` (postgres).
``mlflow_default`` and ``evm_default`` are plain http connections. Clients are imported when first asked for,
never at parse time.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from drl.errors import InputError, StoreError

if TYPE_CHECKING:
    from drl.stores.chain import Ledger
    from drl.stores.graph import LineageGraph
    from drl.stores.registry import ModelRegistry
    from drl.stores.s3 import ArtifactStore
    from drl.stores.settings import LedgerNode, RegistrySettings

MINIO, NEO4J, MLFLOW, EVM, POSTGRES = (
    "minio_default",
    "neo4j_default",
    "mlflow_default",
    "evm_default",
    "postgres_default",
)


def artifact_store() -> ArtifactStore:
    """The S3 store, with the operators' rights."""
    from drl.stores.s3 import ArtifactStore
    from drl.stores.settings import S3Settings

    connection = BaseHook.get_connection(MINIO)
    return ArtifactStore(
        S3Settings(
            endpoint=_extra(connection, "endpoint_url"),
            access_key=_field(connection, "login"),
            secret_key=_field(connection, "password"),
        )
    )


def record_documents() -> ArtifactStore:
    """Documents of the bucket that no step may touch: the journals, and the list of runs."""
    from drl.stores.s3 import ArtifactStore

    settings = artifact_store().settings
    return ArtifactStore(replace(settings, staging=settings.sealed))


def step_environment() -> dict[str, str]:
    """What a step may know of the S3 store: credentials that reach the bucket ``staging`` only."""
    connection = BaseHook.get_connection(MINIO)
    return {
        "DRL_S3_ENDPOINT": _extra(connection, "endpoint_url"),
        "DRL_S3_ACCESS_KEY": _extra(connection, "step_login"),
        "DRL_S3_SECRET_KEY": _extra(connection, "step_password"),
    }


def lineage_graph() -> LineageGraph:
    """The lineage graph, over Bolt."""
    from drl.stores.graph import LineageGraph
    from drl.stores.settings import GraphSettings

    connection = BaseHook.get_connection(NEO4J)
    return LineageGraph(
        GraphSettings(
            uri=f"bolt://{connection.host}:{connection.port or 7687}",
            user=_field(connection, "login"),
            password=_field(connection, "password"),
            database=connection.schema or "neo4j",
        )
    )


def registry_settings() -> RegistrySettings:
    """Where the MLflow tracking server and registry is."""
    from drl.stores.settings import RegistrySettings

    connection = BaseHook.get_connection(MLFLOW)
    host = _field(connection, "host")
    address = host if "://" in host else f"http://{host}"
    return RegistrySettings(uri=f"{address}:{connection.port}" if connection.port else address)


def model_registry() -> ModelRegistry:
    """The MLflow tracking server and registry."""
    from drl.stores.registry import ModelRegistry

    return ModelRegistry(registry_settings())


def database() -> Any:
    """A new connection to PostgreSQL, through the provider's hook, which has one of two drivers.

    Raises:
        StoreError: it cannot be reached.
    """
    import psycopg
    import psycopg2
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    try:
        return PostgresHook(postgres_conn_id=POSTGRES).get_conn()
    except (psycopg.Error, psycopg2.Error) as error:
        raise StoreError(
            f"PostgreSQL of Airflow connection {POSTGRES} cannot be reached ({type(error).__name__})",
            remedy="start the server (`drl stack up`) or mend the connection",
        ) from None  # the message of the cause may quote the address


def exclusive(name: str) -> AbstractContextManager[None]:
    """Hold PostgreSQL's advisory lock ``name`` until the block ends, or this process dies.

    Raises:
        StoreError: the server cannot be reached, or was lost meanwhile.
    """
    from drl.stores.locks import exclusive

    return exclusive(database, name)


def ledger() -> Ledger:
    """The run ledger on the chain, with its outbox in PostgreSQL."""
    from drl.stores.chain import ChainSettings, Ledger

    connection = BaseHook.get_connection(EVM)
    extra = connection.extra_dejson
    settings = ChainSettings(
        rpc_url=_field(connection, "host"),
        chain_id=int(_number(connection, "chain_id", _extra(connection, "chain_id"))),
        private_key=_field(connection, "password"),
        contract=extra.get("contract"),
        genesis=extra.get("genesis"),
        finality=extra.get("finality", "instant"),
        max_fee_gwei=_number(connection, "max_fee_gwei", extra.get("max_fee_gwei", 100)),
        first_block=int(_number(connection, "first_block", extra.get("first_block", 0))),
    )
    client = Ledger(settings, database)
    if settings.contract is None:
        client.deploy()  # at an address that follows from chain and writer; done once, found ever after
    return client


def ledger_node() -> LedgerNode:
    """The node that answers for the run ledger's chain, for those who only read."""
    from drl.stores.settings import LedgerNode

    connection = BaseHook.get_connection(EVM)
    first = int(_number(connection, "first_block", connection.extra_dejson.get("first_block", 0)))
    finality = connection.extra_dejson.get("finality", "instant")
    return LedgerNode(_field(connection, "host"), finality, first)


def transaction_page() -> str | None:
    """Address of a transaction's page in a block explorer, with ``{tx}`` in it; None where there is none."""
    found = BaseHook.get_connection(EVM).extra_dejson.get("explorer")
    return str(found) if found else None


def registry_page() -> str:
    """Address of MLflow as a person's browser knows it."""
    found = BaseHook.get_connection(MLFLOW).extra_dejson.get("browser_url")
    return str(found or registry_settings().uri).rstrip("/")


def ledger_patience() -> timedelta:
    """How long a task waits for a chain that does not take its entry, before it fails."""
    connection = BaseHook.get_connection(EVM)
    hours = connection.extra_dejson.get("patience_hours", 4)
    return timedelta(hours=_number(connection, "patience_hours", hours))


def _number(connection: Any, name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(
            f"Airflow connection {connection.conn_id}: extra.{name} is {value!r}, not a number",
            remedy="see docs/operations.md for the fields of each connection",
        ) from None


def _field(connection: Any, name: str) -> str:
    value = getattr(connection, name)
    if not value:
        raise InputError(
            f"Airflow connection {connection.conn_id}: {name} is empty",
            remedy=f"set it: airflow connections add, or AIRFLOW_CONN_{connection.conn_id.upper()}",
        )
    return str(value)


def _extra(connection: Any, name: str) -> str:
    value = connection.extra_dejson.get(name)
    if value in (None, ""):
        raise InputError(
            f"Airflow connection {connection.conn_id}: extra.{name} is missing",
            remedy="see docs/operations.md for the fields of each connection",
        )
    return str(value)
