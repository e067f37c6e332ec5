"""Airflow's REST API in the cluster, through a port-forward as a person's browser would go."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from airflow_api import AirflowApi
from cluster.kubernetes_api import ForwardError, PortForward
from k8s_manifests import folder

PATIENCE_SECONDS = 180


class ClusterAirflow(AirflowApi):
    """Logged in as the deployment's admin. A forward lives as long as its pod, so it is made again."""

    def __init__(self) -> None:
        super().__init__()
        self._forward = PortForward("drl-system", "service/airflow-service", 8080)
        password = json.loads((folder() / "secrets" / "passwords.json").read_bytes())["admin"]
        answer = self.log_in_as("admin", password)
        assert answer.ok, answer.text

    @property
    def address(self) -> str:
        return self._forward.address

    def ask(self, method: str, path: str, **keywords: Any) -> requests.Response:
        """As Airflow answers; while the api-server is being replaced it is asked again."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return super().ask(method, path, **keywords)
            except (requests.ConnectionError, requests.ReadTimeout):
                assert time.monotonic() < end, "the api-server did not come back"
                self._connect_again(end)

    def wait_for_dag(self, dag: str, seconds: float) -> None:
        """Wait until a DAG has been parsed without an error."""
        end = time.monotonic() + seconds
        while not self.ask("GET", f"dags/{dag}").ok:
            assert time.monotonic() < end, self.get("importErrors")
            time.sleep(1)

    def close(self) -> None:
        """End the forward."""
        self._forward.close()

    def _connect_again(self, end: float) -> None:
        self._forward.close()
        while True:
            time.sleep(2)
            try:
                self._forward = PortForward("drl-system", "service/airflow-service", 8080)
            except ForwardError:
                assert time.monotonic() < end, "no pod of the api-server is ready"
            else:
                return


@contextmanager
def cluster_airflow() -> Iterator[ClusterAirflow]:
    """A connection to it that is closed at the end."""
    airflow = ClusterAirflow()
    try:
        yield airflow
    finally:
        airflow.close()
