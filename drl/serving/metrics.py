"""What Prometheus is told: requests, what is served and since when, and drift."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from drl.serving.readiness import STATES, state_of

if TYPE_CHECKING:
    from drl.serving.service import Service
    from drl.serving.watching import Loaded, PolicyWatch

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)


class RequestMetrics:
    """Counts of requests of one process; the text also has what ``service`` serves."""

    def __init__(self, service: Service) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "drl_api_requests", "Answered requests", ["route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "drl_api_request_seconds", "Time to answer", ["route"], buckets=_BUCKETS, registry=self._registry
        )
        self.rows = Counter(
            "drl_api_observations", "Observations that were acted on", ["policy"], registry=self._registry
        )
        self._registry.register(ServedCollector(service))

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)


class ServedCollector(Collector):
    """What is served, asked when Prometheus asks."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        watches = list(self._service.watches.values())
        yield _gauge(
            "drl_api_ready", "Whether a policy answers", ((w.model, bool(w.loaded)) for w in watches)
        )
        yield _states(watches)
        yield from _loaded([(w, w.loaded) for w in watches if w.loaded is not None])
        for name, help_, values in (
            ("drl_api_switches", "Versions switched to", [(w.model, w.switches) for w in watches]),
            ("drl_api_refusals", "Targets refused", [(w.model, w.refusals) for w in watches]),
        ):
            family = CounterMetricFamily(name, help_, labels=["policy"])
            for model, value in values:
                family.add_metric([model], value)
            yield family
        up = GaugeMetricFamily("drl_api_server_up", "Whether a server behind answered", labels=["server"])
        for name, answers in self._service.behind.up.items():
            up.add_metric([name], answers)
        yield up
        if (log := self._service.decisions) is not None:
            yield CounterMetricFamily("drl_api_decisions_shipped", "Observations in the bucket", log.shipped)
            yield CounterMetricFamily("drl_api_decisions_dropped", "Observations lost", log.dropped)
            yield GaugeMetricFamily(
                "drl_api_decisions_waiting_bytes", "In memory and on the disk", log.waiting()
            )


def _states(watches: list[PolicyWatch]) -> Metric:
    """1 for the state that a policy has, 0 for the others, so that an alert on one begins and ends."""
    family = GaugeMetricFamily("drl_api_policy_state", "How it stands", labels=["policy", "state"])
    for watch in watches:
        present = state_of(watch)
        for state in STATES:
            family.add_metric([watch.model, state], state == present)
    return family


def _loaded(found: list[tuple[PolicyWatch, Loaded]]) -> Iterator[Metric]:
    served = GaugeMetricFamily("drl_api_policy", "What is served", labels=["policy", "version", "model_root"])
    for watch, loaded in found:
        served.add_metric([watch.model, str(loaded.target.version), loaded.target.root], 1)
    yield served
    yield _gauge("drl_api_loaded_seconds", "When it was loaded", ((w.model, x.since) for w, x in found))
    yield _gauge(
        "drl_api_proved_seconds", "When its proof last held", ((w.model, x.proved) for w, x in found)
    )
    watched = [(w.model, x.drift) for w, x in found if x.drift is not None]
    yield _gauge("drl_api_drift_observations", "Observations compared", ((m, d.rows) for m, d in watched))
    yield _gauge(
        "drl_api_drift_outside",
        "Share of values beyond those of training",
        ((m, d.outside()) for m, d in watched),
    )
    shift = GaugeMetricFamily(
        "drl_api_drift_shift",
        "Mean minus the training environment's, in its standard deviations",
        labels=["policy", "component"],
    )
    for model, drift in watched:
        for component, value in enumerate(drift.shift()):
            shift.add_metric([model, str(component)], value)
    yield shift


def _gauge(name: str, help_: str, values: Iterable[tuple[str, float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_, labels=["policy"])
    for model, value in values:
        family.add_metric([model], value)
    return family
