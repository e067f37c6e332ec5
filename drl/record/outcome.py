"""What a release says: the verdict that the promotion rule gave, unless something else forbids a promotion.

One pure function, so that the seal, the ledger's closing, the branch of the DAG and a verifier from outside
cannot come to different ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from drl.record.ledger import Verdict

Approval = Literal["approved", "rejected", "unanswered"]

DIRTY = "The source tree had uncommitted changes, so nothing can be promoted: commit them and run again."
UNKNOWN_CODE = (
    "Nobody can tell which source code ran, so nothing can be promoted: run from a git checkout, or from an "
    "image whose build left its stamp."
)
REJECTED = "The approver rejected the promotion"
UNANSWERED = "Nobody answered the request for approval, so nothing is promoted"


class Outcome(NamedTuple):
    """Verdict and reason of a release."""

    verdict: Verdict
    reason: str


def release_outcome(
    decision: Mapping[str, Any],
    *,
    code: Mapping[str, Any],
    approval: Approval | None,
    answer: Mapping[str, Any] | None = None,
) -> Outcome:
    """Verdict and reason of a release.

    Only a PROMOTE can become something else, and only a HOLD: what the rule held or rejected stays so.

    Args:
        decision: ``verdict`` and ``reason`` of the evaluation.
        code: ``code`` of the resolved run. ``dirty`` is true when the source tree had uncommitted changes and
            null when nobody knows; neither can be promoted.
        approval: the answer where the pipeline asks for one, None where it asks for none.
        answer: predicate of the approval statement; its ``approver`` and ``comment`` complete the reason.
    """
    if decision["verdict"] != "PROMOTE":
        return Outcome(decision["verdict"], decision["reason"])
    if code["dirty"] is not False:
        return Outcome("HOLD", DIRTY if code["dirty"] else UNKNOWN_CODE)
    if approval == "rejected":
        return Outcome("HOLD", _completed(REJECTED, answer))
    if approval == "unanswered":
        return Outcome("HOLD", _completed(UNANSWERED, answer))
    return Outcome("PROMOTE", decision["reason"])


def _completed(sentence: str, answer: Mapping[str, Any] | None) -> str:
    """The sentence, with who answered and their words."""
    words = [answer[name] for name in ("approver", "comment") if answer[name]] if answer else []
    return ": ".join([sentence, *words]) + ("" if words and words[-1].endswith((".", "!", "?")) else ".")
