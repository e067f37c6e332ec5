"""The bucket with object lock: what a record names is kept there until its retention ends, whoever asks.

A copy is made by the server, without the bytes coming here. Steps can write to the staging bucket, so what is
copied is first checked against its digest, and the copy is bound to the checked version by its ETag.

SeaweedFS takes the lock headers of a copy and ignores them, MinIO ignores ``If-None-Match`` of a copy: so the
lock is always set by a request of its own and read back, and two copies of the same bytes do no harm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from drl.artifact import Artifact
from drl.digest import sha256_bytes
from drl.errors import Falsified, InputError, StoreError
from drl.stores.s3_client import THREADS, error_code, is_missing, is_taken, refusals, to_base64

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

    from drl.stores.settings import S3Settings

_CHUNK = 1 << 20


@dataclass(frozen=True)
class SealedArtifact:
    """An artifact under lock.

    Attributes:
        artifact: what is sealed.
        uri: ``s3://sealed/sha256/…``.
        version_id: the locked version; others of the same key may be put above it, none can replace it.
        retain_until: end of the lock, ISO 8601 in UTC.
    """

    artifact: Artifact
    uri: str
    version_id: str
    retain_until: str

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SealedArtifact:
        """Read what :meth:`to_json` wrote."""
        artifact = Artifact.from_json(value["artifact"])
        return cls(artifact, str(value["uri"]), str(value["version_id"]), str(value["retain_until"]))

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the four attributes."""
        return {
            "artifact": self.artifact.to_json(),
            "uri": self.uri,
            "version_id": self.version_id,
            "retain_until": self.retain_until,
        }


@dataclass(frozen=True)
class Lock:
    """How the newest version of a sealed object is kept.

    Attributes:
        size: of the object, in bytes.
        until: end of its COMPLIANCE lock, None when it has none.
    """

    size: int
    until: datetime | None


def blob_key(sha256: str) -> str:
    """The key of content-addressed bytes, the same in both buckets."""
    return f"sha256/{sha256}"


class SealedBucket:
    """Write-once storage: objects are added and their locks extended, nothing else."""

    def __init__(self, client: S3Client, settings: S3Settings) -> None:
        self._client = client
        self._settings = settings

    def seal(self, artifacts: Iterable[Artifact], *, retain_days: int) -> list[SealedArtifact]:
        """Copy staged artifacts and lock them; what is sealed long enough is left as it is.

        Args:
            artifacts: staged ones; the answer keeps their order.
            retain_days: days from today (UTC) until the end of the lock, at least 1.

        Raises:
            Falsified: staged bytes are not those of the digest; nothing is sealed of that artifact.
            StoreError: the server refuses, is out of reach or does not keep a lock it accepted.
        """
        until = _end_of_lock(retain_days)
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda artifact: self._seal_one(artifact, until), artifacts))

    def seal_bytes(self, data: bytes, name: str, *, retain_days: int) -> SealedArtifact:
        """Put a small document (a statement, a record) straight under lock."""
        artifact = Artifact(name, sha256_bytes(data), len(data))
        key = blob_key(artifact.sha256)
        until = _end_of_lock(retain_days)
        with refusals(self._settings, f"sealing {name}"):
            if self._head(key) is None:
                try:
                    self._client.put_object(
                        Bucket=self._settings.sealed,
                        Key=key,
                        Body=data,
                        ChecksumSHA256=to_base64(artifact.sha256),
                        IfNoneMatch="*",
                        ObjectLockMode="COMPLIANCE",
                        ObjectLockRetainUntilDate=until,
                    )
                except ClientError as error:
                    if not is_taken(error):
                        raise
            return self._lock(artifact, until)

    def locked_until(self, key: str, version_id: str) -> datetime | None:
        """End of the COMPLIANCE lock of a version, None when it has none."""
        try:
            reply = self._client.get_object_retention(
                Bucket=self._settings.sealed, Key=key, VersionId=version_id
            )
        except ClientError as error:
            if error_code(error) in {"NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError"}:
                return None
            raise
        retention = reply.get("Retention", {})
        return retention.get("RetainUntilDate") if retention.get("Mode") == "COMPLIANCE" else None

    def lock(self, sha256: str) -> Lock | None:
        """Size and lock of the newest version of an object, None when there is no such object.

        Raises:
            StoreError: the server refuses or is out of reach.
        """
        key = blob_key(sha256)
        with refusals(self._settings, f"looking at the lock of {sha256[:12]}"):
            head = self._head(key)
            if head is None:
                return None
            until = self.locked_until(key, head.get("VersionId", "null"))
        return Lock(head["ContentLength"], until)

    def _seal_one(self, artifact: Artifact, until: datetime) -> SealedArtifact:
        key = blob_key(artifact.sha256)
        with refusals(self._settings, f"sealing {artifact.name}"):
            if self._head(key) is None:
                etag = checked_etag(self._client, self._settings.staging, artifact)
                # Managed copy: in parts for large objects, so that no single request runs into the timeout.
                self._client.copy(
                    {"Bucket": self._settings.staging, "Key": key},
                    self._settings.sealed,
                    key,
                    ExtraArgs={"CopySourceIfMatch": etag},
                )
            return self._lock(artifact, until)

    def _lock(self, artifact: Artifact, until: datetime) -> SealedArtifact:
        """Extend the lock to ``until`` where it is shorter, and read it back."""
        bucket, key = self._settings.sealed, blob_key(artifact.sha256)
        head = self._head(key)
        if head is None or head["ContentLength"] != artifact.size:
            raise Falsified(
                f"s3://{bucket}/{key}: size is not the {artifact.size} of {artifact.name}",
                remedy="look at all versions of this key: somebody with operator credentials wrote to it",
            )
        version = head.get("VersionId", "null")
        held = self.locked_until(key, version)
        if held is None or held < until:
            self._client.put_object_retention(
                Bucket=bucket,
                Key=key,
                VersionId=version,
                Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until},
            )
            held = self.locked_until(key, version)
        if held is None or held < until:
            raise StoreError(
                f"S3 at {self._settings.endpoint} took a lock on s3://{bucket}/{key} and did not keep it",
                remedy="create the sealed bucket with object lock enabled; `drl store doctor` proves it",
            )
        end = held.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return SealedArtifact(artifact, f"s3://{bucket}/{key}", version, end)

    def _head(self, key: str) -> HeadObjectOutputTypeDef | None:
        try:
            return self._client.head_object(Bucket=self._settings.sealed, Key=key)
        except ClientError as error:
            if is_missing(error):
                return None
            raise


def checked_etag(client: S3Client, bucket: str, artifact: Artifact) -> str:
    """ETag of a staged object, once its bytes are known to be those of the digest.

    Raises:
        Falsified: they are others.
        StoreError: there is no such object.
    """
    key = blob_key(artifact.sha256)
    try:
        head = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except ClientError as error:
        if is_missing(error):
            raise StoreError(
                f"s3://{bucket}/{key}: {artifact.name} is not staged",
                remedy="put the artifact first, then seal it",
            ) from error
        raise
    kept = head.get("ChecksumSHA256", "")
    # The server itself computed a checksum over a whole object; one over parts says nothing here.
    if not kept or "-" in kept or "-" in head["ETag"]:
        body = client.get_object(Bucket=bucket, Key=key, IfMatch=head["ETag"])["Body"]
        digest = hashlib.sha256()
        while chunk := body.read(_CHUNK):
            digest.update(chunk)
        kept = to_base64(digest.hexdigest())
    if kept != to_base64(artifact.sha256) or head["ContentLength"] != artifact.size:
        raise Falsified(
            f"s3://{bucket}/{key}: the staged bytes are not those of {artifact.name}",
            remedy="somebody who may write to the staging bucket changed them: find out who, run again",
        )
    return head["ETag"]


def _end_of_lock(retain_days: int) -> datetime:
    """The midnight (UTC) after so many days: the same all day, so that sealing again changes nothing."""
    if retain_days < 1:
        raise InputError(f"retain_days: {retain_days} is less than 1", remedy="give at least one day")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return today + timedelta(days=retain_days + 1)
