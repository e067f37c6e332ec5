"""Copy what the steps staged into the bucket with object lock, checked against its digest."""

from __future__ import annotations

from typing import Any

from operators.base import Run, RunOperator

STEPS = ("prepare", "train", "evaluate")


class PublishArtifactsOperator(RunOperator):
    """Seal every output of the run's steps; what is sealed already is left as it is."""

    def work(self, run: Run) -> dict[str, Any]:
        """Return how many files and bytes are under lock, and until when."""
        from drl.artifact import Artifact

        outputs = [a for step in STEPS if run.ran(step) for a in run.result(step).outputs]
        outputs.append(Artifact.from_json(run.journal.read_json("resolved.ref.json")))
        outputs += run.source_archive
        by_digest = {a.sha256: a for a in outputs}
        sealed = run.store.seal(by_digest.values(), retain_days=run.spec.registration.retention_days)
        size = sum(a.size for a in by_digest.values())
        until = min(s.retain_until for s in sealed)
        self.log.info("%d files, %.1f MB, locked until %s", len(sealed), size / 1e6, until)
        return {"files": len(sealed), "bytes": size, "locked_until": until}
