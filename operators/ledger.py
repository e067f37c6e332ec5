"""Open the run on the ledger before training, and close it after the seal."""

from __future__ import annotations

from typing import Any

from drl.record.ledger import DEMO_CHAIN_IDS
from operators import connections
from operators.base import Run, RunOperator


class OpenRunOperator(RunOperator):
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


class CloseRunOperator(RunOperator):
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
