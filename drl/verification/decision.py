"""Checks 14 to 18: the verdict, derived again from the returns that the record kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from drl.errors import Undetermined
from drl.evaluation.comparison import compare
from drl.evaluation.episodes import Episodes
from drl.evaluation.promotion import spent_alpha
from drl.evaluation.selection import RULE, validation_seed
from drl.record.ledger import Opening
from drl.record.outcome import Approval, release_outcome
from drl.verification.findings import Findings
from drl.verification.ledger_view import read_entry
from drl.verification.record import POLICY_FILES, Record, resources, same_json
from drl.verification.statements import champion_root

_FORMAT = "drl.evaluation/1"
_SELECTION_FORMAT = "drl.selection/1"
_SELECTION = {"format", "rule", "seed", "episodes", "means", "released"}
_MOST_DRAWS = 2_000_000_000
_MOST_RESAMPLES = 10_000_000


def check_decision(record: Record, findings: Findings) -> None:
    """Check 14: estimates, intervals, guard and verdict follow from ``episodes.jsonl``, to the last bit."""
    with findings.guard(14):
        kept = record.json("evaluate/evaluation.json")
        episodes = read_episodes(record)
        root = record.statement("release").predicate["policy"]["root"]
        champion = champion_root(record)
        _require_bounded(record, episodes)
        derived = compare(
            record.spec.evaluation,
            record.spec.promotion,
            episodes.returns,
            alpha=float(kept["alpha"]),
            identical=champion == root,
        )
        expected = {
            "format": _FORMAT,
            "pipeline": record.spec.pipeline,
            "unit": record.spec.evaluation.unit,
            "protocol": _protocol(record, episodes),
            "model_root": root,
            "champion_root": champion,
            **derived,
        }
        holds = findings.require(
            14,
            ("champion" in episodes.returns) == (champion is not None),
            "the champion was not played, or one was that the intent does not name",
        )
        differing = [name for name, value in expected.items() if not same_json(kept.get(name), value)]
        beside = sorted(kept.keys() ^ (expected.keys() | {"alpha", "validation", "onnx"}))
        holds &= findings.require(14, not beside, f"evaluation.json has, or lacks, the members {beside}")
        holds &= findings.require(
            14, not differing, f"evaluation.json differs from what follows in: {', '.join(differing)}"
        )
        if holds:
            decision = derived["decision"]
            findings.recomputed(
                14,
                f"{decision['verdict']} follows from {len(episodes.labels)} kept episodes: "
                f"{decision['reason']}",
            )
            findings.recomputed(14, _gap(derived["gap"], record.spec.evaluation.unit))


def read_episodes(record: Record) -> Episodes:
    """The kept episodes; InputError when they are malformed."""
    return Episodes.read(record.path(record.made("evaluate/episodes.jsonl"), "episodes.jsonl"))


def _gap(gap: dict[str, Any], unit: str) -> str:
    interval = gap["estimate"]
    return (
        f"gap to the strongest baseline, {gap['baseline']}: {interval['estimate']:+,.4g} {unit} "
        f"[{interval['lower']:+,.4g}, {interval['upper']:+,.4g}]"
    )


def _protocol(record: Record, episodes: Episodes) -> dict[str, Any]:
    evaluation = record.spec.evaluation
    data = record.evidence.get("prepare/test.npy")
    return {
        "rollouts": evaluation.episodes,
        "seed": evaluation.seed,
        "episodes": len(episodes.labels),
        "first": episodes.labels[0],
        "last": episodes.labels[-1],
        "test_data": data.sha256 if data else None,
    }


def _require_bounded(record: Record, episodes: Episodes) -> None:
    resamples, count = record.spec.promotion.resamples, len(episodes.labels)
    draws = resamples * count * len(episodes.returns)
    if draws > _MOST_DRAWS or resamples > _MOST_RESAMPLES:
        raise Undetermined(
            f"{resamples} resamples of {count} episodes of {len(episodes.returns)} actors",
            remedy=f"this verifier draws {_MOST_DRAWS:,} indices at most",
        )


def check_error_budget(record: Record, findings: Findings) -> None:
    """Check 15: the error that the interval may spend follows from the rule and the look."""
    with findings.guard(15):
        opening = record.document("opening.json")
        entry = read_entry(opening["entry"], Opening)
        rule = record.spec.promotion
        alpha = spent_alpha(rule.alpha, entry.look) if rule.fixed_test else rule.alpha
        asked = record.statement("evaluate").predicate["buildDefinition"]["externalParameters"]["parameters"]
        holds = True
        for where, value in (
            ("opening.json", opening["alpha"]),
            ("evaluation.json", record.json("evaluate/evaluation.json")["alpha"]),
            ("the evaluate step", asked["alpha"]),
        ):
            holds &= findings.require(15, value == alpha, f"{where} has alpha {value}; it should be {alpha}")
        if holds and rule.fixed_test:
            findings.recomputed(
                15,
                f"alpha {alpha:.4g} is what look {entry.look} at fixed test data may spend of {rule.alpha}",
            )
        elif holds:
            findings.recomputed(
                15, f"alpha {alpha:.4g} is the rule's, which calls its test data new each time"
            )


def check_selection(record: Record, findings: Findings) -> None:
    """Check 16: the released seed is the best on validation, by the numbers kept."""
    with findings.guard(16):
        selection = record.json("train/selection.json")
        means = [float(value) for value in selection["means"]]
        released = selection["released"]
        evaluation = record.json("evaluate/evaluation.json")
        asked = record.statement("evaluate").predicate["buildDefinition"]["externalParameters"]["parameters"]
        policy = {name: record.policy[name].sha256 for name in POLICY_FILES}
        files = {name: record.made(f"train/seed-{released}/{name}").sha256 for name in POLICY_FILES}
        champion = record.champion
        expected = {
            "released": released,
            "champion_root": champion["model_root"] if champion else None,
            "alpha": asked["alpha"],
        }
        facts = (
            (len(means) == record.spec.training.seed_count, f"{len(means)} validation means"),
            (bool(np.isfinite(means).all()), "a validation mean is not finite"),
            (selection.keys() == _SELECTION, f"members {sorted(selection)}"),
            (selection["format"] == _SELECTION_FORMAT, f"format {str(selection['format'])[:40]!r}"),
            (selection["rule"] == RULE, f"another selection rule: {str(selection['rule'])[:80]!r}"),
            (selection["seed"] == validation_seed(record.spec.evaluation), "other validation reset seeds"),
            (released == int(np.argmax(means)), f"seed {released} was released, not the best on validation"),
            (policy == files, f"the released policy is not that of seed {released}"),
            (
                same_json(asked, expected),
                "the evaluate step was asked about another seed or champion, or more",
            ),
            (same_json(evaluation["validation"], selection), "evaluation.json quotes another selection"),
        )
        if all([findings.require(16, holds, sentence) for holds, sentence in facts]):
            findings.recomputed(
                16,
                f"seed {released} of {len(means)} is the best on validation: {means[released]:,.6g} an "
                "episode",
            )


def check_evaluation(record: Record, findings: Findings) -> None:
    """Check 17: the signed evaluation says what ``evaluation.json`` says, about the files kept."""
    with findings.guard(17):
        statement = record.statement("evaluation")
        said, kept = statement.predicate, record.json("evaluate/evaluation.json")
        kinds = {b.name: b.kind for b in record.spec.evaluation.baselines}
        roots = {"policy": kept["model_root"], "champion": kept["champion_root"]}
        participants = [
            {
                "name": name,
                "kind": kinds.get(name, "policy"),
                "root": roots.get(name),
                "mean": actor["mean"]["estimate"],
                "files": ["episodes.jsonl", f"actions/{name}.npy"],
            }
            for name, actor in sorted(kept["actors"].items())
        ]
        listed = resources(said["evidence"], where="evaluation, evidence")
        made = {n.removeprefix("evaluate/"): (a.sha256, a.size) for n, a in record.evidence.items()}
        holds = findings.require(
            17,
            same_json(said["decision"], kept["decision"]) and same_json(said["participants"], participants),
            "the signed evaluation says something else than evaluation.json",
        )
        holds &= findings.require(
            17,
            all(made.get(name) == (a.sha256, a.size) for name, a in listed.items()),
            "the signed evaluation names other files than the release",
        )
        if holds:
            findings.recomputed(
                17, f"the signed evaluation of {len(participants)} actors is evaluation.json's"
            )
            findings.claimed(17, _onnx(kept["onnx"]), key=statement.key)


def _onnx(said: dict[str, Any]) -> str:
    """What the evaluation says of the ONNX file; a check would need ONNX Runtime and every observation."""
    share, count = float(said["equal_actions"]), int(said["observations"])
    return f"that ONNX Runtime acted the same on {100 * share:.6g} % of {count:,} observations"


def check_outcome(record: Record, findings: Findings) -> None:
    """Check 18: the release's verdict is the decision's, or a HOLD that code or approval explain."""
    with findings.guard(18):
        release = record.statement("release").predicate
        kept = record.json("evaluate/evaluation.json")
        approval, answer = _approval(record, findings, kept["decision"]["verdict"])
        outcome = release_outcome(
            kept["decision"], code=record.resolved["code"], approval=approval, answer=answer
        )
        if findings.require(
            18,
            (release["verdict"], release["reason"]) == (outcome.verdict, outcome.reason),
            f"the release says {release['verdict']} ({release['reason']}); what follows is {outcome.verdict} "
            f"({outcome.reason})",
        ):
            findings.recomputed(
                18, f"the release says {outcome.verdict}, as decision, code and approval give"
            )


def _approval(
    record: Record, findings: Findings, verdict: str
) -> tuple[Approval | None, dict[str, Any] | None]:
    """The answer, as the outcome counts it, and the predicate that gives it."""
    asked = record.spec.promotion.require_approval and verdict == "PROMOTE"
    if not record.has("approval"):
        return ("unanswered" if asked else None), None
    statement = record.statement("approval")
    said, evaluation = statement.predicate, record.statement("evaluation").sha256
    findings.require(18, asked, "an approval of a run that asks for none")
    findings.require(
        18,
        (said["evaluation"], said["verdict"]) == (evaluation, verdict),
        "the approval is about another evaluation or verdict",
    )
    who = f" by {said['approver']}" if said["approver"] else ""
    findings.claimed(18, f"{said['answer']}{who} at {said['answered']}", key=statement.key)
    return said["answer"], said
