"""Runs, parameters and metrics in MLflow, through its own client.

Importing this module imports MLflow (1.6 s on an idle core; every submodule pulls in the whole package, so
there is nothing to cut).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import requests
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException, RestException
from mlflow.tracking.client import MlflowClient

from drl.errors import ConflictError, InputError, StoreError
from drl.stores.settings import RegistrySettings

RUN_KEY = "drl.run_key"

# MLflow's client would retry for four minutes. Whoever sets these variables keeps those values.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
_METRICS_A_REQUEST = 1000
_PARAMS_A_REQUEST = 100


class RunTracker:
    """Runs of pipelines, found again by their key.

    Every method raises StoreError when the server refuses or is out of reach, within about 20 s.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self.settings = settings
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        self._client = MlflowClient(tracking_uri=settings.uri, registry_uri=settings.uri)

    def ping(self) -> None:
        """Return if the server answers."""
        with self.refusals("looking for experiments"):
            self._client.search_experiments(max_results=1)

    # ------------------------------------------------------------------------------------------ runs

    def ensure_experiment(self, pipeline: str) -> str:
        """Identifier of the pipeline's experiment, made if need be."""
        with self.refusals(f"experiment {pipeline}"):
            found = self._client.get_experiment_by_name(pipeline)
            if found is None:
                try:
                    return str(self._client.create_experiment(pipeline))
                except MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                    found = self._client.get_experiment_by_name(pipeline)
        if found is None or found.lifecycle_stage != "active":
            raise ConflictError(
                f"MLflow at {self.settings.uri}: experiment {pipeline} was deleted",
                remedy="restore it (`mlflow experiments restore`) or give the pipeline another name",
            )
        return str(found.experiment_id)

    def start_run(self, pipeline: str, run_key: str, tags: Mapping[str, str]) -> str:
        """Identifier of the MLflow run of a pipeline run, set to running; found again after a crash."""
        experiment = self.ensure_experiment(pipeline)
        with self.refusals(f"run {run_key}"):
            run_id = self._find_run(experiment, run_key)
            if run_id is None:
                self._client.create_run(experiment, tags={**tags, RUN_KEY: run_key}, run_name=run_key)
                # A creation whose reply was lost is sent again by the client: the oldest run counts.
                run_id = self._find_run(experiment, run_key)
            else:
                self._client.update_run(run_id, status="RUNNING")
        if run_id is None:
            raise StoreError(
                f"MLflow at {self.settings.uri} does not find run {run_key} that it made",
                remedy="try again; if it stays so, look at the server's log",
            )
        return run_id

    def log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        """Record parameters; nested ones get dotted names.

        Raises:
            ConflictError: a parameter was recorded with another value before.
        """
        flat = [Param(name, str(value)) for name, value in _flatten(params)]
        with self.refusals(f"parameters of run {run_id}"):
            for batch in _batches(flat, _PARAMS_A_REQUEST):
                self._client.log_batch(run_id, params=batch)

    def log_metrics(self, run_id: str, series: str, step: int, values: Mapping[str, float]) -> None:
        """Record the numbers of one step of a series, e.g. of ``seed-0``, for live curves."""
        with self.refusals(f"metrics of run {run_id}"):
            self._log([_metric(series, step, name, value) for name, value in values.items()], run_id)

    def complete_metrics(
        self, run_id: str, series: str, rows: Iterable[tuple[int, Mapping[str, float]]]
    ) -> int:
        """Record those of ``rows`` (step, values) that live forwarding missed; returns how many numbers."""
        wanted = [
            _metric(series, step, name, value) for step, values in rows for name, value in values.items()
        ]
        with self.refusals(f"metrics of run {run_id}"):
            known = {
                key: {metric.step for metric in self._client.get_metric_history(run_id, key)}
                for key in {metric.key for metric in wanted}
            }
            missing = [metric for metric in wanted if metric.step not in known[metric.key]]
            self._log(missing, run_id)
        return len(missing)

    def log_system_info(self, run_id: str, info: Mapping[str, Any]) -> None:
        """Record where the work was done (host, processor, packages) as tags below ``system.``."""
        tags = [RunTag(f"system.{name}", str(value)) for name, value in _flatten(info)]
        with self.refusals(f"system info of run {run_id}"):
            for batch in _batches(tags, _PARAMS_A_REQUEST):
                self._client.log_batch(run_id, tags=batch)

    def end_run(self, run_id: str, status: str = "FINISHED") -> None:
        """End a run as ``FINISHED``, ``FAILED`` or ``KILLED``."""
        with self.refusals(f"ending run {run_id}"):
            self._client.set_terminated(run_id, status=status)

    def _find_run(self, experiment: str, run_key: str) -> str | None:
        runs = self._client.search_runs(
            [experiment],
            f"tags.`{RUN_KEY}` = '{quotable(run_key)}'",
            run_view_type=ViewType.ACTIVE_ONLY,
            max_results=1,
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
        )
        return str(runs[0].info.run_id) if runs else None

    def _log(self, metrics: list[Metric], run_id: str) -> None:
        for batch in _batches(metrics, _METRICS_A_REQUEST):
            self._client.log_batch(run_id, metrics=batch)

    @contextmanager
    def refusals(self, doing: str) -> Iterator[None]:
        """Turn every failure of the client into a StoreError that names the address and the doing."""
        where = f"MLflow at {self.settings.uri}"
        try:
            yield
        except MlflowException as error:
            if error.error_code == "INVALID_PARAMETER_VALUE" and "Changing param" in str(error):
                raise ConflictError(
                    f"{where}: {doing}: recorded before with other values",
                    remedy="a run's parameters stand: start a new run for new ones",
                ) from error
            # The client wraps a failed connection into its own exception, without an answer's code.
            silent = not isinstance(error, RestException) and error.error_code == "INTERNAL_ERROR"
            raise StoreError(
                f"{where} {'cannot be reached' if silent else f'refused ({error.error_code})'}: {doing}",
                remedy="start the server (`drl stack up`) or mend DRL_MLFLOW_URI, then try again",
            ) from error
        except requests.RequestException as error:
            raise StoreError(
                f"{where} cannot be reached: {doing}: {type(error).__name__}",
                remedy="start the server (`drl stack up`) or mend DRL_MLFLOW_URI, then try again",
            ) from error


def _metric(series: str, step: int, name: str, value: float) -> Metric:
    return Metric(f"{series}/{name}", float(value), int(time.time() * 1000), step)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def quotable(text: str) -> str:
    """``text`` for a filter in single quotes; MLflow's filters know no escape."""
    if "'" in text or "\\" in text:
        raise InputError(
            f"{text!r}: quotes and backslashes cannot be searched for", remedy="use another name"
        )
    return text
