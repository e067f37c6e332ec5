"""The MLflow tracking server, on the stack's PostgreSQL and with the artifacts in the stack's S3 store.

``mlflow server`` imports MLflow twice, in the command and in the worker that it starts; that alone is longer
than the whole stack may take. So the worker is started directly, with the variables that the command sets
(``mlflow.server._run_server`` of MLflow 3.17). Clients upload and read artifacts through the server: they
need no S3 credentials.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from drl.errors import StoreError
from drl.local.packages import package_folder
from drl.local.probes import http
from drl.local.seaweedfs import REGION, S3Key
from drl.local.server import HOST, Say, Server

DISTRIBUTION = "mlflow"
BUCKET = "mlflow"
FIRST_REQUEST_TIMEOUT = 60.0
"""Seconds for the first request, which makes or migrates the tables."""


@dataclass(frozen=True)
class MLflow(Server):
    """MLflow with one worker and without job execution, telemetry or Docker; bound to loopback."""

    database_uri: str = field(repr=False)
    s3_endpoint: str
    s3_key: S3Key

    name: ClassVar[str] = "mlflow"
    needs: ClassVar[tuple[str, ...]] = ("postgres", "s3")

    @property
    def uri(self) -> str:
        """Address for MLflow clients."""
        return f"http://{HOST}:{self.port}"

    def command(self) -> list[str]:
        """Return the worker's command line; ``--app-dir`` makes it tell one home from another."""
        return [
            *(
                sys.executable,
                "-m",
                "uvicorn",
                "--app-dir",
                str(self.data),
                "--host",
                HOST,
                "--port",
                str(self.port),
            ),
            *("--log-level", "warning", "--timeout-graceful-shutdown", "5", "mlflow.server.fastapi_app:app"),
        ]

    def environment(self) -> dict[str, str]:
        """Return the server's settings."""
        hosts = ("localhost", HOST)
        settings: Mapping[str, str] = {
            "_MLFLOW_SERVER_FILE_STORE": self.database_uri,
            "_MLFLOW_SERVER_REGISTRY_STORE": self.database_uri,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": f"s3://{BUCKET}",
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SGI_NAME": "uvicorn",
            "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(f"{host},{host}:{self.port}" for host in hosts),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "_MLFLOW_TELEMETRY_PRE_WARM_DATABRICKS_SDK": "false",
            "MLFLOW_S3_ENDPOINT_URL": self.s3_endpoint,
            "AWS_ACCESS_KEY_ID": self.s3_key.access,
            "AWS_SECRET_ACCESS_KEY": self.s3_key.secret,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
            # Its own folder only: with a docker program in sight MLflow would tidy up containers.
            "PATH": str(Path(sys.executable).parent),
        }
        return dict(settings)

    def prepare(self, say: Say) -> None:
        """Make the data folder and see that MLflow is installed."""
        package_folder("mlflow", DISTRIBUTION)
        super().prepare(say)

    def answers(self) -> bool:
        """Tell whether the worker has been imported; it has not opened the database yet."""
        return http(f"{self.uri}/health")[0] == 200

    def initialise(self) -> None:
        """Send the first request, alone: it makes or migrates the tables."""
        if not self._search(FIRST_REQUEST_TIMEOUT):
            raise StoreError("MLflow's tables cannot be made yet", remedy="Try again.")

    def ready(self) -> bool:
        """Tell whether a search in the database succeeds."""
        return self.answers() and self._search(5.0)

    def _search(self, timeout: float) -> bool:
        address = f"{self.uri}/api/2.0/mlflow/experiments/search"
        return http(address, body={"max_results": 1}, timeout=timeout)[0] == 200
