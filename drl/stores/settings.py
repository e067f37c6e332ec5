"""Where the stores are and how to log in: one frozen dataclass for each, read from ``DRL_*`` variables.

Secrets and passwords are left out of every ``repr``; addresses may not carry any.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from drl.errors import InputError


def read_variable(name: str, *, default: str | None = None) -> str:
    """The environment variable ``name``, or ``default`` when it is unset or empty.

    Raises:
        InputError: it is unset and there is no default.
    """
    value = os.environ.get(name, "") or default
    if value is None:
        raise InputError(
            f"environment variable {name} is not set",
            remedy="start the embedded stack with `drl stack up` and load its variables, or set it by hand",
        )
    return value


def require_address(value: str, *, where: str, schemes: tuple[str, ...]) -> str:
    """Return ``value`` if it is an address with one of ``schemes`` and without user name or password.

    Raises:
        InputError: it is not; the message never repeats the value, which may hold a password.
    """
    parts = urlsplit(value)
    if parts.scheme not in schemes or not parts.hostname:
        raise InputError(
            f"{where}: not an address with scheme {' or '.join(schemes)}",
            remedy=f"give {schemes[0]}://HOST:PORT",
        )
    if parts.username is not None or parts.password is not None:
        raise InputError(
            f"{where}: the address carries a user name or a password",
            remedy="give the address alone and the credentials by their own settings: addresses get logged",
        )
    return value


@dataclass(frozen=True)
class S3Settings:
    """An S3 server and its two buckets.

    Attributes:
        endpoint: ``http(s)://host:port``.
        access_key: public half of the credentials.
        secret_key: secret half.
        region: any name; only AWS cares.
        staging: bucket that steps write to.
        sealed: bucket with object lock that only operators write to.
    """

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"
    staging: str = "staging"
    sealed: str = "sealed"

    def __post_init__(self) -> None:
        require_address(self.endpoint, where="S3 endpoint", schemes=("http", "https"))

    @classmethod
    def from_environment(cls) -> S3Settings:
        """Read ``DRL_S3_{ENDPOINT,ACCESS_KEY,SECRET_KEY}`` and, optional, ``_{REGION,STAGING,SEALED}``."""
        return cls(
            endpoint=read_variable("DRL_S3_ENDPOINT"),
            access_key=read_variable("DRL_S3_ACCESS_KEY"),
            secret_key=read_variable("DRL_S3_SECRET_KEY"),
            region=read_variable("DRL_S3_REGION", default="us-east-1"),
            staging=read_variable("DRL_S3_STAGING", default="staging"),
            sealed=read_variable("DRL_S3_SEALED", default="sealed"),
        )


@dataclass(frozen=True)
class GraphSettings:
    """A Bolt server: Neo4j, or one that speaks its protocol."""

    uri: str
    user: str
    password: str = field(repr=False)
    database: str = "neo4j"

    def __post_init__(self) -> None:
        schemes = ("bolt", "neo4j", "bolt+s", "neo4j+s", "bolt+ssc", "neo4j+ssc")
        require_address(self.uri, where="Bolt address", schemes=schemes)

    @classmethod
    def from_environment(cls) -> GraphSettings:
        """Read ``DRL_BOLT_{URI,USER,PASSWORD}`` and, optional, ``DRL_BOLT_DATABASE``."""
        return cls(
            uri=read_variable("DRL_BOLT_URI"),
            user=read_variable("DRL_BOLT_USER"),
            password=read_variable("DRL_BOLT_PASSWORD"),
            database=read_variable("DRL_BOLT_DATABASE", default="neo4j"),
        )


@dataclass(frozen=True)
class RegistrySettings:
    """An MLflow tracking server; a login goes into ``MLFLOW_TRACKING_USERNAME`` and ``_PASSWORD``."""

    uri: str

    def __post_init__(self) -> None:
        require_address(self.uri, where="MLflow address", schemes=("http", "https"))

    @classmethod
    def from_environment(cls) -> RegistrySettings:
        """Read ``DRL_MLFLOW_URI``."""
        return cls(uri=read_variable("DRL_MLFLOW_URI"))


@dataclass(frozen=True)
class LedgerNode:
    """A node of the chain that holds the run ledger, for reading.

    Attributes:
        rpc_url: its JSON-RPC address, which may hold a key.
        finality: when an entry counts: ``instant``, ``depth:N``, ``tag:safe`` or ``tag:finalized``.
        first_block: a block at or before the contract's creation.
    """

    rpc_url: str = field(repr=False)
    finality: str
    first_block: int
