"""A record below an S3 prefix, read as :class:`drl.record.files.RecordFiles`: ``s3://BUCKET/PREFIX``."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from drl.errors import Falsified, InputError
from drl.record.files import MOST_BYTES, ListedFiles, require_names
from drl.record.zip_format import MOST_MEMBERS
from drl.stores.s3_client import connect, refusals

if TYPE_CHECKING:
    from botocore.response import StreamingBody

    from drl.stores.settings import S3Settings

_BUFFER = 1 << 18


class PrefixFiles(ListedFiles):
    """Files of a record that was copied to an S3 prefix, file by file.

    Names and sizes are those of the listing; an object that has another size when it is read is refused.

    Args:
        settings: the server and credentials that may list and read there.
        uri: ``s3://BUCKET/PREFIX``.

    Raises:
        InputError: not such an address.
        Falsified: a name below the prefix cannot be a record's.
        StoreError: the server refuses or is out of reach.
    """

    def __init__(self, settings: S3Settings, uri: str) -> None:
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        if not uri.startswith("s3://") or not bucket:
            raise InputError(f"{uri!r} is no S3 address", remedy="give s3://BUCKET/PREFIX")
        self._settings = settings
        self._where = uri  # the listing below names it in errors
        self._bucket = bucket
        self._prefix = f"{prefix.rstrip('/')}/" if prefix else ""
        self._client = connect(settings)
        super().__init__(uri, self._list())

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A stream of the file, in constant memory; never yields more than ``size(name)``."""
        size = self.size(name)
        with refusals(self._settings, f"reading {name} of {self._where}"):
            reply = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            if reply["ContentLength"] != size:
                raise self._refusal(name, "changed while the record was being read")
            with io.BufferedReader(_Body(reply["Body"]), _BUFFER) as stream:
                yield stream

    def _list(self) -> dict[str, int]:
        sizes: dict[str, int] = {}
        with refusals(self._settings, f"listing {self._where}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            for page in pages:
                found = {i["Key"].removeprefix(self._prefix): i["Size"] for i in page.get("Contents", [])}
                sizes |= found
                if len(sizes) > MOST_MEMBERS or sum(sizes.values()) > MOST_BYTES:
                    raise self._refusal("", f"more than {MOST_MEMBERS} files or {MOST_BYTES} bytes")
        if not sizes:
            raise InputError(f"{self._where}: nothing is there", remedy="give the prefix of a record")
        require_names(sizes, where=self._where)
        return sizes

    def _refusal(self, name: str, reason: str) -> Falsified:
        return Falsified(
            f"{self._where}: {name!r}: {reason}", remedy="do not use these files; copy the record there again"
        )


class _Body(io.RawIOBase):
    """A reply's body as a stream that can be buffered."""

    def __init__(self, body: StreamingBody) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        data = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()
