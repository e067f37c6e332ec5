"""A release promotes only what the rule promotes, of committed code, with the approval asked for."""

from __future__ import annotations

from itertools import product

import pytest

from drl.record.outcome import Approval, release_outcome

CLEAN = {"dirty": False}
ANSWERS: tuple[Approval | None, ...] = (None, "approved", "rejected", "unanswered")


def decision(verdict: str) -> dict[str, str]:
    return {"verdict": verdict, "reason": "the rule's own words"}


@pytest.mark.parametrize("approval", [None, "approved"])
def test_what_the_rule_promotes_is_released(approval: Approval | None) -> None:
    outcome = release_outcome(decision("PROMOTE"), code=CLEAN, approval=approval)
    assert outcome == ("PROMOTE", "the rule's own words")


@pytest.mark.parametrize(
    ("dirty", "approval", "reason"),
    [
        (True, None, "had uncommitted changes"),
        (True, "approved", "had uncommitted changes"),
        (None, None, "Nobody can tell which source code ran"),
        (False, "rejected", "rejected"),
        (False, "unanswered", "Nobody answered"),
    ],
)
def test_a_promotion_is_held(dirty: bool | None, approval: Approval | None, reason: str) -> None:
    outcome = release_outcome(decision("PROMOTE"), code={"dirty": dirty}, approval=approval)
    assert outcome.verdict == "HOLD"
    assert reason in outcome.reason


def test_the_reason_says_who_refused_and_why() -> None:
    refusal = {"answer": "rejected", "approver": "ada", "comment": "not before the winter"}
    outcome = release_outcome(decision("PROMOTE"), code=CLEAN, approval="rejected", answer=refusal)
    assert outcome == ("HOLD", "The approver rejected the promotion: ada: not before the winter.")
    silence = {"answer": "unanswered", "approver": "", "comment": "90 minutes went by."}
    outcome = release_outcome(decision("PROMOTE"), code=CLEAN, approval="unanswered", answer=silence)
    assert outcome.reason == (
        "Nobody answered the request for approval, so nothing is promoted: 90 minutes went by."
    )


@pytest.mark.parametrize("verdict", ["HOLD", "REJECT"])
def test_nothing_makes_more_of_a_decision(verdict: str) -> None:
    for dirty, approval in product((True, False, None), ANSWERS):
        outcome = release_outcome(decision(verdict), code={"dirty": dirty}, approval=approval)
        assert outcome == (verdict, "the rule's own words")
