"""A container's log, read again and again; every line comes once.

Polling rather than following: an API server that restarts ends a stream without a word, and a thread for each
stream outlives whoever asked.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

_OVERLAP_S = 2


class PodLog:
    """The log of one container, from its beginning.

    Args:
        api: of the cluster.
        namespace: of the pod; ``pod`` and ``container`` are names.
    """

    def __init__(self, api: CoreV1Api, namespace: str, pod: str, container: str) -> None:
        self._api = api
        self._where = {"namespace": namespace, "name": pod, "container": container}
        self._last = ""  # time of the last line seen, RFC 3339 with nanoseconds

    def new_lines(self, *, ended: bool) -> list[str]:
        """Lines since the last call; none while the container has not started.

        Args:
            ended: whether nothing more will come; then what stands after the last line break is a line too.

        Raises:
            ApiException: the API server refused; urllib3.exceptions.HTTPError: it did not answer.
        """
        from kubernetes.client import ApiException

        try:
            answer = self._api.read_namespaced_pod_log(
                **self._where, timestamps=True, since_seconds=self._since(), _preload_content=False
            )
        except ApiException as error:
            if error.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):  # not started, or gone
                return []
            raise
        *whole, rest = answer.data.decode("utf-8", "replace").split("\n")
        lines = [*whole, rest] if ended and rest else whole
        return [line for line in map(self._new, lines) if line is not None]

    def _new(self, stamped: str) -> str | None:
        moment, _, line = stamped.partition(" ")
        if moment <= self._last:
            return None
        self._last = moment
        return line

    def _since(self) -> int | None:
        if not self._last:
            return None
        last = datetime.fromisoformat(self._last[:19]).replace(tzinfo=UTC)
        return math.ceil((datetime.now(UTC) - last).total_seconds()) + _OVERLAP_S
