"""Freeze the run, and sign what is intended before anybody has seen a result."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.sdk import Param

from drl.spec import load_pipeline
from operators import connections
from operators.base import Run, RunOperator


class ResolveRunOperator(RunOperator):
    """Write ``resolved.json`` and the signed intent into the run's journal.

    Args:
        file: the pipeline file.
    """

    def __init__(self, *, file: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.file = file

    def work(self, run: Run) -> dict[str, str]:
        """Return the digests of the resolved run and of the intent."""
        from drl.digest import canonical_json
        from drl.record.predicates import intent_statement

        resolved = run.journal.once("resolved.json", lambda: self._resolve(run))
        self._list(run)
        artifact = _stage(run, canonical_json(resolved))
        intent = run.journal.sign_once("intent", lambda: intent_statement(resolved), run.steps_signer)
        self.log.info("resolved %s", artifact["sha256"])
        self.log.info("intent %s, signed by key %s", intent.sha256, run.steps_signer.public_key.keyid)
        return {"run": run.key, "resolved": artifact["sha256"], "intent": intent.sha256}

    def _list(self, run: Run) -> None:
        """Put the run on the list of runs, newest first by key."""
        started = run.journal.once("started.json", lambda: {"ms": int(datetime.now(UTC).timestamp() * 1000)})
        run.records.write_once(f"index/{2**42 - started['ms']:013d}", run.key.encode())

    def _resolve(self, run: Run) -> dict[str, Any]:
        from drl.champions.compared import champion_proof
        from drl.champions.rollback import Champions
        from drl.steps.resolve import resolve, with_parameters

        path = Path(self.file)
        spec = with_parameters(load_pipeline(path), _given(run))
        champions = Champions(connections.model_registry(), connections.ledger(), run.records)
        champion = champions.agreed(spec.registration.model)
        proof = champion_proof(run.journal.beside(champion.run_key)) if champion else {}
        return resolve(
            spec,
            run=run.key,
            run_date=run.date,
            base=path.parent,
            champion=champion.to_json() | proof if champion else None,
            store=run.store,
            code=_code(run),
        )


def _code(run: Run) -> dict[str, Any]:
    """Which source code runs; its archive is staged, so that the release can name it."""
    from drl.steps.source_code import code_identity

    with tempfile.TemporaryDirectory() as folder:
        identity = code_identity(archive_into=Path(folder))
        if archive := identity["archive"]:
            run.store.put(Path(folder) / archive["name"], archive["name"])
    return identity


def _given(run: Run) -> dict[str, Any]:
    params = run.context["params"]
    return {k: v.value if isinstance(v, Param) else v for k, v in dict(params).items()}


def _stage(run: Run, data: bytes) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resolved.json"
        path.write_bytes(data)
        artifact = run.store.put(path, "resolved.json").to_json()
    run.journal.once("resolved.ref.json", lambda: artifact)
    return artifact
