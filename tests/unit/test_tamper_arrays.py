"""Hostile ``.npy`` headers: found by ``make fuzz``, kept as examples."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from tampering import MemoryFiles

from drl.artifact import Artifact
from drl.digest import sha256_bytes
from drl.errors import Falsified
from drl.verification.record import Record

HONEST = np.arange(6, dtype=np.int64)


def stored(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def with_header(text: str) -> bytes:
    header = text.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + HONEST.tobytes()


def path_of(data, tmp_path):
    digest = sha256_bytes(data)
    record = Record(MemoryFiles({f"sha256/{digest}": data}), tmp_path)
    return record.array(Artifact("actions.npy", digest, len(data)))


@pytest.mark.parametrize(
    "array",
    [
        HONEST,
        np.ones((3, 2), np.float32),
        np.array([True]),
        np.zeros(4, [("timestamp", "<i8"), ("a b", "<f8")]),
        np.array(1.5),
    ],
)
def test_what_numpy_writes_is_read(array, tmp_path):
    assert np.array_equal(np.load(path_of(stored(array), tmp_path)), array)


@pytest.mark.parametrize(
    "data",
    [
        with_header("{'descr': '<i8', 'fortran_order': False, 'shape': (6,"),
        with_header("{'descr': '<i8', 'fortran_order': False, 'shape': (6L,), }"),
        with_header("{'descr': '|O', 'fortran_order': False, 'shape': (6,), }"),
        with_header("{'descr': '<i8', 'fortran_order': False, 'shape': (-6,), }"),
        with_header("{'descr': '<i8', 'fortran_order': False, 'shape': (7,), }"),
        with_header("(" * 9000),
        stored(HONEST)[:-1],
        stored(HONEST) + b"\0",
        stored(HONEST)[:8] + b"\x40" + stored(HONEST)[9:],
        base64.b64decode(
            "k05VTVBZAQA2AHsnZGVzY3InOiAnPGk4JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDQ1LCksIH0g"
            "ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoBAAAAAAAAAABOVQ=="
        ),
        b"",
    ],
)
def test_what_numpy_would_not_write_is_false(data, tmp_path):
    with pytest.raises(Falsified):
        path_of(data, tmp_path)
