"""Verify a record: every check, in order, each on its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drl.record.files import RecordFiles
from drl.verification import decision, statements
from drl.verification.champion import check_champion
from drl.verification.data_step import DataMeans, FindSource, check_data
from drl.verification.findings import Finding, Findings, unheard
from drl.verification.ledger import account, check_ledger, gather, standing
from drl.verification.ledger_view import OpenLedger
from drl.verification.record import Record
from drl.verification.replay import (
    HeldOut,
    check_environment,
    check_policies,
    check_replay,
    check_selection_replay,
)
from drl.verification.report import check_report
from drl.verification.reproduction import check_reproduction
from drl.verification.result import Result, conclude
from drl.verification.signatures import check_envelopes, check_signers
from drl.verification.trust import TrustPolicy
from drl.verification.validation import check_validation

REPLAYED = 3
"""From this level on, policies are played again."""


def _silent(_: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Means:
    """What a verifier has beside the record.

    Attributes:
        trust: whom they believe; None for nobody.
        open_ledger: asks a chain of theirs; None without one.
        offline: whether they mean to do without the ledger.
        level: up to which level to check; at least this must be reached. None checks up to 3 and asks for
            the trust policy's minimum.
        source: file of the data source, to do the data step again.
        fetch: how to get the data source.
        tell: called with one line before each long part.
        heard: called with each finding as soon as it is there.
    """

    trust: TrustPolicy | None = None
    open_ledger: OpenLedger | None = None
    offline: bool = False
    level: int | None = None
    source: Path | None = None
    fetch: FindSource | None = None
    tell: Callable[[str], None] = _silent
    heard: Callable[[Finding], None] = unheard

    @property
    def wanted(self) -> int:
        """The level that must be reached."""
        return max(self.level or 1, self.trust.minimum.level if self.trust else 1)


def verify_record(files: RecordFiles, means: Means) -> Result:
    """Look at everything; never raises for what a record holds, only for what the verifier gave."""
    findings = Findings(means.heard)
    with tempfile.TemporaryDirectory(prefix="drl-verify-") as folder:
        scratch = Path(folder)
        (scratch / "files").mkdir()
        (scratch / "data").mkdir()
        record = Record(files, scratch / "files")
        check_envelopes(record, findings, means.trust)
        facts = gather(record, findings, means.trust, means.open_ledger)
        statements.check_intent(record, findings)
        statements.check_run(record, findings)
        means.tell("hashing files")
        statements.check_files(record, findings)
        check_ledger(record, findings, facts, means.trust)
        statements.check_seeds(record, findings)
        statements.check_steps(record, findings)
        check_validation(record, findings)
        counted = account(findings, facts)
        with findings.guard(12):
            check_signers(record, findings, means.trust, facts.times(record))
        statements.check_scope(record, findings, means.trust)
        means.tell("recomputing the decision")
        decision.check_decision(record, findings)
        decision.check_error_budget(record, findings)
        decision.check_selection(record, findings)
        decision.check_evaluation(record, findings)
        decision.check_outcome(record, findings)
        check_champion(record, findings, facts)
        statements.check_code(record, findings)
        statements.check_test_identity(record, findings)
        if means.level is None or max(means.level, means.wanted) >= REPLAYED:
            _replay(record, findings, means, scratch / "data")
        stands = standing(record, findings, facts)
        check_reproduction(record, findings, facts, means.trust)
    return conclude(
        findings.all,
        standing=stands,
        account=counted,
        demo=facts.opening.receipt.demo if facts.opening else None,
        trust=means.trust,
        asked_ledger=facts.online,
        offline=means.offline,
        wanted=means.wanted,
    )


def _replay(record: Record, findings: Findings, means: Means, scratch: Path) -> None:
    allowed = list(means.trust.environments) if means.trust else []
    check_policies(record, findings)
    check_environment(record, findings, allowed)
    held_out = check_data(record, findings, DataMeans(scratch, means.source, means.fetch, allowed))
    if held_out is not None:
        check_replay(record, findings, held_out, allowed, means.tell)
    check_selection_replay(record, findings, held_out or HeldOut(None, None), allowed, means.tell)
    check_report(record, findings, held_out or HeldOut(None, None), allowed)
