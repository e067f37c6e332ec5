"""Records of every format that was ever released: they verify today as they did then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from vectors.make_record import found

from drl.record.files import open_record

VECTORS = Path(__file__).parents[1] / "vectors"
RECORDS = sorted(VECTORS.glob("record-v*.zip"))


def test_there_is_a_record_of_each_format() -> None:
    assert [path.name for path in RECORDS] == ["record-v1.zip"]


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_released_record_verifies_as_it_did(record: Path) -> None:
    expected = json.loads(record.with_suffix(".expected.json").read_text())
    assert found(record) == expected
    assert (expected["level"], expected["exit_code"]) == (3, 0)


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_released_record_is_small_and_deflated(record: Path) -> None:
    assert record.stat().st_size < 64 << 10
    with open_record(record) as files:
        assert "release.dsse.json" in files.names()
