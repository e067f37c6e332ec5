"""Open the run on the ledger before training, and close it after the seal."""

from __future__ import annotations

from abc import ABC
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from drl.errors import StoreError
from drl.record.ledger import DEMO_CHAIN_IDS
from operators import connections
from operators.base import Run, RunOperator
from operators.links import TransactionLink

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

_SOONEST, _LATEST = timedelta(seconds=15), timedelta(minutes=10)


class LedgerOperator(RunOperator, ABC):
    """Writes to the ledger, and waits for a chain that is down, too dear or slow to be final.

    While it waits the task is deferred and holds no worker; the triggerer wakes it, first after 15 s, then
    after a quarter of what it has waited, at most 10 min. After ``extra.patience_hours`` of ``evm_default``
    it fails as any task does.
    """

    operator_extra_links = (TransactionLink(),)

    def execute(self, context: Context) -> Any:
        """Write, or find written; else try again later, from where this ended."""
        try:
            return super().execute(context)
        except StoreError as error:
            self._wait(context, error)

    def try_again(self, context: Context, event: Any) -> Any:
        """The triggerer's call; when it came is of no interest."""
        return self.execute(context)

    def _wait(self, context: Context, error: StoreError) -> None:
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

        begun = context["ti"].start_date  # kept while a task is deferred
        waited, patience = datetime.now(UTC) - begun, connections.ledger_patience()
        delay = min(max(waited / 4, _SOONEST), _LATEST)
        if waited + delay > patience:
            raise error
        self.log.warning("next try in %d s, the last one before %s", delay.seconds, begun + patience)
        self.defer(trigger=TimeDeltaTrigger(delay), method_name="try_again")


class OpenRunOperator(LedgerOperator):
    """Write the intent on the ledger; the block that holds it gives the seeds."""

    def work(self, run: Run) -> dict[str, Any]:
        """Return run number, transaction, seeds and the error that this look at the test data may spend."""
        opening = run.journal.once("opening.json", lambda: self._open(run))
        receipt = opening["entry"]["receipt"]
        self.log.info("run %d opened in block %d: %s", receipt["run"], receipt["block_number"], receipt["tx"])
        if receipt["chain_id"] in DEMO_CHAIN_IDS:
            self.log.warning("demo chain: it proves no time to anybody else")
        self.log.info("seeds %s (%s)", opening["seeds"], opening["seeds_from"])
        return {
            "run": receipt["run"],
            "tx": receipt["tx"],
            "seeds": opening["seeds"],
            "alpha": opening["alpha"],
        }

    def _open(self, run: Run) -> dict[str, Any]:
        from drl.digest import sha256_bytes
        from drl.evaluation.promotion import spent_alpha
        from drl.record.seeds import SCHEME, derive_seeds

        intent = sha256_bytes(run.journal.read("intent.dsse.json"))
        opening = connections.ledger().open(run.pipeline, intent, run.resolved["test_data"])
        training, rule = run.spec.training, run.spec.promotion
        if isinstance(training.seeds, list):
            seeds, scheme = training.seeds, "owner-chosen"
        else:
            seeds, scheme = derive_seeds(intent, opening.receipt.block_hash, training.seeds), SCHEME
        return {
            "entry": opening.to_json(),
            "seeds": [str(seed) for seed in seeds],
            "seeds_from": scheme,
            "alpha": spent_alpha(rule.alpha, opening.look) if rule.fixed_test else rule.alpha,
        }


class CloseRunOperator(LedgerOperator):
    """Write the digest of the release statement and the verdict on the ledger."""

    def work(self, run: Run) -> dict[str, Any]:
        """Return run number and transaction."""
        closing = run.journal.once("closing.json", lambda: self._close(run))
        receipt = closing["receipt"]
        self.log.info("run %d closed with %s: %s", receipt["run"], closing["verdict"], receipt["tx"])
        return {"run": receipt["run"], "tx": receipt["tx"], "verdict": closing["verdict"]}

    def _close(self, run: Run) -> dict[str, Any]:
        from drl.digest import sha256_bytes

        record = sha256_bytes(run.journal.read("release.dsse.json"))
        number = run.journal.read_json("opening.json")["entry"]["receipt"]["run"]
        return connections.ledger().close(run.pipeline, number, record, run.outcome.verdict).to_json()
