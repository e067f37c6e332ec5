"""Airflow's interface shows a run's report: a tab on the DAG run, behind Airflow's own login and permissions.

Loaded by the api-server, so nothing heavy is imported before a page is asked for.
"""

from __future__ import annotations

from typing import ClassVar

from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import HTMLResponse

app = FastAPI(title="DRL", openapi_url=None)

# The report has no scripts and loads nothing; this keeps it so whatever is in it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"


@app.get(
    "/report/{dag_id}/{run_id}",
    response_class=HTMLResponse,
    dependencies=[Depends(requires_access_dag("GET"))],
)
def report(dag_id: str, run_id: str) -> HTMLResponse:
    """The evaluation report of a run; 404 while there is none."""
    from drl.steps.journal import RunJournal, run_key
    from operators.connections import artifact_store, record_documents

    journal = RunJournal(record_documents(), run_key(dag_id, run_id))
    if not journal.has("evaluate.json"):
        raise HTTPException(404, "this run has no evaluation yet")
    outputs = journal.read_json("evaluate.json")["result"]["outputs"]
    digest = next(a["sha256"] for a in outputs if a["name"] == "report.html")
    page = artifact_store().read(f"sha256/{digest}")
    return HTMLResponse(page.decode(), headers={"Content-Security-Policy": _POLICY})


class DrlPlugin(AirflowPlugin):
    """Registers the pages."""

    name = "drl"
    fastapi_apps: ClassVar = [{"app": app, "url_prefix": "/drl", "name": "DRL"}]
    external_views: ClassVar = [
        {
            "name": "Evaluation",
            "href": "drl/report/{DAG_ID}/{RUN_ID}",
            "destination": "dag_run",
            "url_route": "drl_evaluation",
        }
    ]
