"""Proof that the server keeps what it locked: somebody has to try."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from drl.stores.s3_client import connect, error_code, refusals

if TYPE_CHECKING:
    from collections.abc import Callable

    from drl.stores.settings import S3Settings

_LOCK_SECONDS = 60


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


def prove_write_once(settings: S3Settings) -> list[Check]:
    """Lock a canary for a minute in the sealed bucket, then try to delete, bypass, shorten and overwrite.

    Each attempt has to fail and the canary has to be readable after them. The few bytes stay behind below
    ``canary/``, because that is the point.

    Raises:
        StoreError: the server is out of reach, or refuses even to lock.
    """
    client, bucket, key = connect(settings), settings.sealed, f"canary/{secrets.token_hex(8)}"
    data = key.encode()
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=_LOCK_SECONDS)

    def refused(name: str, attempt: Callable[[], object]) -> Check:
        try:
            attempt()
        except ClientError as error:
            return Check(name, True, f"refused: {error_code(error)}")
        return Check(name, False, "the server did it")

    with refusals(settings, f"locking a canary in bucket {bucket}"):
        version = client.put_object(
            Bucket=bucket,
            Key=key,
            Body=data,
            IfNoneMatch="*",
            ObjectLockMode="COMPLIANCE",
            ObjectLockRetainUntilDate=until,
        ).get("VersionId", "null")
        checks = [
            refused(
                "delete the locked version",
                lambda: client.delete_object(Bucket=bucket, Key=key, VersionId=version),
            ),
            refused(
                "delete it with the governance bypass",
                lambda: client.delete_object(
                    Bucket=bucket, Key=key, VersionId=version, BypassGovernanceRetention=True
                ),
            ),
            refused(
                "shorten the lock",
                lambda: client.put_object_retention(
                    Bucket=bucket,
                    Key=key,
                    VersionId=version,
                    Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until - timedelta(seconds=30)},
                ),
            ),
            refused(
                "overwrite through If-None-Match",
                lambda: client.put_object(Bucket=bucket, Key=key, Body=b"other", IfNoneMatch="*"),
            ),
        ]
        # A plain write is allowed to succeed: it adds a version above and leaves the locked one.
        client.put_object(Bucket=bucket, Key=key, Body=b"other")
        kept = client.get_object(Bucket=bucket, Key=key, VersionId=version)["Body"].read()
    return [*checks, Check("read the locked version after all this", kept == data, f"{len(kept)} bytes")]
