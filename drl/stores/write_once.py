"""Proof that the server keeps what it locked: somebody has to try.

Two questions, because a server may lie in either: does it *say* no to everything that would break a lock, and
are bytes and lock *still there* when everything was tried?
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from drl.stores.s3_client import connect, error_code, refusals

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectLockRetentionOutputTypeDef, ObjectLockRetentionTypeDef

    from drl.stores.settings import S3Settings

_LOCK_SECONDS = 60
_OTHER = b"other"


@dataclass(frozen=True)
class Check:
    """One attempt on the canary.

    Attributes:
        name: what was tried.
        ok: whether the server behaved as a write-once store must.
        detail: what it answered.
    """

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class _Canary:
    """A few locked bytes, and what S3 lets one try on that version."""

    client: S3Client
    bucket: str
    key: str
    version: str
    until: datetime

    @property
    def data(self) -> bytes:
        return self.key.encode()

    def read(self) -> bytes:
        reply = self.client.get_object(Bucket=self.bucket, Key=self.key, VersionId=self.version)
        return reply["Body"].read()

    def lock(self) -> ObjectLockRetentionOutputTypeDef:
        reply = self.client.get_object_retention(Bucket=self.bucket, Key=self.key, VersionId=self.version)
        return reply.get("Retention", {})

    def delete(self, *, bypass: bool) -> None:
        self.client.delete_object(
            Bucket=self.bucket, Key=self.key, VersionId=self.version, BypassGovernanceRetention=bypass
        )

    def delete_in_a_batch(self) -> None:
        """A batch answers 200 and lists what it refused."""
        reply = self.client.delete_objects(
            Bucket=self.bucket,
            Delete={"Objects": [{"Key": self.key, "VersionId": self.version}]},
            BypassGovernanceRetention=True,
        )
        for refused in reply.get("Errors", []):
            raise ClientError({"Error": {"Code": refused.get("Code", "unknown")}}, "DeleteObjects")

    def retain(self, retention: ObjectLockRetentionTypeDef, *, bypass: bool) -> None:
        self.client.put_object_retention(
            Bucket=self.bucket,
            Key=self.key,
            VersionId=self.version,
            Retention=retention,
            BypassGovernanceRetention=bypass,
        )

    def overwrite(self) -> None:
        self.client.put_object(Bucket=self.bucket, Key=self.key, Body=_OTHER, IfNoneMatch="*")


def prove_write_once(settings: S3Settings) -> list[Check]:
    """Lock a canary for a minute in the sealed bucket, and try all that S3 knows against it.

    Each attempt on the locked version has to be refused. Writing the same key again is allowed, because it
    adds a version above; bytes and lock have to be there after all of it. The few bytes stay behind below
    ``canary/``, because that is the point.

    Raises:
        StoreError: the server is out of reach, or refuses even to lock.
    """
    with refusals(settings, f"locking a canary in bucket {settings.sealed}"):
        canary = _lock(settings)
        attempts = [_refused(name, attempt) for name, attempt in _attempts(canary).items()]
        _write_above(canary)
        return [*attempts, *_still_there(canary)]


def _lock(settings: S3Settings) -> _Canary:
    client, bucket, key = connect(settings), settings.sealed, f"canary/{secrets.token_hex(8)}"
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=_LOCK_SECONDS)
    reply = client.put_object(
        Bucket=bucket,
        Key=key,
        Body=key.encode(),
        IfNoneMatch="*",
        ObjectLockMode="COMPLIANCE",
        ObjectLockRetainUntilDate=until,
    )
    return _Canary(client, bucket, key, reply.get("VersionId", "null"), until)


def _attempts(canary: _Canary) -> dict[str, Callable[[], None]]:
    """Everything that must be refused."""
    sooner = canary.until - timedelta(seconds=_LOCK_SECONDS // 2)
    shorter: ObjectLockRetentionTypeDef = {"Mode": "COMPLIANCE", "RetainUntilDate": sooner}
    weaker: ObjectLockRetentionTypeDef = {"Mode": "GOVERNANCE", "RetainUntilDate": canary.until}
    return {
        "delete the locked version": lambda: canary.delete(bypass=False),
        "delete it with the governance bypass": lambda: canary.delete(bypass=True),
        "delete it in a batch": canary.delete_in_a_batch,
        "shorten the lock": lambda: canary.retain(shorter, bypass=False),
        "shorten it with the governance bypass": lambda: canary.retain(shorter, bypass=True),
        "weaken the mode to governance": lambda: canary.retain(weaker, bypass=True),
        "overwrite through If-None-Match": canary.overwrite,
    }


def _refused(name: str, attempt: Callable[[], object]) -> Check:
    try:
        attempt()
    except ClientError as error:
        return Check(name, True, f"refused: {error_code(error)}")
    return Check(name, False, "the server says that it did it")


def _write_above(canary: _Canary) -> None:
    """Write the key again in every way, and delete it without naming a version."""
    client, bucket, key = canary.client, canary.bucket, canary.key
    client.put_object(Bucket=bucket, Key=key, Body=_OTHER)
    source = f"{key}-other"
    client.put_object(Bucket=bucket, Key=source, Body=_OTHER)
    client.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": source})
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    part = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=_OTHER)
    client.complete_multipart_upload(
        Bucket=bucket,
        Key=key,
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    client.delete_object(Bucket=bucket, Key=key)


def _still_there(canary: _Canary) -> Iterator[Check]:
    """What was locked, asked for again: a server may have lost it, whatever it answered before."""
    try:
        whole = canary.read() == canary.data
        yield Check(
            "read the locked bytes after writing and deleting above them",
            whole,
            "the same" if whole else "other bytes",
        )
        held = canary.lock()
        mode, until = held.get("Mode"), held.get("RetainUntilDate")
        kept = mode == "COMPLIANCE" and until is not None and until >= canary.until
        yield Check("read the lock", kept, f"{mode} until {until}")
    except ClientError as error:
        yield Check("find what was locked", False, f"gone: {error_code(error)}")
