"""Draw every secret of the Kubernetes deployment once, and write the files that kustomize makes Secrets of.

The values are kept in ``values.json`` of the folder; everything else there is written from it, so that a
second call changes nothing, and a newer version of this file adds what is missing. All files have mode 0600
and are ignored by git.

Usage: ``python deployment/k8s/make_secrets.py [FOLDER]``
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import rlp
from eth_account import Account
from eth_keys.datatypes import PrivateKey

HERE = Path(__file__).resolve().parent
CHAIN_ID = 31337
VALIDATORS = 4
FUNDS_WEI = 10_000 * 10**18
S3_USERS = ("operator", "step", "mlflow", "backup", "serving", "pages")

POSTGRES = "postgres-service.drl-data.svc"
S3 = "http://minio-service.drl-data.svc:9000"
BOLT = "neo4j-service.drl-data.svc"
EVM = "http://evm-service.drl-data.svc:8545"
MLFLOW = "http://mlflow-service.drl-system.svc"
MLFLOW_PORT = 5000

Values = dict[str, str]
Connections = dict[str, dict[str, Any]]


def main(folder: Path) -> None:
    """Write all files below ``folder``."""
    values = _values(folder / "values.json")
    for name, text in files(values).items():
        _write(folder / name, text)


def files(values: Values) -> dict[str, str]:
    """Every file by its path below the folder, with its text."""
    return {
        "postgres.env": _env(
            POSTGRES_PASSWORD=values["postgres_superuser"],
            AIRFLOW_PASSWORD=values["postgres_airflow"],
            MLFLOW_PASSWORD=values["postgres_mlflow"],
            DRL_PASSWORD=values["postgres_drl"],
        ),
        "minio.env": _env(
            MINIO_ROOT_USER="root",
            MINIO_ROOT_PASSWORD=values["s3_root"],
            **{f"{user.upper()}_SECRET_KEY": values[f"s3_{user}"] for user in S3_USERS},
        ),
        "neo4j.env": _env(NEO4J_AUTH=f"neo4j/{values['neo4j']}"),
        "evm.env": _env(ANVIL_MNEMONIC=values["evm_mnemonic"]),
        "mlflow.env": _env(
            MLFLOW_BACKEND_STORE_URI=_postgres("mlflow", values),
            AWS_ACCESS_KEY_ID="mlflow",
            AWS_SECRET_ACCESS_KEY=values["s3_mlflow"],
        ),
        "airflow-core.env": _env(
            AIRFLOW__CORE__FERNET_KEY=values["airflow_fernet"],
            AIRFLOW__API__SECRET_KEY=values["airflow_api"],
            AIRFLOW__API_AUTH__JWT_SECRET=values["airflow_jwt"],
            AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=_postgres("airflow", values, driver="+psycopg2"),
        ),
        "airflow-connections.env": _env(**_as_variables(_connections(values)), **_settings(values)),
        "airflow-pages.env": _env(**_as_variables(_pages(values))),
        "passwords.json": json.dumps({"admin": values["airflow_admin"]}) + "\n",
        "step-store.env": _env(
            DRL_S3_ENDPOINT=S3, DRL_S3_ACCESS_KEY="step", DRL_S3_SECRET_KEY=values["s3_step"]
        ),
        "backups/backups.env": _env(
            PGPASSWORD=values["postgres_superuser"],
            BACKUP_SECRET_KEY=values["s3_backup"],
            NEO4J_PASSWORD=values["neo4j"],
        ),
        "drl-api/drl-api.env": _env(
            DRL_S3_ENDPOINT=S3, DRL_S3_ACCESS_KEY="serving", DRL_S3_SECRET_KEY=values["s3_serving"]
        ),
        "drl-api/keys.json": _api_keys(values),
        "s3-seaweedfs/identities.json": _identities(values),
        "s3-seaweedfs/signing.env": _env(**dict.fromkeys(_SEAWEEDFS_KEYS, values["seaweedfs_signing"])),
        **_besu(values),
    }


def _connections(values: Values) -> Connections:
    """Airflow's connections, with the types and fields of docs/operations.md."""
    return {
        "MINIO": {
            "conn_type": "aws",
            "login": "operator",
            "password": values["s3_operator"],
            "extra": {
                "endpoint_url": S3,
                "region_name": "us-east-1",
                "step_login": "step",
                "step_password": values["s3_step"],
            },
        },
        "NEO4J": {
            "conn_type": "neo4j",
            "host": BOLT,
            "port": 7687,
            "login": "neo4j",
            "password": values["neo4j"],
            "schema": "neo4j",
        },
        "MLFLOW": {"conn_type": "http", "host": MLFLOW, "port": MLFLOW_PORT},
        "EVM": {
            "conn_type": "http",
            "host": EVM,
            "password": _writer(values).key.to_0x_hex(),
            "extra": {"chain_id": CHAIN_ID},
        },
        "POSTGRES": {
            "conn_type": "postgres",
            "host": POSTGRES,
            "port": 5432,
            "login": "drl",
            "password": values["postgres_drl"],
            "schema": "drl",
        },
    }


def _pages(values: Values) -> Connections:
    """The connections of the api-server, for the pages: none can sign, pay or write to the store.

    Neo4j's Community edition has no users who may only read.
    """
    connections = _connections(values)
    by_port_forward = {"browser_url": f"http://localhost:{MLFLOW_PORT}"}  # as api.base_url is
    store = {"endpoint_url": S3, "region_name": "us-east-1"}
    return {
        "MINIO": {"conn_type": "aws", "login": "pages", "password": values["s3_pages"], "extra": store},
        "NEO4J": connections["NEO4J"],
        "MLFLOW": {**connections["MLFLOW"], "extra": by_port_forward},
        "EVM": {name: value for name, value in connections["EVM"].items() if name != "password"},
    }


def _as_variables(connections: Connections) -> Values:
    return {f"AIRFLOW_CONN_{name}_DEFAULT": json.dumps(value) for name, value in connections.items()}


def _settings(values: Values) -> Values:
    """What the command ``drl`` reads in the scheduler's pod."""
    return {
        "DRL_S3_ENDPOINT": S3,
        "DRL_S3_ACCESS_KEY": "operator",
        "DRL_S3_SECRET_KEY": values["s3_operator"],
        "DRL_S3_STEP_ACCESS_KEY": "step",
        "DRL_S3_STEP_SECRET_KEY": values["s3_step"],
        "DRL_BOLT_URI": f"bolt://{BOLT}:7687",
        "DRL_BOLT_USER": "neo4j",
        "DRL_BOLT_PASSWORD": values["neo4j"],
        "DRL_BOLT_DATABASE": "neo4j",
        "DRL_EVM_RPC_URL": EVM,
        "DRL_EVM_CHAIN_ID": str(CHAIN_ID),
        "DRL_EVM_PRIVATE_KEY": _writer(values).key.to_0x_hex(),
        "DRL_MLFLOW_URI": f"{MLFLOW}:{MLFLOW_PORT}",
        "DRL_POSTGRES_URI": _postgres("drl", values),
    }


def _api_keys(values: Values) -> str:
    """The keys of drl-api as its pod has them: by digest."""
    roles = {"api_act": ["act", "read"], "api_metrics": ["metrics"]}
    keys = [
        {"name": name, "roles": allowed, "sha256": hashlib.sha256(values[name].encode()).hexdigest()}
        for name, allowed in roles.items()
    ]
    return json.dumps({"keys": keys}, indent=1) + "\n"


_SEAWEEDFS_KEYS = (
    "WEED_JWT_SIGNING_KEY",
    "WEED_JWT_SIGNING_READ_KEY",
    "WEED_JWT_FILER_SIGNING_KEY",
    "WEED_JWT_FILER_SIGNING_READ_KEY",
)


def _identities(values: Values) -> str:
    """SeaweedFS' users: the same names and rights as MinIO's."""
    rights = ("Read", "Write", "List", "Tagging")
    actions = {
        "root": ["Admin", *rights],
        "operator": ["Admin", *rights],
        "step": [f"{right}:staging" for right in rights],
        "mlflow": [f"{right}:mlflow" for right in rights],
        "backup": ["Read", "List"],
        "serving": ["Read:sealed", "List:sealed"],
        "pages": [f"{right}:{bucket}" for bucket in ("staging", "sealed") for right in ("Read", "List")],
    }
    identities = [
        {
            "name": name,
            "credentials": [{"accessKey": name, "secretKey": values[f"s3_{name}"]}],
            "actions": allowed,
        }
        for name, allowed in actions.items()
    ]
    return json.dumps({"identities": identities}, indent=1) + "\n"


def _besu(values: Values) -> dict[str, str]:
    """Validators' keys, the genesis block that names them and funds the writer, and the nodes' addresses."""
    keys = [PrivateKey(bytes.fromhex(values[f"besu_validator_{n}"])) for n in range(VALIDATORS)]
    vanity, votes, round_number, seals = bytes(32), [], b"", []
    addresses = [key.public_key.to_canonical_address() for key in keys]
    extra_data = rlp.encode([vanity, addresses, votes, round_number, seals])
    genesis = {
        "config": {
            "chainId": CHAIN_ID,
            "londonBlock": 0,
            "shanghaiTime": 0,
            "cancunTime": 0,
            "zeroBaseFee": True,
            "qbft": {"blockperiodseconds": 2, "epochlength": 30000, "requesttimeoutseconds": 4},
        },
        "nonce": "0x0",
        "timestamp": "0x0",
        "gasLimit": "0x1fffffffffffff",
        "difficulty": "0x1",
        "mixHash": "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365",  # marks QBFT
        "coinbase": "0x" + "0" * 40,
        "extraData": "0x" + extra_data.hex(),
        "alloc": {_writer(values).address: {"balance": hex(FUNDS_WEI)}},
    }
    nodes = [
        f"enode://{key.public_key.to_bytes().hex()}@evm-besu-{n}.evm-besu.drl-data.svc.cluster.local:30303"
        for n, key in enumerate(keys)
    ]
    return {
        "evm-besu/genesis.json": json.dumps(genesis, indent=1) + "\n",
        "evm-besu/static-nodes.json": json.dumps(nodes, indent=1) + "\n",
        **{f"evm-besu/validator-{n}.key": key.to_hex() + "\n" for n, key in enumerate(keys)},
    }


def _values(path: Path) -> Values:
    """The kept values, with those drawn that are missing."""
    kept: Values = json.loads(path.read_bytes()) if path.exists() else {}
    drawn = _draw()
    values = drawn | {name: value for name, value in kept.items() if name in drawn}
    _write(path, json.dumps(values, indent=1, sort_keys=True) + "\n")
    return values


def _draw() -> Values:
    Account.enable_unaudited_hdwallet_features()
    _, mnemonic = Account.create_with_mnemonic(num_words=24)
    hexadecimal = (
        *("postgres_superuser", "postgres_airflow", "postgres_mlflow", "postgres_drl", "neo4j"),
        *("airflow_api", "airflow_jwt", "s3_root", "seaweedfs_signing"),
        *(f"s3_{user}" for user in S3_USERS),
        *(f"besu_validator_{n}" for n in range(VALIDATORS)),
    )
    return {
        **{name: secrets.token_hex(32) for name in hexadecimal},
        "airflow_fernet": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "airflow_admin": secrets.token_urlsafe(18),
        "evm_mnemonic": mnemonic,
        "api_act": f"drl_{secrets.token_urlsafe(32)}",
        "api_metrics": f"drl_{secrets.token_urlsafe(32)}",
    }


def _writer(values: Values) -> Any:
    """The account that writes to the ledger: the mnemonic's first."""
    Account.enable_unaudited_hdwallet_features()
    return Account.from_mnemonic(values["evm_mnemonic"])


def _postgres(role: str, values: Values, driver: str = "") -> str:
    return f"postgresql{driver}://{role}:{values[f'postgres_{role}']}@{POSTGRES}:5432/{role}"


def _env(**variables: str) -> str:
    return "".join(f"{name}={value}\n" for name, value in variables.items())


def _write(path: Path, text: str) -> None:
    """Write a file that its owner alone may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.replace(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "secrets")
