"""The verdict as a branch that everybody sees, and the promotion as the very last act."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.branch import BranchMixIn
from airflow.sdk import Asset

from operators import connections
from operators.base import Run, RunOperator
from operators.ledger import LedgerOperator

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

_ALIAS = "champion"


class VerdictOperator(RunOperator, BranchMixIn):
    """Go on to ``promote``, ``hold`` or ``reject``. All three are successful ends."""

    inherits_from_skipmixin = True

    def execute(self, context: Context) -> Any:
        """Follow the branch that the verdict names."""
        return self.do_branch(context, super().execute(context))

    def work(self, run: Run) -> str:
        """Return the task that follows."""
        outcome = run.outcome
        self.log.info("%s: %s", outcome.verdict, outcome.reason)
        return outcome.verdict.lower()


class PromotePolicyOperator(LedgerOperator):
    """Sign the promotion, seal it, note it on the ledger, then move the alias, under a lock.

    The alias moves only if the champion is still the one that was evaluated against; else the promotion is
    superseded: the verdict stands, the alias does not move. It moves once: a task cleared after that changes
    nothing, whatever became of the champion since.

    Args:
        outlet: asset of the promoted policy.
    """

    def __init__(self, *, outlet: Asset, **kwargs: Any) -> None:
        super().__init__(outlets=[outlet], **kwargs)
        self.outlet = outlet

    def work(self, run: Run) -> dict[str, Any]:
        """Return the outcome: ``promoted`` or ``superseded``."""
        from drl.stores.locks import promotion_lock

        model = run.spec.registration.model
        with connections.exclusive(promotion_lock(model)):
            done = run.journal.once("promotion.done.json", lambda: self._promote(run, model))
        self.log.info("%s %s: %s", model, done["version"], done["outcome"])
        run.context["outlet_events"][self.outlet].extra = done
        return done

    def _promote(self, run: Run, model: str) -> dict[str, Any]:
        from drl.champions.history import rollbacks

        registry = connections.model_registry()
        version = run.journal.read_json("registration.json")["version"]
        expected = run.resolved["champion"]
        present = registry.champion(model)
        untouched = (present.version if present else None) == (expected["version"] if expected else None)
        mine = present is not None and present.version == version
        decided = run.journal.once(
            "promotion.json",
            lambda: {
                "outcome": "promoted" if untouched or mine else "superseded",
                "version": version,
                "replaced": {"version": str(expected["version"]), "root": expected["model_root"]}
                if expected
                else None,
                "decided": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        )
        tx = self._note(run, model, decided)
        if decided["outcome"] == "promoted" and not mine and not rollbacks(run.journal):
            registry.set_champion(model, version, expected=expected["version"] if expected else None)
        return {"outcome": decided["outcome"], "model": model, "version": version, "tx": tx}

    def _note(self, run: Run, model: str, decided: dict[str, Any]) -> str:
        from drl.digest import sha256_bytes
        from drl.record.predicates import promotion_statement

        statement = run.journal.sign_once(
            "promotion",
            lambda: promotion_statement(
                release=sha256_bytes(run.journal.read("release.dsse.json")),
                model=model,
                root=run.result("train").summary["model_root"],
                version=str(decided["version"]),
                alias=_ALIAS,
                outcome=decided["outcome"],
                replaced=decided["replaced"],
                decided=decided["decided"],
            ),
            run.release_signer,
        )
        # Sealed before it is noted: what the ledger names can always be read.
        days = run.spec.registration.retention_days
        run.store.seal_bytes(run.journal.read(statement.name), statement.name, retain_days=days)
        number = run.journal.read_json("opening.json")["entry"]["receipt"]["run"]
        note = run.journal.once(
            "promotion.note.json",
            lambda: connections.ledger().note(run.pipeline, number, statement.sha256).to_json(),
        )
        return str(note["receipt"]["tx"])
