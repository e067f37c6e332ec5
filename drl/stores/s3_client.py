"""How this project talks to an S3 server: one client with bounded patience, one translation of refusals."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from drl.errors import Missing, StoreError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from drl.stores.settings import S3Settings

THREADS = 4
_CONNECT_SECONDS = 5
_READ_SECONDS = 20
_ATTEMPTS = 3
# One session for all clients: it keeps the parsed description of S3, so that the next client takes 5 ms and
# not 80. A session may not be used by two threads at once; the clients that it makes may.
_SESSION = boto3.session.Session()
_MAKING = threading.Lock()


def connect(settings: S3Settings) -> S3Client:
    """A client in path style that gives up after three attempts of at most 5 + 20 s each."""
    config = Config(
        s3={"addressing_style": "path"},
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        max_pool_connections=2 * THREADS,
    )
    with _MAKING:
        return _SESSION.client(
            "s3",
            endpoint_url=settings.endpoint,
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=settings.secret_key,
            region_name=settings.region,
            config=config,
        )


@contextmanager
def refusals(settings: S3Settings, doing: str) -> Iterator[None]:
    """Turn every failure of the client into a StoreError that names the address and what was being done.

    That there is no such object is the StoreError :class:`~drl.errors.Missing`. Only the error code travels
    on, never the server's own text, so that no signed address gets into a log.
    """
    try:
        yield
    except ClientError as error:
        code = error_code(error)
        if is_missing(error):
            raise Missing(
                f"S3 at {settings.endpoint} refused: {doing}: {code}",
                remedy="find out who deleted it, and restore it from a backup",
            ) from error
        remedy = (
            "check that these credentials may do this; steps reach the staging bucket only"
            if code in {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403"}
            else "make sure that the server and its buckets are well: `drl stack doctor`"
        )
        raise StoreError(f"S3 at {settings.endpoint} refused: {doing}: {code}", remedy=remedy) from error
    except BotoCoreError as error:
        raise StoreError(
            f"S3 at {settings.endpoint} cannot be reached: {doing}: {type(error).__name__}",
            remedy="start the server (`drl stack up`) or mend DRL_S3_ENDPOINT, then try again",
        ) from error


def error_code(error: ClientError) -> str:
    """The S3 error code, or the HTTP status where the reply had no body."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def is_missing(error: ClientError) -> bool:
    """Whether the server said that there is no such object."""
    return error_code(error) in {"404", "NoSuchKey", "NotFound"}


def is_taken(error: ClientError) -> bool:
    """Whether ``If-None-Match: *`` was refused because another writer was first.

    409 ConditionalRequestConflict is AWS's answer while another conditional write is under way.
    """
    return error_code(error) in {"412", "PreconditionFailed", "ConditionalRequestConflict"}


def to_base64(sha256: str) -> str:
    """A hexadecimal digest as S3's checksum headers spell it."""
    return base64.b64encode(bytes.fromhex(sha256)).decode()
