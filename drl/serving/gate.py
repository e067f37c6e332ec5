"""Before and behind every route: request ids, keys and roles, rates, metrics, and one log line."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from drl.serving.access import ApiKey, Role
from drl.serving.lines import say
from drl.serving.problems import Refused
from drl.serving.service import Service

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_OPEN = frozenset({"/healthz", "/readyz"})
_ACT = re.compile(r"/v1/policies/[^/]+/act")
_ROUTES = frozenset({"/healthz", "/readyz", "/metrics", "/v1/policies", "/openapi.json", "/docs"})
_NOBODY = ApiKey("anybody", frozenset(), "")


def route_of(path: str) -> str:
    """The route's name in metrics: bounded, whatever is asked for."""
    if path in _ROUTES:
        return path
    if _ACT.fullmatch(path):
        return "/v1/policies/{name}/act"
    return "/v1/policies/{name}" if path.startswith("/v1/policies/") else "other"


def role_of(path: str) -> Role | None:
    """The role that a path asks for; None for those that are open."""
    if path in _OPEN:
        return None
    if path == "/metrics":
        return "metrics"
    return "act" if _ACT.fullmatch(path) else "read"


class Gate:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it; routes find its id and whether it may read in its state."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, headers, status = time.perf_counter(), dict(scope["headers"]), 500
        request_id = _request_id(headers)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        name, key = _NOBODY.name, self._known(headers)
        state["may_read"] = self._service.keys is None or (key is not None and "read" in key.roles)
        try:
            name = self._admit(scope, key)
            await self._app(scope, receive, sending)
        except Refused as refusal:
            await refusal.response()(scope, receive, sending)
        finally:
            self._record(scope, name, request_id, status, time.perf_counter() - begin)

    def _admit(self, scope: Scope, key: ApiKey | None) -> str:
        """Name of whoever asks, if they may.

        Raises:
            Refused: 401, 403 or 429.
        """
        role = role_of(scope["path"])
        if role is None:
            return _NOBODY.name
        host = scope["client"][0] if scope.get("client") else "unknown"
        self._limit(key.name if key else f"address {host}")
        if self._service.keys is None:
            return _NOBODY.name
        if key is None:
            raise Refused(
                401,
                "no API key that is known here",
                remedy="send Authorization: Bearer KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if role not in key.roles:
            raise Refused(403, f"this key has not the role {role}", remedy="use a key that has it")
        return key.name

    def _known(self, headers: dict[bytes, bytes]) -> ApiKey | None:
        scheme, _, presented = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if self._service.keys is None or scheme.lower() != "bearer":
            return None
        return self._service.keys.find(presented.strip())

    def _limit(self, name: str) -> None:
        if wait := self._service.rates.wait(name):
            raise Refused(
                429,
                "more requests than one key may make",
                remedy="wait as Retry-After says, or send observations in batches",
                headers={"Retry-After": str(int(wait) + 1)},
            )

    def _record(self, scope: Scope, name: str, request_id: str, status: int, seconds: float) -> None:
        route = route_of(scope["path"])
        self._service.metrics.requests.labels(route, str(status)).inc()
        self._service.metrics.seconds.labels(route).observe(seconds)
        if scope["path"] in _OPEN and status == 200:
            return
        facts: dict[str, Any] = {"route": route, "method": scope["method"], "status": status, "by": name}
        say("request", request=request_id, **facts, ms=round(1000 * seconds, 3))


def _request_id(headers: dict[bytes, bytes]) -> str:
    """The caller's own, if it is one that can stand in a log, else a new one."""
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
