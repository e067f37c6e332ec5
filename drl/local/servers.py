"""The five servers of a stack, described from its home and its state."""

from __future__ import annotations

from dataclasses import dataclass

from drl.local.anvil import Anvil
from drl.local.arcadedb import ArcadeDB
from drl.local.home import Home
from drl.local.mlflow_server import MLflow
from drl.local.postgres import Postgres, data_folder
from drl.local.seaweedfs import SeaweedFS
from drl.local.server import Server
from drl.local.state import State

KINDS: tuple[type[Server], ...] = (Postgres, SeaweedFS, ArcadeDB, Anvil, MLflow)
NAMES = tuple(kind.name for kind in KINDS)


@dataclass(frozen=True)
class Servers:
    """All servers of one stack, by role."""

    postgres: Postgres
    s3: SeaweedFS
    bolt: ArcadeDB
    evm: Anvil
    mlflow: MLflow

    @classmethod
    def of(cls, home: Home, state: State) -> Servers:
        """Describe the servers; the state must know a port for every one of them."""
        keys, ports = state.credentials, state.ports
        postgres = Postgres(
            data_folder(home.data("postgres")), ports["postgres"], password=keys.postgres_password
        )
        s3 = SeaweedFS(
            home.data("s3"),
            ports["s3"],
            operator=keys.s3_operator,
            step=keys.s3_step,
            mlflow=keys.s3_mlflow,
            signing_key=keys.s3_signing_key,
        )
        return cls(
            postgres=postgres,
            s3=s3,
            bolt=ArcadeDB(home.data("bolt"), ports["bolt"], password=keys.bolt_password),
            evm=Anvil(home.data("evm"), ports["evm"], address=keys.evm_address, cache=home.cache),
            mlflow=MLflow(
                home.data("mlflow"),
                ports["mlflow"],
                database_uri=postgres.uri("mlflow"),
                s3_endpoint=s3.endpoint,
                s3_key=keys.s3_mlflow,
            ),
        )

    def all(self) -> tuple[Server, ...]:
        """Return them in the order of their start."""
        return (self.postgres, self.s3, self.bolt, self.evm, self.mlflow)
