"""What all findings come to: the level of proof, the exit code, and one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from drl.record.ledger import Account
from drl.verification.findings import LEVELS, NEEDED, Finding, Label
from drl.verification.ledger import Standing
from drl.verification.trust import TrustPolicy

_STANDS = "promoted"


@dataclass(frozen=True)
class Result:
    """A verified record.

    Attributes:
        findings: everything found, in order of the checks.
        level: highest level of proof reached, 0 for none.
        standing: verdict and what became of the policy.
        account: the pipeline's runs, None when nothing tells.
        demo: whether the chain is a development chain; None without receipts.
        exit_code: 0 good; 1 something is false or below the minimum; 2 could not tell.
        reasons: why the exit code is not 0.
    """

    findings: tuple[Finding, ...]
    level: int
    standing: Standing
    account: Account | None
    demo: bool | None
    exit_code: int
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The whole in one line."""
        name = LEVELS[self.level][0] if self.level else "nothing proved"
        false = sum(f.label == Label.FALSE for f in self.findings)
        start = f"{false} {'thing is' if false == 1 else 'things are'} FALSE. " if false else ""
        stands = self.standing.sentence
        return f"{start}Level {self.level}: {name}. {stands[:1].upper()}{stands[1:]}."

    def to_json(self) -> dict[str, Any]:
        """A JSON object for programs."""
        return {
            "format": "drl.verification/1",
            "level": self.level,
            "exit_code": self.exit_code,
            "reasons": list(self.reasons),
            "verdict": self.standing.verdict,
            "standing": self.standing.state,
            "sentence": self.sentence,
            "demo_chain": self.demo,
            "account": self.account.to_json() if self.account else None,
            "findings": [f.to_json() for f in self.findings],
        }


def level_of(findings: list[Finding]) -> int:
    """The highest level whose checks, and those of all levels below, neither failed nor were left out."""
    reached = 0
    for level, (_, checks) in LEVELS.items():
        mine = [f for f in findings if f.check in checks]
        seen = {f.check for f in mine if f.label != Label.NOT_CHECKED}
        false = any(f.label == Label.FALSE for f in mine)
        open_ = {f.check for f in mine if f.label == Label.NOT_CHECKED and not _beside(f)} & NEEDED
        if false or open_ or not checks & NEEDED <= seen:
            break
        reached = level
    return reached


def _beside(finding: Finding) -> bool:
    """Data that need not travel are no gap in what the record must hold (check 5)."""
    return finding.check == 5


def conclude(
    findings: list[Finding],
    *,
    standing: Standing,
    account: Account | None,
    demo: bool | None,
    trust: TrustPolicy | None,
    asked_ledger: bool,
    offline: bool,
    wanted: int,
) -> Result:
    """Weigh everything.

    Args:
        findings: of all checks.
        standing: what became of the policy.
        account: the pipeline's runs.
        demo: whether the chain is a development chain.
        trust: the verifier's policy.
        asked_ledger: whether the chain answered.
        offline: whether the verifier said that they do without the ledger.
        wanted: the level that must be reached.
    """
    level = level_of(findings)
    unknown = []
    wrong = [f"check {f.check}: {f.sentence}" for f in findings if f.label == Label.FALSE]
    promotion_asked = trust is not None and trust.minimum.verdict is not None
    if standing.state == "unknown" and (promotion_asked or asked_ledger):
        unknown.append("what became of the policy could not be told, see check 30")
    elif promotion_asked and standing.state != _STANDS:
        wrong.append(f"the trust policy asks for a promoted policy: {standing.sentence}")
    if level < wanted:
        unknown.append(f"level {wanted} was asked for, level {level} was reached")
    if trust is None:
        unknown.append("no trust policy: nobody is known behind the keys")
    if not asked_ledger and not offline:
        unknown.append("the ledger was not asked: give --rpc URL, or --offline to do without it")
    code = 1 if wrong else 2 if unknown else 0
    ordered = tuple(sorted(findings, key=lambda f: f.check))
    return Result(ordered, level, standing, account, demo, code, tuple(wrong or unknown))
