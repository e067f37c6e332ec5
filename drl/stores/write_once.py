"""Proof that the server keeps what it locked: somebody has to try.

Two questions, because a server may lie in either: does it *say* no to everything that would break a lock, and
are bytes and lock *still there* when everything was tried? And a control: the same credentials delete another
canary, whose lock has ended. Where they may not, it was they that were refused, and no lock was seen.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from drl.errors import StoreError
from drl.stores.s3_client import connect, error_code, refusals

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectLockRetentionOutputTypeDef, ObjectLockRetentionTypeDef

    from drl.stores.settings import S3Settings

_LOCK_SECONDS = 60
_CONTROL_SECONDS = 3
_CONTROL_PATIENCE = 10.0
"""Seconds after the end of the control's lock within which it can be deleted: clocks differ."""
_FAILURES = {"InternalError", "ServiceUnavailable", "SlowDown", "500", "503"}
"""Codes with which a server says that it is not well, and not that it refuses."""
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
        StoreError: the server is out of reach, is not well, or refuses even to lock; or it refuses these
            credentials to delete what is not locked any more, so that its other refusals say nothing.
    """
    with refusals(settings, f"locking a canary in bucket {settings.sealed}"):
        control, canary = _lock(settings, _CONTROL_SECONDS), _lock(settings, _LOCK_SECONDS)
        attempts = [_refused(name, attempt) for name, attempt in _attempts(canary).items()]
        _write_above(canary)
        checks = [*attempts, *_still_there(canary)]
        if all(check.ok for check in checks):
            checks.append(_control(control, settings))
        return checks


def _lock(settings: S3Settings, seconds: int) -> _Canary:
    client, bucket, key = connect(settings), settings.sealed, f"canary/{secrets.token_hex(8)}"
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
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
        if error_code(error) in _FAILURES:
            raise
        return Check(name, True, f"refused: {error_code(error)}")
    return Check(name, False, "the server says that it did it")


def _control(canary: _Canary, settings: S3Settings) -> Check:
    """Delete a canary after the end of its lock."""
    last = canary.until + timedelta(seconds=_CONTROL_PATIENCE)
    while True:
        time.sleep(max(0.5, (canary.until - datetime.now(UTC)).total_seconds()))
        try:
            canary.delete(bypass=False)
        except ClientError as error:
            if datetime.now(UTC) > last:
                raise StoreError(
                    f"S3 at {settings.endpoint} refuses these credentials ({error_code(error)}) to delete a "
                    "version after its lock too: its other refusals may have been about them, not the lock",
                    remedy="try again with credentials that have s3:DeleteObjectVersion on this bucket",
                ) from error
        else:
            return Check("delete another canary after the end of its lock", True, "done, as it should be")


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
