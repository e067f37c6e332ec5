"""Counting what the lineage graph says, and a source that cannot be asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client.core import GaugeMetricFamily, Metric

from drl.errors import DrlError, InputError, StoreError
from drl.monitoring.exporter import Exporter
from drl.stores.graph_outcomes import PipelineOutcomes, count


def test_closings_are_counted_by_verdict_and_openings_tell_the_look() -> None:
    entries = [
        ("b/1", None, 1),
        ("b/1", "HOLD", None),
        ("b/2", None, 2),
        ("b/2", "HOLD", None),
        ("a/1", None, None),
        ("b/3", "PROMOTE", None),
    ]
    assert count(entries) == [
        PipelineOutcomes("a", {}, 0),
        PipelineOutcomes("b", {"HOLD": 2, "PROMOTE": 1}, 2),
    ]


@pytest.mark.parametrize("error", [StoreError, InputError])
def test_a_source_that_fails_halfway_gives_no_half_answer(error: type[DrlError]) -> None:
    def well() -> Iterator[Metric]:
        yield GaugeMetricFamily("drl_well", "It answers", 1)

    def broken() -> Iterator[Metric]:
        yield GaugeMetricFamily("drl_broken", "Half an answer", 1)
        raise error("gone", remedy="wait")

    text = Exporter({"broken": broken, "well": well}).text()
    assert "drl_well 1.0" in text
    assert "drl_broken" not in text
    assert 'drl_source_up{source="broken"} 0.0' in text
    assert 'drl_source_up{source="well"} 1.0' in text
