"""Make the buckets that are missing, at the S3 server of this pod; ``sealed`` with object lock."""

from __future__ import annotations

import os

import boto3
from botocore.config import Config

ENDPOINT = "http://127.0.0.1:9000"
BUCKETS = {"staging": False, "sealed": True, "mlflow": False}
"""Bucket names, and whether object lock is enabled on them: that cannot be added later."""


def main() -> None:
    """Make them as the server's root user."""
    client = boto3.client(
        "s3",
        endpoint_url=ENDPOINT,
        region_name="us-east-1",
        aws_access_key_id=os.environ["MINIO_ROOT_USER"],
        aws_secret_access_key=os.environ["MINIO_ROOT_PASSWORD"],
        config=Config(s3={"addressing_style": "path"}, proxies={}, retries={"max_attempts": 1}),
    )
    existing = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in BUCKETS.keys() - existing:
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=BUCKETS[name])


if __name__ == "__main__":
    main()
