"""The daily audit: does every champion's proof hold now?

Two tasks: ``audit`` looks, tells the log, the lineage graph and the asset ``drl.audit``, and succeeds
whatever it found; ``judge`` fails when something is false, so that whoever watches the DAG hears of it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Asset, BaseOperator, Param
from airflow.sdk.exceptions import AirflowFailException

from drl.errors import DrlError
from operators import connections
from operators.signing import keys_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk.definitions.context import Context

    from drl.champions.audit import Auditor, ChampionAudit

DAG_ID = "audit"
AUDIT = Asset(name="drl.audit", uri="drl://audit", group="drl")


class AuditChampionsOperator(BaseOperator):
    """Audit the champion of every registered model, and write down what was found."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(outlets=[AUDIT], **kwargs)

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Return one small object for each champion: model, version, outcome, problems."""
        started, auditor = datetime.now(UTC), self._auditor()
        models = context["params"]["models"] or connections.model_registry().models()
        found = [audit for model in models if (audit := auditor.audit(model)) is not None]
        for audit in found:
            self._tell(audit)
        if not found:
            self.log.warning("no model has a champion: there was nothing to audit")
        told = [audit.to_json() for audit in found]
        context["outlet_events"][AUDIT].extra = {
            "audited": len(told),
            "false": [each["model"] for each in told if each["outcome"] == "false"],
            "undetermined": [each["model"] for each in told if each["outcome"] == "undetermined"],
        }
        self._record(found, started, context["run_id"])
        return told

    def _auditor(self) -> Auditor:
        from drl.champions.audit import Auditor
        from drl.champions.record_check import RecordCheck
        from drl.champions.rollback import Champions
        from drl.record.keyring import Keyring

        ledger, store = connections.ledger(), connections.artifact_store()
        champions = Champions(connections.model_registry(), ledger, connections.record_documents())
        check = RecordCheck(ledger, store, Keyring(keys_folder()).entries())
        return Auditor(champions, ledger, store.sealed, check)

    def _tell(self, audit: ChampionAudit) -> None:
        version = f"version {audit.champion.version}" if audit.champion else "no champion"
        self.log.info("%s %s: %s", audit.model, version, audit.outcome)
        say = {"holds": self.log.info, "undetermined": self.log.warning, "false": self.log.error}
        for remark in audit.remarks:
            say[remark.kind]("  %s %s: %s", remark.kind, remark.about, remark.sentence)

    def _record(self, found: Sequence[ChampionAudit], started: datetime, run_id: str) -> None:
        """Into the bucket and the lineage graph. When these are away, log and asset still have the audit."""
        from drl.steps.lineage_documents import record_audit
        from drl.stores.lineage_audit import Audit

        findings = tuple(f for audit in found if (f := audit.finding()) is not None)
        audit = Audit(run_id, started.isoformat(), datetime.now(UTC).isoformat(), findings)
        try:
            with connections.lineage_graph() as graph:
                record_audit(connections.record_documents(), graph, audit)
        except DrlError as error:
            self.log.error("the lineage graph does not have this audit: %s", error)


class JudgeAuditOperator(BaseOperator):
    """Fail when the audit found something false; warn when something could not be told."""

    def execute(self, context: Context) -> dict[str, int]:
        """Return how many champions have which outcome."""
        told = context["ti"].xcom_pull(task_ids="audit")
        count = {kind: sum(t["outcome"] == kind for t in told) for kind in ("holds", "false", "undetermined")}
        for each in told:
            if each["outcome"] == "undetermined":
                self.log.warning("%s could not be told: %s", each["model"], "; ".join(each["problems"]))
        false = [f"{t['model']}: {'; '.join(t['problems'])}" for t in told if t["outcome"] == "false"]
        if false:
            raise AirflowFailException("the proof of a champion does not hold: " + " | ".join(false))
        return count


def audit_dag() -> DAG:
    """The audit's DAG: once a day, one at a time, no catching up."""
    with DAG(
        dag_id=DAG_ID,
        description="Every champion's record against store and ledger: alias, entries, finality, locks.",
        doc_md=__doc__,
        schedule="17 4 * * *",
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=6),
        tags={"drl", "audit"},
        params={
            "models": Param(
                [],
                type="array",
                items={"type": "string"},
                title="Models",
                description="Registered models to audit; all of them when empty",
            )
        },
        default_args={"owner": "drl", "retry_delay": timedelta(minutes=5)},
    ) as dag:
        AuditChampionsOperator(task_id="audit", retries=3) >> JudgeAuditOperator(task_id="judge", retries=0)
    return dag
