"""Prometheus' text from all sources; a source that does not answer is said to be down, the others go on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from drl.errors import DrlError
from drl.monitoring import sources

_log = logging.getLogger(__name__)

Source = Callable[[], Iterator[Metric]]


class Exporter(Collector):
    """Asks every source when it is asked.

    Args:
        asked: the sources by name.
    """

    def __init__(self, asked: Mapping[str, Source]) -> None:
        self._sources = asked

    def describe(self) -> list[Metric]:
        """Nothing, so that no source is asked before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The families of all sources, then which of them answered."""
        up = GaugeMetricFamily("drl_source_up", "Whether a source answered", labels=["source"])
        for name, source in self._sources.items():
            try:
                families = list(source())
            except DrlError as error:
                _log.warning("%s: %s", name, error)
                families = []
                up.add_metric([name], 0)
            else:
                up.add_metric([name], 1)
            yield from families
        yield up

    def text(self) -> str:
        """What a scrape gets."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry).decode()

    def serve(self, host: str, port: int) -> None:
        """Answer scrapes until this process ends."""
        registry = CollectorRegistry()
        registry.register(self)
        _, thread = start_http_server(port, host, registry)
        thread.join()


def exporter(airflow: str | None) -> Exporter:
    """The deployment of ``DRL_*``; Airflow is asked where its address is given."""
    asked: dict[str, Source] = {"outbox": sources.outbox, "graph": sources.graph}
    if airflow:
        asked["airflow"] = lambda: sources.airflow(airflow)
    return Exporter(asked)
