"""Moving the bytes of one object in constant memory: up in checked parts, down through a temporary file."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import (
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from drl.artifact import Artifact
from drl.errors import Falsified, StoreError
from drl.stores.s3_client import to_base64

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

_PART = 16 << 20
_MULTIPART_FROM = 64 << 20
_CHUNK = 1 << 20
_ATTEMPTS = 3
_BROKEN_STREAM = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError)


def upload(client: S3Client, bucket: str, key: str, path: Path, artifact: Artifact) -> None:
    """Store a file at a free key; the server recomputes every SHA-256 it is given.

    Raises:
        Falsified: the file's bytes are no longer those that ``artifact`` describes.
        ClientError: refused, also when the key is taken by now.
    """
    if artifact.size >= _MULTIPART_FROM:
        _upload_in_parts(client, bucket, key, path, artifact)
        return
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != artifact.sha256:
        raise _changed(path)
    client.put_object(
        Bucket=bucket, Key=key, Body=data, ChecksumSHA256=to_base64(artifact.sha256), IfNoneMatch="*"
    )


def _upload_in_parts(client: S3Client, bucket: str, key: str, path: Path, artifact: Artifact) -> None:
    upload_id = client.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="SHA256")["UploadId"]
    try:
        # S3 keeps only a checksum of the parts' checksums; the digest of the whole is taken on the way.
        whole = hashlib.sha256()
        parts: list[CompletedPartTypeDef] = []
        with path.open("rb") as stream:
            while data := stream.read(_PART):
                whole.update(data)
                checksum = to_base64(hashlib.sha256(data).hexdigest())
                number = len(parts) + 1
                reply = client.upload_part(
                    Bucket=bucket,
                    Key=key,
                    UploadId=upload_id,
                    PartNumber=number,
                    Body=data,
                    ChecksumSHA256=checksum,
                )
                parts.append({"PartNumber": number, "ETag": reply["ETag"], "ChecksumSHA256": checksum})
        if whole.hexdigest() != artifact.sha256:
            raise _changed(path)
        client.complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
        )
    except BaseException:
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
        raise


def download(client: S3Client, bucket: str, key: str, target: Path, expected: Artifact | None) -> None:
    """Stream an object into ``target``, which appears whole or not at all; a broken stream starts again.

    Args:
        client: from :func:`drl.stores.s3_client.connect`.
        bucket: where.
        key: what.
        target: a file; its folder is made if need be.
        expected: size and digest to hold the bytes against; never more than that size is read.

    Raises:
        Falsified: other bytes than ``expected``.
        StoreError: the local disk is full or may not be written.
        ClientError: refused or missing.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _download_once(client, bucket, key, target, expected)
        except _BROKEN_STREAM:
            if attempt == _ATTEMPTS:
                raise
        except OSError as error:
            raise StoreError(
                f"{target}: cannot be written: {error.strerror}",
                remedy="free space on that disk, or choose a folder that may be written to",
            ) from error


def _download_once(client: S3Client, bucket: str, key: str, target: Path, expected: Artifact | None) -> None:
    reply = client.get_object(Bucket=bucket, Key=key)
    body, where = reply["Body"], f"s3://{bucket}/{key}"
    if expected is not None and reply["ContentLength"] != expected.size:
        body.close()
        raise _falsified(where, expected, f"{reply['ContentLength']} bytes instead of {expected.size}")
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-", suffix=".part")
    try:
        digest = hashlib.sha256()
        with os.fdopen(handle, "wb") as stream:
            while chunk := body.read(_CHUNK):
                digest.update(chunk)
                stream.write(chunk)
        if expected is not None and digest.hexdigest() != expected.sha256:
            raise _falsified(where, expected, f"SHA-256 {digest.hexdigest()} instead of {expected.sha256}")
        os.replace(name, target)
    finally:
        Path(name).unlink(missing_ok=True)


def _falsified(where: str, expected: Artifact, found: str) -> Falsified:
    return Falsified(
        f"{where}: {expected.name}: {found}",
        remedy="do not use this object; fetch the artifact from the sealed bucket or run the step again",
    )


def _changed(path: Path) -> Falsified:
    return Falsified(
        f"{path}: the file changed while it was being stored",
        remedy="store files that nobody writes to any more, then try again",
    )
