"""Check 33: the report, drawn again from the kept numbers by the verifier's own code. Needs jinja2.

A page that differs proves no lie, since another version of the code may draw another: it is never FALSE.
"""

from __future__ import annotations

import numpy as np

from drl.artifact import Artifact
from drl.errors import Undetermined
from drl.verification.decision import read_episodes
from drl.verification.findings import Findings, Label
from drl.verification.record import Record
from drl.verification.replay import HeldOut, own_class

_REPORT = "evaluate/report.html"
_METRICS = "metrics.jsonl"
_MOST_BYTES = 256 << 20


def check_report(record: Record, findings: Findings, held_out: HeldOut, allowed: list[str]) -> None:
    """Draw the report again, and compare it byte for byte."""
    with findings.guard(33):
        if not findings.having(14, Label.RECOMPUTED):
            raise Undetermined("the report shows numbers that do not follow", remedy="see check 14")
        kept = record.made(_REPORT)
        curves = _curves(record)
        if kept.size + sum(a.size for a in curves.values()) > _MOST_BYTES:
            raise Undetermined("report and learning curves are too large", remedy="read what is said here")
        if _drawn(record, held_out, allowed, curves) == record.read(kept):
            findings.recomputed(33, "report.html is the page that the kept numbers give, byte for byte")
        else:
            findings.not_checked(
                33,
                "report.html is not the page that this verifier draws from the kept numbers: other code drew "
                "it, or somebody changed it",
                remedy="read what is said here, not the report; the run's version of the code draws its page",
            )


def _curves(record: Record) -> dict[str, Artifact]:
    """The learning curves that the evaluate step read, by their names in the train step."""
    read = record.statement("evaluate").predicate["buildDefinition"]["resolvedDependencies"]
    names = [d["name"] for d in read if d["name"].rpartition("/")[2] == _METRICS]
    return {name: record.made(f"train/{name}") for name in names}


def _drawn(record: Record, held_out: HeldOut, allowed: list[str], curves: dict[str, Artifact]) -> bytes:
    try:
        from drl.evaluation.report.curves import learning_curves
        from drl.evaluation.report.render import ReportInputs, render_report
    except ImportError as error:
        raise Undetermined(
            f"the report was not drawn again: no package {error.name}",
            remedy="pip install -c requirements.lock '.[report]' in a checkout of this project",
        ) from error
    inputs = ReportInputs(
        spec=record.spec,
        evaluation=record.json("evaluate/evaluation.json"),
        episodes=read_episodes(record),
        curves=learning_curves({name: record.read(a).decode() for name, a in curves.items()}),
        trace=_trace(record, held_out, allowed),
    )
    return render_report(inputs).encode()


def _trace(record: Record, held_out: HeldOut, allowed: list[str]) -> dict[str, np.ndarray] | None:
    """Columns to draw an episode of, from environments that offer them."""
    offered = getattr(own_class(record, allowed), "trace_columns", None)
    if record.spec.data is None or offered is None:
        return None
    if held_out.test is None:
        raise Undetermined("the report shows held-out data, which are not at hand", remedy="see check 24")
    actions = np.load(record.array(record.made("evaluate/actions/policy.npy")), allow_pickle=False)
    trace: dict[str, np.ndarray] = offered(held_out.test, actions, **record.spec.environment.settings)
    return trace
