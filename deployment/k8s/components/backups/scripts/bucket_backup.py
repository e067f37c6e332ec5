"""Save every version of every object with its metadata and lock, or restore them into empty buckets.

``FOLDER/index.jsonl`` has a line for each version, oldest first; ``FOLDER/data`` their bytes. A version never
changes, so what is there is not fetched again.

Usage: ``bucket_backup.py save|restore FOLDER``, with ``S3_ENDPOINT``, ``S3_ACCESS_KEY``, ``S3_SECRET_KEY``.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

BUCKETS = ("staging", "sealed", "mlflow")
LOCKED = "sealed"
WAIT_SECONDS = 600.0
KEPT_FIELDS = ("ContentType", "ContentEncoding", "CacheControl", "Metadata")
GONE = ("404", "NoSuchKey", "NoSuchVersion")

Row = dict[str, Any]


def main(action: str, folder: Path) -> None:
    """Do one of the two."""
    client = _ready()
    if action == "save":
        save(client, folder)
    else:
        restore(client, folder)


def save(client: Any, folder: Path) -> None:
    """Fetch what is missing, then replace the index, then remove bytes that no line names."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    listed = [row for bucket in BUCKETS for row in _versions(client, bucket)]
    rows = [whole for row in listed if (whole := _fetch(client, row, data))]
    partial = folder / "index.partial"
    partial.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))
    partial.replace(folder / "index.jsonl")
    for stray in {path.name for path in data.iterdir()} - {row["file"] for row in rows}:
        (data / stray).unlink()
    print(f"saved {len(rows)} versions; {len(listed) - len(rows)} were deleted while this went on")


def restore(client: Any, folder: Path) -> None:
    """Write every version again, oldest first; locks that have not run out are set again."""
    index = folder / "index.jsonl"
    if not index.exists():
        raise SystemExit(f"no {index}: put the backup there first")
    for bucket in BUCKETS:
        if client.list_object_versions(Bucket=bucket, MaxKeys=1).get("Versions"):
            raise SystemExit(f"bucket {bucket} is not empty: nothing is restored over it")
    rows = [json.loads(line) for line in index.read_text().splitlines()]
    for row in rows:
        body = (folder / "data" / row["file"]).read_bytes()
        if hashlib.sha256(body).hexdigest() != row["sha256"]:
            raise SystemExit(
                f"{row['bucket']}/{row['key']}: the backup's bytes are not those that were saved"
            )
        client.put_object(
            Bucket=row["bucket"],
            Key=row["key"],
            Body=body,
            ChecksumAlgorithm="SHA256",
            **row["fields"],
            **_lock(row),
        )
    for row in rows:
        if row["hidden"]:
            client.delete_object(Bucket=row["bucket"], Key=row["key"])
    print(f"restored {len(rows)} versions")


def _versions(client: Any, bucket: str) -> Iterator[Row]:
    """Every version of a bucket, each key's oldest first."""
    versions: list[Row] = []
    markers: set[str] = set()
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
        versions += page.get("Versions", [])
        markers |= {marker["Key"] for marker in page.get("DeleteMarkers", []) if marker["IsLatest"]}
    # Listed newest first; some servers' times are whole seconds, and sorting keeps the order of equal ones.
    versions = sorted(reversed(versions), key=lambda version: version["LastModified"])
    newest = {version["Key"]: version["VersionId"] for version in versions}
    for version in versions:
        key, name = version["Key"], version["VersionId"]
        yield {
            "bucket": bucket,
            "key": key,
            "version": name,
            "hidden": key in markers and newest[key] == name,
        }


def _fetch(client: Any, row: Row, data: Path) -> Row | None:
    """The row with fields, lock and digest, its bytes in ``data``; None if the version is gone."""
    place = {"Bucket": row["bucket"], "Key": row["key"], "VersionId": row["version"]}
    try:
        head = client.head_object(**place)
        # An overwritten object of a bucket without versions keeps the version's name, so its etag counts too.
        identity = json.dumps([row["bucket"], row["key"], row["version"], head["ETag"]])
        path = data / hashlib.sha256(identity.encode()).hexdigest()
        if not path.exists():
            partial = data / "partial"
            partial.write_bytes(client.get_object(**place)["Body"].read())
            partial.replace(path)
    except ClientError as error:
        if error.response["Error"]["Code"] in GONE:
            return None
        raise
    until = head.get("ObjectLockRetainUntilDate")
    return row | {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "fields": {name: head[name] for name in KEPT_FIELDS if head.get(name)},
        "lock": [head["ObjectLockMode"], until.astimezone(UTC).isoformat()] if until else None,
    }


def _lock(row: Row) -> Row:
    if not row["lock"]:
        return {}
    mode, until = row["lock"][0], datetime.fromisoformat(row["lock"][1])
    if until <= datetime.now(UTC):
        return {}
    return {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": until}


def _ready() -> Any:
    """A client, once the bucket with locks is there: it is made last or not yet.

    A new one for each try: MinIO goes on answering 404 on a connection that was made while it started.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        client = boto3.client(
            "s3",
            endpoint_url=os.environ["S3_ENDPOINT"],
            region_name="us-east-1",
            aws_access_key_id=os.environ["S3_ACCESS_KEY"],
            aws_secret_access_key=os.environ["S3_SECRET_KEY"],
            config=Config(s3={"addressing_style": "path"}, proxies={}),
        )
        try:
            client.get_object_lock_configuration(Bucket=LOCKED)
        except (BotoCoreError, ClientError):
            if time.monotonic() > deadline:
                raise
            time.sleep(2)
        else:
            return client


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
