"""Links on tasks in Airflow's interface, made when the task ends: to its part of the run's page, and outside.

The pages are below ``/drl`` of the api-server, wherever that is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlsplit

from airflow.configuration import conf
from airflow.sdk import BaseOperatorLink

from drl.steps.journal import run_key
from operators import connections

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


def run_page(dag_id: str, run_id: str, *, page: str = "run", part: str = "") -> str:
    """Address of a page of a run, without scheme and host."""
    base = urlsplit(conf.get("api", "base_url", fallback="/")).path.rstrip("/")
    run = run_key(dag_id, run_id).partition("/")[2]
    return f"{base}/drl/{page}/{quote(dag_id, safe='')}/{quote(run, safe='')}{part}"


class RunPageLink(BaseOperatorLink):
    """The part of the run's page that this task made.

    Args:
        name: of the button.
        page: which page.
        part: of the address, after the run.
    """

    name: ClassVar[str] = "Proof"
    page: ClassVar[str] = "run"
    part: ClassVar[str] = ""

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Address of the page."""
        return run_page(ti_key.dag_id, ti_key.run_id, page=self.page, part=self.part)


class StepLink(RunPageLink):
    """What a step made: Data Docs of the data, curves of the training, the report of the evaluation."""

    _PARTS: ClassVar[dict[str, tuple[str, str]]] = {
        "prepare": ("file", "/prepare/data_docs.html"),
        "train": ("run", "#learning"),
        "evaluate": ("report", ""),
    }
    name: ClassVar[str] = "Result"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Address of the page."""
        page, part = self._PARTS[ti_key.task_id]
        return run_page(ti_key.dag_id, ti_key.run_id, page=page, part=part)


class TransactionLink(RunPageLink):
    """The transaction of a task: in a block explorer where there is one, else on the run's page."""

    name: ClassVar[str] = "Transaction"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Address of the transaction."""
        page, done = connections.transaction_page(), _returned(ti_key)
        if page and done and done.get("tx"):
            return page.format(tx=done["tx"])
        return run_page(ti_key.dag_id, ti_key.run_id, part="#ledger")


class RegistryLink(RunPageLink):
    """The model's version in MLflow."""

    name: ClassVar[str] = "MLflow"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Address of the version."""
        done = _returned(ti_key)
        if not done:
            return ""
        return f"{connections.registry_page()}/#/models/{quote(done['model'])}/versions/{done['version']}"


class LineageLink(RunPageLink):
    """The lineage of what the run made."""

    name: ClassVar[str] = "Lineage"
    page: ClassVar[str] = "lineage"


def _returned(ti_key: TaskInstanceKey) -> dict[str, Any] | None:
    """What the task returned, None when it returned nothing."""
    from airflow.sdk.execution_time.xcom import XCom

    value = XCom.get_value(key="return_value", ti_key=ti_key)
    return value if isinstance(value, dict) else None
