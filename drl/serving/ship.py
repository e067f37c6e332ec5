"""``python -m drl.serving.ship``: put logged decisions into a bucket as Parquet.

Keys are ``PREFIX/model=NAME/date=YYYY-MM-DD/FILE.parquet``, so that a file shipped twice is one object.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from drl.errors import DrlError
from drl.stores.s3_client import connect, refusals
from drl.stores.settings import S3Settings

SCHEMA = pa.schema(
    [
        ("at", pa.timestamp("us", tz="UTC")),
        ("request", pa.string()),
        ("row", pa.int32()),
        ("model", pa.string()),
        ("version", pa.int32()),
        ("model_root", pa.string()),
        ("run", pa.string()),
        ("seed", pa.int64()),
        ("observation", pa.list_(pa.float32())),
        ("action", pa.list_(pa.float64())),
    ]
)


def main() -> int:
    """Ship the files that standard input names; an error is one line, for /readyz."""
    os.nice(10)
    try:
        rows = shipped(json.load(sys.stdin))
    except DrlError as error:
        sys.stderr.write(error.message)
        return error.exit_code
    json.dump({"rows": rows}, sys.stdout)
    return 0


def shipped(question: dict[str, Any]) -> int:
    """How many rows of the files were put into the bucket."""
    settings = S3Settings.from_environment()
    bucket, _, prefix = str(question["to"]).removeprefix("s3://").partition("/")
    client = connect(settings)
    count = 0
    for name in question["files"]:
        for key, rows in parted(Path(name), prefix).items():
            with refusals(settings, f"writing {key} to bucket {bucket}"):
                client.put_object(Bucket=bucket, Key=key, Body=to_parquet(rows))
            count += len(rows)
    return count


def parted(path: Path, prefix: str) -> dict[str, list[dict[str, Any]]]:
    """Rows of a file by the key of the object that they belong to."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            row["at"] = datetime.fromtimestamp(row["at"], UTC)
            start = f"{prefix}/" if prefix else ""
            found[f"{start}model={row['model']}/date={row['at']:%Y-%m-%d}/{path.stem}.parquet"].append(row)
    return found


def to_parquet(rows: list[dict[str, Any]]) -> bytes:
    """Parquet of rows, compressed with zstd."""
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), stream, compression="zstd")
    return stream.getvalue()


if __name__ == "__main__":
    sys.exit(main())
