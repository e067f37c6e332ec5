"""The routes of drl-api."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import FastAPI, Path, Request
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from drl import __version__
from drl.errors import InputError
from drl.serving.decisions import Decision
from drl.serving.gate import Gate
from drl.serving.messages import (
    ActAnswer,
    ActRequest,
    PoliciesAnswer,
    PolicyAnswer,
    Problem,
    Readiness,
)
from drl.serving.metrics import CONTENT_TYPE
from drl.serving.problems import MEDIA_TYPE, Refused
from drl.serving.service import Service
from drl.serving.watching import Loaded, PolicyWatch

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"description": "No API key that is known here"},
    403: {"description": "The key has not the role"},
    404: {"description": "No such policy"},
    413: {"description": "The request or its batch is too large"},
    422: {"description": "The request does not fit the policy"},
    429: {"description": "More requests than one key may make"},
    503: {"description": "No policy whose proof holds; `reasons` has the failing checks"},
}
_REFUSAL = {"content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
_HEADERS = {
    name: {"schema": {"type": "string"}, "description": text}
    for name, text in (
        ("X-Model-Root", "Root of the policy that answered"),
        ("X-Model-Version", "Its version in the registry"),
        ("X-Request-Id", "The caller's, or one made here"),
    )
}
_ABOUT = """\
A policy answers only after the record of its training, its evaluation and its promotion was verified against
a pinned trust policy, and the promotion found to be the newest on the ledger. Model roots in answers say
which policy it was, bit for bit.
"""


def create_app(service: Service) -> FastAPI:
    """The application around a service, which it starts and stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    app = FastAPI(title="drl-api", version=__version__, description=_ABOUT, lifespan=lifespan, redoc_url=None)
    app.add_middleware(Gate, service=service)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _not_found)
    _add_health(app, service)
    _add_policies(app, service)
    _add_act(app, service)
    return app


def _documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {**_PROBLEMS[status], **_REFUSAL} for status in statuses}


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - registered for this type alone
    return error.response()


async def _not_found(_: Request, error: Exception) -> Response:
    """What the router says of unknown paths and methods, as a problem document."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type alone
    problem = Refused(
        error.status_code,
        str(error.detail),
        remedy="see /openapi.json for what there is",
        headers=error.headers,
    )
    return problem.response()


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    @app.get(
        "/readyz",
        tags=["health"],
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "No policy answers, or not all were looked at"}},
    )
    async def readyz(request: Request) -> Response:
        """Whether this process is of use, and each policy's state; to a key that may read, the reasons."""
        found = service.readiness(reasons=request.state.may_read)
        return JSONResponse(found, status_code=200 if found["ready"] else 503)

    @app.get(
        "/metrics",
        tags=["health"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **_documented(401, 403, 429)},
    )
    async def metrics() -> Response:
        """Everything that Prometheus is told."""
        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def _add_policies(app: FastAPI, service: Service) -> None:
    @app.get(
        "/v1/policies", tags=["policies"], response_model=PoliciesAnswer, responses=_documented(401, 403, 429)
    )
    async def policies() -> Response:
        """Every policy: what is served, its proof, and what was refused."""
        return JSONResponse({"policies": [service.about(watch) for watch in service.watches.values()]})

    @app.get(
        "/v1/policies/{name}",
        tags=["policies"],
        response_model=PolicyAnswer,
        responses=_documented(401, 403, 404, 429),
    )
    async def policy(name: str = _names(service)) -> Response:
        """One policy."""
        return JSONResponse(service.about(_watch(service, name)))


def _add_act(app: FastAPI, service: Service) -> None:
    body = {"required": True, "content": {"application/json": {"schema": ActRequest.model_json_schema()}}}

    @app.post(
        "/v1/policies/{name}/act",
        tags=["policies"],
        response_model=ActAnswer,
        openapi_extra={"requestBody": body},
        responses={200: {"headers": _HEADERS}, **_documented(401, 403, 404, 413, 422, 429, 503)},
    )
    async def act(request: Request, name: str = _names(service)) -> Response:
        """The action for one observation, or the actions for several."""
        watch = _watch(service, name)
        asked = _parsed(await _read(request, service.settings.body_bytes))
        loaded = _serving(watch)
        observations = _observations(asked, loaded, service.settings.batch_rows)
        try:
            actions = loaded.policy.act(observations, seed=asked.seed)
        except InputError as error:
            raise Refused(422, error.message, remedy=error.remedy) from error
        _note(service, loaded, request.state.request_id, asked, observations, actions)
        return _answer(asked, loaded, actions)


def _names(service: Service) -> Any:
    """The path's parameter, whose values the document lists."""
    return Path(description="Registered model", json_schema_extra={"enum": sorted(service.watches)})


def _watch(service: Service, name: str) -> PolicyWatch:
    if name not in service.watches:
        raise Refused(404, "no such policy is served here", remedy="GET /v1/policies lists them")
    return service.watches[name]


def _serving(watch: PolicyWatch) -> Loaded:
    if watch.loaded is None:
        reasons = watch.refused.reasons if watch.refused else ("its proof has not been made yet",)
        raise Refused(
            503,
            f"no policy {watch.model} whose proof holds",
            remedy="see the reasons; GET /readyz has its state",
            reasons=reasons,
            headers={"Retry-After": "5"},
        )
    return watch.loaded


async def _read(request: Request, limit: int) -> bytes:
    """The body, if it is not larger than ``limit`` bytes, whatever its length is said to be."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise Refused(413, f"more than {limit} bytes", remedy="send smaller batches")
    return bytes(body)


def _parsed(body: bytes) -> ActRequest:
    try:
        return ActRequest.model_validate_json(body)
    except ValidationError as error:
        reasons = [
            f"{'.'.join(map(str, p['loc'])) or 'body'}: {p['msg']}"
            for p in error.errors(include_url=False, include_input=False, include_context=False)[:5]
        ]
        raise Refused(
            422, "the request is not of its form", remedy="see /openapi.json", reasons=reasons
        ) from error


def _observations(asked: ActRequest, loaded: Loaded, most: int) -> npt.NDArray[np.float32]:
    """Observations [N, D], of the policy's size and finite in float32."""
    rows, size = asked.observations or [asked.observation], loaded.policy.description.observation_size
    if len(rows) > most:
        raise Refused(413, f"{len(rows)} observations, at most {most}", remedy="send smaller batches")
    wrong = next((i for i, row in enumerate(rows) if len(row) != size), None)
    if wrong is not None:
        raise Refused(
            422,
            f"observation {wrong} has {len(rows[wrong])} numbers, the policy takes {size}",
            remedy="GET /v1/policies/NAME has its spaces",
        )
    with np.errstate(over="ignore"):
        observations = np.asarray(rows, dtype=np.float32)
    if not np.isfinite(observations).all():
        raise Refused(422, "a number beyond float32", remedy="send what the environment observes")
    return observations


def _note(
    service: Service,
    loaded: Loaded,
    request_id: str,
    asked: ActRequest,
    observations: npt.NDArray[np.float32],
    actions: npt.NDArray[Any],
) -> None:
    service.metrics.rows.labels(loaded.target.model).inc(len(observations))
    if loaded.drift is not None:
        loaded.drift.add(observations)
    if service.decisions is not None:
        service.decisions.add(
            Decision(time.time(), request_id, loaded.target, asked.seed, observations, actions)
        )


def _answer(asked: ActRequest, loaded: Loaded, actions: npt.NDArray[Any]) -> Response:
    listed = actions.tolist()
    value = {"actions": listed} if asked.observations else {"action": listed[0]}
    headers = {"X-Model-Root": loaded.target.root, "X-Model-Version": str(loaded.target.version)}
    return Response(json.dumps(value), headers=headers, media_type="application/json")
