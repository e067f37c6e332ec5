"""What the graph's backup writes of a property is what its restore gives Neo4j back."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from by_path import module_at
from neo4j.spatial import CartesianPoint
from neo4j.time import Date, DateTime, Duration, Time

SCRIPT = Path(__file__).parents[2] / "deployment/k8s/components/backups/scripts/graph_backup.py"


@pytest.fixture(scope="module")
def graph_backup() -> ModuleType:
    return module_at(SCRIPT)


@pytest.mark.parametrize(
    "value",
    [
        DateTime.from_iso_format("2026-12-01T05:00:01.123456789+00:00"),
        DateTime.from_iso_format("2026-12-01T05:00:01.5+02:00"),
        Date(2026, 12, 1),
        Time(5, 0, 1, 123_456_789),
        Duration(months=1, days=2, seconds=3),
        [Date(2026, 12, 1), Date(2026, 12, 2)],
        ["text", "$Date"],
        7,
        1.5,
        True,
    ],
)
def test_a_property_comes_back(graph_backup: ModuleType, value: Any) -> None:
    line = json.dumps(graph_backup._to_json({"properties": {"p": value}}))
    row = json.loads(line, object_hook=graph_backup._time_from_json)
    assert row == {"properties": {"p": value}}


def test_what_cannot_be_saved_is_told(graph_backup: ModuleType) -> None:
    with pytest.raises(SystemExit, match="a property of type CartesianPoint cannot be saved"):
        graph_backup._to_json({"p": CartesianPoint((1.0, 2.0))})
