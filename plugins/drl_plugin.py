"""Pages in Airflow's interface: all runs, one run, its lineage, and *verify now*. Behind Airflow's own login.

Whoever may read a DAG may see its runs here. Loaded by the api-server; what the pages need is imported when
one is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, ClassVar
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.exceptions import AirflowNotFoundException
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from drl.errors import DrlError, InputError, Undetermined
from drl.steps.journal import run_key

if TYPE_CHECKING:
    from drl.pages.run import RunFacts

app = FastAPI(title="DRL", openapi_url=None)

_OWN = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
# A file of a run was written by a step: whatever is in it, it runs nothing and loads nothing.
_FOREIGN = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'self'"
_HARMLESS = {"Content-Security-Policy": _FOREIGN, "X-Content-Type-Options": "nosniff"}
_PIECE = 1 << 18
_SHOWN = {"report.html", "data_docs.html"}
_MAY_SEE_RUN = Depends(requires_access_dag("GET", DagAccessEntity.RUN))


def _readable(user: GetUserDep) -> set[str]:
    found: set[str] = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
    return found


Readable = Annotated[set[str], Depends(_readable)]
Depth = Annotated[int, Query(ge=1, le=12)]
Page = Annotated[int, Query(ge=0, le=100)]


@app.get("/", response_class=HTMLResponse)
def overview(request: Request, readable: Readable, page: Page = 0) -> HTMLResponse:
    """Champions, pipelines and recent runs of the DAGs that the reader may read."""
    from drl.pages.render import overview_page
    from operators import pages

    return _html(overview_page(pages.site(_root(request)), pages.overview(readable, page)))


@app.get("/run/{dag_id}/{run_id}", response_class=HTMLResponse, dependencies=[_MAY_SEE_RUN])
def run(request: Request, dag_id: str, run_id: str) -> HTMLResponse:
    """Everything about a run."""
    from drl.pages.render import run_page
    from operators import pages

    found, site = _run(dag_id, run_id), pages.site(_root(request))
    return _html(run_page(site, found, pages.journals(), trust_words=pages.trust_words()))


@app.get("/account/{dag_id}/{run_id}", response_class=HTMLResponse, dependencies=[_MAY_SEE_RUN])
def account(request: Request, dag_id: str, run_id: str) -> HTMLResponse:
    """What the chain says of the run's pipeline."""
    from drl.pages.render import account_part
    from operators import pages

    counted, head = pages.account(_run(dag_id, run_id))
    return _html(account_part(pages.site(_root(request)), counted, head))


@app.get("/lineage/{dag_id}/{run_id}", response_class=HTMLResponse, dependencies=[_MAY_SEE_RUN])
def lineage(
    request: Request,
    dag_id: str,
    run_id: str,
    readable: Readable,
    node: str | None = None,
    depth: Depth = 2,
) -> HTMLResponse:
    """The lineage around a thing, by default around what the run made."""
    from drl.digest import require_sha256
    from drl.pages.render import lineage_page
    from operators import pages

    found = _run(dag_id, run_id)
    chosen = require_sha256(node, where="node") if node else found.thing
    around = pages.around(chosen, depth, readable)
    return _html(lineage_page(pages.site(_root(request)), found, around, depth))


@app.get("/verify/{dag_id}/{run_id}", dependencies=[_MAY_SEE_RUN])
def verify(dag_id: str, run_id: str) -> StreamingResponse:
    """Every check of the run's record as it runs, as server-sent events."""
    from drl.pages.verifying import events
    from operators import pages

    stream = events(pages.question(_run(dag_id, run_id)))
    return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@app.get("/record/{dag_id}/{run_id}", dependencies=[_MAY_SEE_RUN])
def record(dag_id: str, run_id: str) -> StreamingResponse:
    """The run's record, as ``drl record export`` writes it."""
    from operators import pages

    found = _run(dag_id, run_id)
    zipped, size = pages.record_zip(found)
    headers = _saved(found.record_name) | {"Content-Length": f"{size}"}
    return StreamingResponse(_pieces(zipped), media_type="application/zip", headers=headers)


@app.get("/file/{dag_id}/{run_id}/{name:path}", dependencies=[_MAY_SEE_RUN])
def file(dag_id: str, run_id: str, name: str) -> Response:
    """A file that a step of the run made: pages to be shown, everything else to be kept."""
    from operators import pages

    artifact = _run(dag_id, run_id).output(name)
    short = artifact.name.rpartition("/")[2]
    return _foreign(pages.journals().file(artifact), short, shown=short in _SHOWN)


@app.get("/statement/{dag_id}/{run_id}/{name:path}", dependencies=[_MAY_SEE_RUN])
def statement(dag_id: str, run_id: str, name: str) -> Response:
    """A signed statement of the run, as it is stored."""
    from operators import pages

    found = _run(dag_id, run_id)
    if name not in {signed.name for signed in found.statements}:
        raise HTTPException(404, f"the run has no statement {name!r}")
    stored = f"{name}.dsse.json"
    data = pages.journals().raw(found.key, [stored])[stored]
    return _foreign(data, stored.rpartition("/")[2], shown=False)


@app.get("/report/{dag_id}/{run_id}", dependencies=[_MAY_SEE_RUN])
def report(dag_id: str, run_id: str) -> Response:
    """The evaluation report of a run; 404 while there is none."""
    return file(dag_id, run_id, "evaluate/report.html")


@app.get("/static/{name}")
def static(name: str, user: GetUserDep) -> Response:
    """A style sheet or script of the pages."""
    from drl.pages.render import asset

    try:
        data, kind = asset(name)
    except KeyError:
        raise HTTPException(404, f"no file {name!r}") from None
    return Response(data, media_type=kind, headers={"Cache-Control": "private, no-cache"})


@app.exception_handler(DrlError)
def _problem(request: Request, error: DrlError) -> HTMLResponse:
    status = 404 if isinstance(error, InputError) else 503 if isinstance(error, Undetermined) else 500
    return _message(request, status, error.message, error.remedy)


@app.exception_handler(UnicodeDecodeError)
def _not_text(request: Request, error: UnicodeDecodeError) -> HTMLResponse:
    message = f"what should be shown is not UTF-8 text (byte {error.start}: {error.reason})"
    return _message(request, 400, message, "Download the run's files, or verify the run.")


@app.exception_handler(AirflowNotFoundException)
def _no_connection(request: Request, error: AirflowNotFoundException) -> HTMLResponse:
    from operators.pages import missing_connection

    return _problem(request, missing_connection(error))


@app.exception_handler(AnyHTTPException)
def _refusal(request: Request, error: AnyHTTPException) -> HTMLResponse:
    remedy = "Log in to Airflow, then load this page again." if error.status_code == 401 else None
    return _message(request, error.status_code, str(error.detail), remedy)


def _message(request: Request, status: int, message: str, remedy: str | None) -> HTMLResponse:
    from drl.pages.render import Site, message_page

    return _html(message_page(Site(_root(request)), f"{status}", message, remedy), status)


def _run(dag_id: str, run_id: str) -> RunFacts:
    from drl.pages.run import read_run
    from operators import pages

    return read_run(pages.journals(), run_key(dag_id, run_id))


def _root(request: Request) -> str:
    return str(request.scope["root_path"]).rstrip("/")


def _html(page: str, status: int = 200) -> HTMLResponse:
    headers = {"Content-Security-Policy": _OWN, "Cache-Control": "no-store", "Referrer-Policy": "same-origin"}
    return HTMLResponse(page, status, headers | {"X-Content-Type-Options": "nosniff"})


def _foreign(data: bytes, name: str, *, shown: bool) -> Response:
    if shown:
        return HTMLResponse(data.decode(), headers=_HARMLESS)
    return Response(data, media_type="application/octet-stream", headers=_saved(name))


def _saved(name: str) -> dict[str, str]:
    """Headers of a file that is kept under ``name``, not shown."""
    return {**_HARMLESS, "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        yield from iter(partial(stream.read, _PIECE), b"")


def _view(name: str, href: str, destination: str, route: str) -> dict[str, Any]:
    return {"name": name, "href": href, "destination": destination, "url_route": route}


class DrlPlugin(AirflowPlugin):
    """Registers the pages."""

    name = "drl"
    fastapi_apps: ClassVar = [{"app": app, "url_prefix": "/drl", "name": "DRL"}]
    external_views: ClassVar = [
        {**_view("DRL", "drl/", "nav", "drl"), "nav_top_level": True},
        _view("Proof", "drl/run/{DAG_ID}/{RUN_ID}", "dag_run", "drl_run"),
        _view("Lineage", "drl/lineage/{DAG_ID}/{RUN_ID}", "dag_run", "drl_lineage"),
        _view("Evaluation", "drl/report/{DAG_ID}/{RUN_ID}", "dag_run", "drl_evaluation"),
    ]
