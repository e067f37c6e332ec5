"""What each server behind a deployment says, as metric families; one function for each server.

Nothing is counted here: every number is read from where it is kept, so that a restart loses none and two
readers agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric

from drl.errors import StoreError

OUTBOX = """
SELECT kind, state, count(*),
       CASE WHEN state = 'final' THEN 0 ELSE extract(epoch FROM now() - min(created)) END
FROM drl.ledger_outbox GROUP BY kind, state
"""
_THERE = "SELECT to_regclass('drl.ledger_outbox') IS NOT NULL"
_TIMEOUT_S = 10


def outbox() -> Iterator[Metric]:
    """Entries of the ledger by kind and state, and how long the oldest has waited to be final.

    Raises:
        InputError: a variable is missing.
        StoreError: PostgreSQL cannot be asked.
    """
    entries = GaugeMetricFamily("drl_ledger_entries", "Rows of the outbox", labels=["kind", "state"])
    oldest = 0.0
    for kind, state, number, waited in _outbox_rows():
        entries.add_metric([kind, state], number)
        oldest = max(oldest, float(waited))
    yield entries
    yield GaugeMetricFamily("drl_ledger_waiting_seconds", "Age of the oldest entry that is not final", oldest)


def graph() -> Iterator[Metric]:
    """Runs by verdict, looks at held-out data, what the newest audits did not find to hold, and their time.

    Raises:
        InputError: a variable is missing.
        StoreError: the graph cannot be asked.
    """
    from drl.stores.graph import LineageGraph
    from drl.stores.settings import GraphSettings

    with LineageGraph(GraphSettings.from_environment(), patience=_TIMEOUT_S) as lineage:
        pipelines, failing, audited = lineage.outcomes(), lineage.failing(), lineage.newest_audit()
    runs = GaugeMetricFamily("drl_runs", "Closed runs", labels=["pipeline", "verdict"])
    looks = GaugeMetricFamily("drl_looks", "Highest look at the held-out data", labels=["pipeline"])
    for found in pipelines:
        for verdict in ("PROMOTE", "HOLD", "REJECT"):
            runs.add_metric([found.pipeline, verdict], found.verdicts.get(verdict, 0))
        looks.add_metric([found.pipeline], found.look)
    proofs = GaugeMetricFamily("drl_failing_proofs", "Versions by their newest audit", labels=["outcome"])
    for outcome in ("false", "undetermined"):
        proofs.add_metric([outcome], sum(f.outcome == outcome for f in failing))
    yield from (runs, looks, proofs)
    if audited is not None:
        said = "When the newest audit began, in seconds since 1970"
        yield GaugeMetricFamily("drl_newest_audit_timestamp_seconds", said, audited.timestamp())


def airflow(address: str) -> Iterator[Metric]:
    """Whether Airflow's components are healthy, as its api-server at ``address`` says.

    Raises:
        StoreError: it does not answer.
    """
    import requests

    try:
        with requests.Session() as session:
            session.trust_env = False  # never through a proxy
            answer = session.get(f"{address.rstrip('/')}/api/v2/monitor/health", timeout=_TIMEOUT_S)
            answer.raise_for_status()
            told: dict[str, Any] = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise StoreError(
            f"Airflow at {address} does not say how it is ({type(error).__name__})",
            remedy="see whether the api-server runs",
        ) from error
    healthy = GaugeMetricFamily("drl_airflow_healthy", "What Airflow says", labels=["component"])
    for component, state in sorted(told.items()):
        if state.get("status") is not None:  # it says nothing of a component that it was not told of
            healthy.add_metric([component], state["status"] == "healthy")
    yield healthy


def _outbox_rows() -> list[tuple[str, str, int, float]]:
    import psycopg

    from drl.stores.settings import read_variable

    try:
        with psycopg.connect(read_variable("DRL_POSTGRES_URI"), connect_timeout=_TIMEOUT_S) as connection:
            there = connection.execute(_THERE).fetchone()
            return connection.execute(OUTBOX).fetchall() if there == (True,) else []
    except psycopg.Error as error:
        raise StoreError(
            f"PostgreSQL of DRL_POSTGRES_URI cannot be asked ({type(error).__name__})",
            remedy="start the server or mend the variable",
        ) from None  # the message of the cause may quote the address
