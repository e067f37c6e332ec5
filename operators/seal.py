"""Seal the record: the model's signature, and a release that lists every other statement's digest."""

from __future__ import annotations

from typing import Any

from operators.base import Run, RunOperator
from operators.publish import STEPS


class SealRecordOperator(RunOperator):
    """Sign the model and the release, and put these and all other statements under lock."""

    def work(self, run: Run) -> dict[str, Any]:
        """Return model root and the digest of the release statement, which will close the run."""
        run.journal.sign_once("model", lambda: self._model(run), run.release_signer)
        release = run.journal.sign_once("release", lambda: self._release(run), run.release_signer)
        days = run.spec.registration.retention_days
        for envelope in run.journal.envelopes():
            run.store.seal_bytes(run.journal.read(envelope.name), envelope.name, retain_days=days)
        for name in ("opening.json", "registration.json"):
            run.store.seal_bytes(run.journal.read(name), name, retain_days=days)
        root = run.result("train").summary["model_root"]
        self.log.info("model root %s", root)
        self.log.info(
            "release statement %s, signed by key %s", release.sha256, run.release_signer.public_key.keyid
        )
        return {"model_root": root, "record": release.sha256}

    def _model(self, run: Run) -> dict[str, Any]:
        from drl.record.predicates import model_statement
        from drl.steps.inputs import released_policy

        policy = released_policy(run.result("train"))
        return model_statement(model=run.spec.registration.model, policy=policy)

    def _release(self, run: Run) -> dict[str, Any]:
        from drl.record.ledger import Opening, entry_from_json
        from drl.record.predicates import release_statement
        from drl.steps.inputs import released_policy, renamed

        trained, outcome = run.result("train"), run.outcome
        evidence = run.source_archive + [
            renamed(a, f"{step}/{a.name}")
            for step in STEPS
            if run.ran(step)
            for a in run.result(step).outputs
        ]
        opening = entry_from_json(run.journal.read_json("opening.json")["entry"])
        if not isinstance(opening, Opening):
            raise TypeError(f"opening.json holds a {type(opening).__name__}")
        return release_statement(
            intent=opening.intent,
            model=run.spec.registration.model,
            policy=released_policy(trained),
            evidence=evidence,
            verdict=outcome.verdict,
            reason=outcome.reason,
            statements={a.name: a.sha256 for a in run.journal.envelopes() if a.name != "release.dsse.json"},
            opening=opening,
        )
