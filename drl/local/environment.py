"""How programs find the stack: ``DRL_*`` variables and Airflow's connections. They hold secrets."""

from __future__ import annotations

import json
from typing import Any

from drl.local import arcadedb
from drl.local.anvil import CHAIN_ID
from drl.local.postgres import USER as POSTGRES_USER
from drl.local.seaweedfs import REGION
from drl.local.server import HOST
from drl.local.servers import Servers
from drl.local.state import Credentials


def environment(servers: Servers, credentials: Credentials) -> dict[str, str]:
    """Return the variables of a stack: settings of ``drl`` itself and Airflow's connections."""
    return _settings(servers, credentials) | _connections(servers, credentials)


def _settings(servers: Servers, credentials: Credentials) -> dict[str, str]:
    return {
        "DRL_S3_ENDPOINT": servers.s3.endpoint,
        "DRL_S3_ACCESS_KEY": credentials.s3_operator.access,
        "DRL_S3_SECRET_KEY": credentials.s3_operator.secret,
        "DRL_S3_STEP_ACCESS_KEY": credentials.s3_step.access,
        "DRL_S3_STEP_SECRET_KEY": credentials.s3_step.secret,
        "DRL_BOLT_URI": servers.bolt.uri,
        "DRL_BOLT_USER": arcadedb.USER,
        "DRL_BOLT_PASSWORD": credentials.bolt_password,
        "DRL_BOLT_DATABASE": arcadedb.DATABASE,
        "DRL_EVM_RPC_URL": servers.evm.url,
        "DRL_EVM_CHAIN_ID": str(CHAIN_ID),
        "DRL_EVM_PRIVATE_KEY": credentials.evm_private_key,
        "DRL_MLFLOW_URI": servers.mlflow.uri,
        "DRL_POSTGRES_URI": servers.postgres.uri("drl", driver=""),
    }


def _connections(servers: Servers, credentials: Credentials) -> dict[str, str]:
    connections: dict[str, dict[str, Any]] = {
        "MINIO": {
            "conn_type": "aws",
            "login": credentials.s3_operator.access,
            "password": credentials.s3_operator.secret,
            "extra": {
                "endpoint_url": servers.s3.endpoint,
                "region_name": REGION,
                "step_login": credentials.s3_step.access,
                "step_password": credentials.s3_step.secret,
            },
        },
        "NEO4J": {
            "conn_type": "neo4j",
            "host": HOST,
            "port": servers.bolt.port,
            "login": arcadedb.USER,
            "password": credentials.bolt_password,
            "schema": arcadedb.DATABASE,
        },
        "MLFLOW": {"conn_type": "http", "host": f"http://{HOST}", "port": servers.mlflow.port},
        "EVM": {
            "conn_type": "http",
            "host": servers.evm.url,
            "password": credentials.evm_private_key,
            "extra": {"chain_id": CHAIN_ID},
        },
        "POSTGRES": {
            "conn_type": "postgres",
            "host": HOST,
            "port": servers.postgres.port,
            "login": POSTGRES_USER,
            "password": credentials.postgres_password,
            "schema": "drl",
        },
    }
    variables = {f"AIRFLOW_CONN_{name}_DEFAULT": json.dumps(value) for name, value in connections.items()}
    return variables | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": servers.postgres.uri("airflow")}
