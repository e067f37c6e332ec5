"""A typed client of drl-api that needs nothing but the standard library."""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

from drl.errors import InputError, StoreError

Action = int | list[float]


@dataclass(frozen=True)
class Acted:
    """An answer.

    Attributes:
        actions: one for each observation.
        model_root: of the policy that answered.
        version: its version in the registry.
        request: the request's id, to be found in logs and logged decisions.
    """

    actions: list[Action]
    model_root: str
    version: int
    request: str


class PolicyClient:
    """Asks one drl-api over one kept connection. Not for several threads at once; a context manager.

    Args:
        address: ``http(s)://HOST:PORT``.
        key: an API key, where the server wants one.
        seconds: how long to wait for an answer.

    Every method raises InputError when the server refuses the request, and StoreError when it is out of reach
    or serves no policy whose proof holds.
    """

    def __init__(self, address: str, *, key: str | None = None, seconds: float = 10.0) -> None:
        parts = urlsplit(address)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        if parts.scheme not in kinds or not parts.hostname:
            raise InputError(f"{address!r} is no address", remedy="give http://HOST:PORT")
        self._connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=seconds)
        self._headers = {"Content-Type": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"

    def __enter__(self) -> PolicyClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def act(self, policy: str, observation: Sequence[float], *, seed: int | None = None) -> Acted:
        """The action for one observation; with a seed it is drawn from the policy's distribution."""
        return self._act(policy, {"observation": list(observation)}, seed)

    def act_many(
        self, policy: str, observations: Sequence[Sequence[float]], *, seed: int | None = None
    ) -> Acted:
        """The actions for several observations, in their order."""
        return self._act(policy, {"observations": [list(row) for row in observations]}, seed)

    def policies(self) -> list[dict[str, Any]]:
        """Every policy with its proof."""
        found: list[dict[str, Any]] = self._ask("GET", "/v1/policies")[0]["policies"]
        return found

    def policy(self, name: str) -> dict[str, Any]:
        """One policy with its proof."""
        return self._ask("GET", f"/v1/policies/{quote(name, safe='')}")[0]

    def _act(self, policy: str, body: dict[str, Any], seed: int | None) -> Acted:
        if seed is not None:
            body["seed"] = seed
        value, headers = self._ask("POST", f"/v1/policies/{quote(policy, safe='')}/act", body)
        actions = value["actions"] if "actions" in value else [value["action"]]
        return Acted(
            actions, headers["X-Model-Root"], int(headers["X-Model-Version"]), headers["X-Request-Id"]
        )

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], http.client.HTTPMessage]:
        data = None if body is None else json.dumps(body).encode()
        try:
            reply = self._reply(method, path, data)
            value: dict[str, Any] = json.loads(reply.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            raise StoreError(
                f"drl-api does not answer: {type(error).__name__}: {error}", remedy="start it, or try again"
            ) from error
        if reply.status < 400:
            return value, reply.headers
        reasons = "".join(f"\n  {reason}" for reason in value.get("reasons", []))
        kind = StoreError if reply.status >= 500 else InputError
        raise kind(f"{value.get('detail', reply.reason)}{reasons}", remedy=value.get("remedy", "see its log"))

    def _reply(self, method: str, path: str, data: bytes | None) -> http.client.HTTPResponse:
        """Ask, and once more over a new connection where the kept one was closed while it was idle."""
        kept = self._connection.sock is not None
        try:
            self._connection.request(method, path, body=data, headers=self._headers)
            return self._connection.getresponse()
        except ConnectionError:
            self._connection.close()
            if not kept:
                raise
        self._connection.request(method, path, body=data, headers=self._headers)
        return self._connection.getresponse()
