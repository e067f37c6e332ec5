"""Make MinIO's users and say what each may do; done again, it sets the same.

MinIO's administration interface takes a user's key encrypted with the root user's: Argon2id, then AES-GCM
with a header and a marked last piece, as in MinIO's own clients (sio). One piece is enough here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import requests
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

ENDPOINT = "http://127.0.0.1:9000"
READ = ["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging"]
READ_LOCKS = ["s3:GetObjectRetention", "s3:GetObjectLegalHold"]
WRITE = ["s3:PutObject", "s3:PutObjectTagging", "s3:DeleteObject", "s3:AbortMultipartUpload"]
PARTS = ["s3:ListMultipartUploadParts"]
LOCK = ["s3:PutObjectRetention", "s3:DeleteObjectVersion"]
OF_BUCKET = [
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:ListBucketMultipartUploads",
    "s3:GetBucketLocation",
    "s3:GetBucketVersioning",
    "s3:GetBucketObjectLockConfiguration",
]

RIGHTS: Mapping[str, tuple[list[str], list[str]]] = {
    "operator": (["staging", "sealed"], READ + READ_LOCKS + WRITE + PARTS + LOCK),
    "step": (["staging"], READ + WRITE + PARTS),
    "mlflow": (["mlflow"], READ + WRITE + PARTS),
    "backup": (["staging", "sealed", "mlflow"], READ + READ_LOCKS),
    "serving": (["sealed"], READ),
    "pages": (["staging", "sealed"], READ),
}
"""User: buckets, and actions on their objects. Nobody here may pass over a lock."""


def main() -> None:
    """Set policies and users as the server's root user."""
    for user, (buckets, actions) in RIGHTS.items():
        secret = os.environ[f"{user.upper()}_SECRET_KEY"]
        _ask("add-canned-policy", {"name": user}, json.dumps(policy(buckets, actions)).encode())
        _ask("add-user", {"accessKey": user}, _encrypted({"status": "enabled", "secretKey": secret}))
        _ask("set-user-or-group-policy", {"userOrGroup": user, "isGroup": "false", "policyName": user}, b"")


def policy(buckets: list[str], actions: list[str]) -> dict[str, Any]:
    """A policy that allows these actions on the buckets' objects, and to list the buckets."""
    names = [f"arn:aws:s3:::{bucket}" for bucket in buckets]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": OF_BUCKET, "Resource": names},
            {"Effect": "Allow", "Action": actions, "Resource": [f"{name}/*" for name in names]},
        ],
    }


def _ask(command: str, query: Mapping[str, str], body: bytes) -> None:
    address = f"{ENDPOINT}/minio/admin/v3/{command}?{urlencode(query)}"
    request = AWSRequest(method="PUT", url=address, data=body)
    root = Credentials(os.environ["MINIO_ROOT_USER"], os.environ["MINIO_ROOT_PASSWORD"])
    S3SigV4Auth(root, "s3", "us-east-1").add_auth(request)
    with requests.Session() as session:
        session.trust_env = False  # no proxy between the containers of a pod
        answer = session.put(address, data=body, headers=dict(request.headers), timeout=20)
    if answer.status_code != 200:
        raise SystemExit(f"{command}: {answer.status_code} {answer.text[:300]}")


def _encrypted(value: Mapping[str, str]) -> bytes:
    salt, nonce = os.urandom(32), os.urandom(8)
    argon = Argon2id(salt=salt, length=32, iterations=1, lanes=4, memory_cost=64 * 1024)
    cipher = AESGCM(argon.derive(os.environ["MINIO_ROOT_PASSWORD"].encode()))
    tag = cipher.encrypt(nonce + bytes(4), b"", b"")  # of the empty text: bound to every piece
    piece = cipher.encrypt(nonce + (1).to_bytes(4, "little"), json.dumps(value).encode(), b"\x80" + tag)
    return salt + b"\x00" + nonce + piece


if __name__ == "__main__":
    main()
