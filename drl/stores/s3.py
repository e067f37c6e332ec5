"""The artifact store: content-addressed files and first-writer-wins documents on any S3 server.

Keys of the staging bucket: ``sha256/<digest>`` for files, ``runs/<run>/…`` for documents. The digest is the
key, so nothing is uploaded twice, and what comes back is checked against it while it streams in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from drl.artifact import Artifact
from drl.digest import sha256_bytes
from drl.errors import Falsified, InputError, StoreError
from drl.stores import transfer
from drl.stores.s3_client import THREADS, connect, is_missing, is_taken, refusals, to_base64
from drl.stores.sealing import SealedArtifact, SealedBucket, blob_key, checked_etag

if TYPE_CHECKING:
    from drl.stores.settings import S3Settings

_DOCUMENT_LIMIT = 64 << 20
_RACE_ATTEMPTS = 5


class ArtifactStore:
    """Files by digest and documents by key. Safe to use from several threads; make it after a fork.

    Every method raises StoreError when the server refuses or is out of reach, after bounded retries.
    """

    def __init__(self, settings: S3Settings) -> None:
        self.settings = settings
        self._client = connect(settings)
        self.sealed = SealedBucket(self._client, settings)

    def ping(self) -> None:
        """Return if the staging bucket answers to these credentials."""
        with refusals(self.settings, f"looking at bucket {self.settings.staging}"):
            self._client.list_objects_v2(Bucket=self.settings.staging, MaxKeys=1)

    # ----------------------------------------------------------------------------------------- files

    def put(self, path: Path, name: str) -> Artifact:
        """Store one file unless its bytes are there already.

        Args:
            path: the file; a large one is read in pieces.
            name: what people and steps call it; not part of the key.

        Raises:
            Falsified: the file changed while it was read, or other bytes are stored under its digest.
        """
        artifact = Artifact.of(path, name=name)
        with refusals(self.settings, f"storing {name}"):
            if not self._has(artifact):
                try:
                    transfer.upload(
                        self._client, self.settings.staging, blob_key(artifact.sha256), path, artifact
                    )
                except ClientError as error:
                    if not is_taken(error):
                        raise
        return artifact

    def put_many(self, folder: Path) -> list[Artifact]:
        """Store every file below ``folder`` under its relative name, a few at a time; sorted by name."""
        names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda name: self.put(folder / name, name), names))

    def get(self, artifact: Artifact, into: Path, *, sealed: bool = False) -> Path:
        """Fetch an artifact to ``into / artifact.name``; a file there with these bytes is left alone.

        Args:
            artifact: what to fetch; never more than its size is read.
            into: a folder, made if need be.
            sealed: read from the sealed bucket instead of the staging one.

        Raises:
            Falsified: the stored bytes have another size or digest.
            InputError: the artifact's name leads out of ``into``.
            Missing: it is not there.
            StoreError: also when the local disk is full.
        """
        target = into / _inside(artifact.name)
        if target.is_file() and Artifact.of(target, name=artifact.name) == artifact:
            return target
        bucket = self.settings.sealed if sealed else self.settings.staging
        with refusals(self.settings, f"fetching {artifact.name} from bucket {bucket}"):
            transfer.download(self._client, bucket, blob_key(artifact.sha256), target, artifact)
        return target

    def get_many(self, artifacts: Iterable[Artifact], into: Path, *, sealed: bool = False) -> list[Path]:
        """Fetch several artifacts, a few at a time; the answer keeps their order."""
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda artifact: self.get(artifact, into, sealed=sealed), artifacts))

    def exists(self, artifact: Artifact) -> bool:
        """Whether the artifact is staged."""
        with refusals(self.settings, f"looking for {artifact.name}"):
            return self._has(artifact)

    def verify_staged(self, artifact: Artifact) -> None:
        """Return if the staged bytes are those of the digest, as the server's own checksum says.

        Raises:
            Falsified: they are others.
        """
        with refusals(self.settings, f"checking {artifact.name}"):
            checked_etag(self._client, self.settings.staging, artifact)

    def staging_uri(self, artifact: Artifact) -> str:
        """``s3://`` address of the artifact in the staging bucket."""
        return f"s3://{self.settings.staging}/{blob_key(artifact.sha256)}"

    # ------------------------------------------------------------------------------------- documents

    def read(self, key: str) -> bytes:
        """The document at ``key`` of the staging bucket, at most 64 MiB; InputError when there is none."""
        data = self._read(key)
        if data is None:
            raise InputError(
                f"s3://{self.settings.staging}/{key}: no such document",
                remedy="give the key that the run printed",
            )
        return data

    def read_json(self, key: str) -> Any | None:
        """The document at ``key`` as JSON, None when there is none; Falsified when it is not JSON."""
        data = self._read(key)
        try:
            return None if data is None else json.loads(data)
        except ValueError as error:
            raise Falsified(
                f"s3://{self.settings.staging}/{key}: not JSON: {error}",
                remedy="find out who wrote this document, then run the step again",
            ) from error

    def write_once(self, key: str, data: bytes) -> tuple[bytes, bool]:
        """Store a document unless the key is taken: the first writer wins.

        Returns:
            The bytes that are stored now, and whether this call stored them.
        """
        with refusals(self.settings, f"writing {key}"):
            for _ in range(_RACE_ATTEMPTS):
                try:
                    self._client.put_object(
                        Bucket=self.settings.staging,
                        Key=key,
                        Body=data,
                        ChecksumSHA256=to_base64(sha256_bytes(data)),
                        IfNoneMatch="*",
                    )
                    return data, True
                except ClientError as error:
                    if not is_taken(error):
                        raise
                stored = self._read(key)
                if stored is not None:
                    return stored, False
        raise StoreError(
            f"S3 at {self.settings.endpoint}: {key} is said to be taken, yet there is nothing to read",
            remedy="look for a half-ended deletion of this key, then try again",
        )

    def download(self, uri: str, path: Path) -> None:
        """Fetch any object these credentials may read to the file ``path``; the caller checks its digest."""
        bucket, key = _split(uri)
        with refusals(self.settings, f"fetching {uri}"):
            transfer.download(self._client, bucket, key, path, None)

    # --------------------------------------------------------------------------------------- sealing

    def seal(self, artifacts: Iterable[Artifact], *, retain_days: int) -> list[SealedArtifact]:
        """Copy staged artifacts under lock; see :meth:`drl.stores.sealing.SealedBucket.seal`."""
        return self.sealed.seal(artifacts, retain_days=retain_days)

    def seal_bytes(self, data: bytes, name: str, *, retain_days: int) -> SealedArtifact:
        """Put a document straight under lock; see :meth:`drl.stores.sealing.SealedBucket.seal_bytes`."""
        return self.sealed.seal_bytes(data, name, retain_days=retain_days)

    # ----------------------------------------------------------------------------------------- parts

    def _has(self, artifact: Artifact) -> bool:
        bucket, key = self.settings.staging, blob_key(artifact.sha256)
        try:
            head = self._client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if is_missing(error):
                return False
            raise
        if head["ContentLength"] != artifact.size:
            raise Falsified(
                f"s3://{bucket}/{key}: {head['ContentLength']} bytes instead of {artifact.size}",
                remedy="other bytes lie under this digest: find out who wrote them and remove the object",
            )
        return True

    def _read(self, key: str) -> bytes | None:
        with refusals(self.settings, f"reading {key}"):
            try:
                reply = self._client.get_object(Bucket=self.settings.staging, Key=key)
            except ClientError as error:
                if is_missing(error):
                    return None
                raise
            if reply["ContentLength"] > _DOCUMENT_LIMIT:
                raise Falsified(
                    f"s3://{self.settings.staging}/{key}: {reply['ContentLength']} bytes are no document",
                    remedy="store large files as artifacts",
                )
            return reply["Body"].read()

    # The last method, because its name hides the built-in type from annotations below it.

    def list(self, prefix: str, *, limit: int | None = None) -> list[str]:
        """Keys of the staging bucket below ``prefix``, sorted; for an ``s3://`` address, addresses.

        Args:
            prefix: what the keys start with.
            limit: at most so many, the first ones.
        """
        bucket, start = _split(prefix) if prefix.startswith("s3://") else (self.settings.staging, prefix)
        with refusals(self.settings, f"listing s3://{bucket}/{start}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=start, PaginationConfig={} if limit is None else {"MaxItems": limit}
            )
            keys = sorted(item["Key"] for page in pages for item in page.get("Contents", []))
        return [f"s3://{bucket}/{key}" for key in keys] if prefix.startswith("s3://") else keys


def _inside(name: str) -> PurePosixPath:
    """A name that stays below the folder it is joined to; names come from steps and are not trusted."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise InputError(
            f"artifact name {name!r} leads out of its folder", remedy="give a relative path without `..`"
        )
    return path


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise InputError(f"{uri!r} is no S3 address", remedy="give s3://BUCKET/KEY")
    return bucket, key
