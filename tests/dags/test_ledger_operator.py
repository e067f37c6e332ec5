"""How long a ledger task waits, and for what. No chain is needed, only what the operator does."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from drl.errors import InputError, StoreError
from operators import connections
from operators.ledger import LedgerOperator


class Failing(LedgerOperator):
    """Raises what it is given."""

    def __init__(self, *, error: Exception, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error = error

    def work(self, run: Any) -> Any:
        raise self.error


@pytest.fixture
def extra(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_extra(**values: Any) -> None:
        connection = {
            "conn_type": "http",
            "host": "http://127.0.0.1:1",
            "password": "0x" + "11" * 32,
            "extra": {"chain_id": 31337, **values},
        }
        monkeypatch.setenv("AIRFLOW_CONN_EVM_DEFAULT", json.dumps(connection))

    set_extra()
    return set_extra


def waited(minutes: float, error: Exception | None = None) -> Any:
    """What a task does that began so many minutes ago."""
    context = {
        "run_id": "manual__1",
        "ti": SimpleNamespace(start_date=datetime.now(UTC) - timedelta(minutes=minutes)),
    }
    error = error or StoreError("no usable answer", remedy="start the chain")
    operator = Failing(task_id="failing", pipeline="waiting", error=error)
    # Unwrapped, because Airflow guards `execute` against callers other than its task runner.
    return inspect.unwrap(LedgerOperator.execute)(operator, context)


@pytest.mark.parametrize(("minutes", "seconds"), [(0, 15), (4, 60), (20, 300), (60, 600), (200, 600)])
def test_it_waits_a_quarter_of_what_it_has_waited(
    extra: Callable[..., None], minutes: float, seconds: float
) -> None:
    with pytest.raises(TaskDeferred) as caught:
        waited(minutes)
    assert caught.value.method_name == "try_again"
    delay = caught.value.trigger.moment - datetime.now(UTC)
    assert delay.total_seconds() == pytest.approx(seconds, abs=5)


def test_its_patience_ends(extra: Callable[..., None]) -> None:
    with pytest.raises(StoreError, match="no usable answer"):
        waited(235)
    extra(patience_hours=24)
    with pytest.raises(TaskDeferred):
        waited(235)
    extra(patience_hours=0)
    with pytest.raises(StoreError, match="no usable answer"):
        waited(0)


def test_what_time_cannot_mend_fails_at_once(extra: Callable[..., None]) -> None:
    with pytest.raises(AirflowFailException, match="another chain"):
        waited(0, InputError("another chain", remedy="bring back the first one"))


@pytest.mark.parametrize("name", ["chain_id", "max_fee_gwei", "first_block", "patience_hours"])
def test_a_field_that_is_no_number_is_named(extra: Callable[..., None], name: str) -> None:
    extra(**{name: "many"})
    with pytest.raises(InputError, match=rf"extra\.{name} is 'many', not a number"):
        connections.ledger_patience() if name == "patience_hours" else connections.ledger()
