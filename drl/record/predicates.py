"""One builder for each kind of statement: pure functions from plain facts to an in-toto statement.

Their predicates are described by the JSON Schemas in ``drl/schemas/predicates`` and in ``docs/record.md``.
Times are UTC in RFC 3339, e.g. ``2026-11-24T10:00:00+00:00``. ``intent`` and ``release`` are the SHA-256 of
the stored envelopes of those statements, by which all others are tied to one run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from drl.artifact import Artifact
from drl.digest import require_sha256, sha256_json
from drl.errors import InputError
from drl.record.ledger import Opening, Verdict
from drl.record.roots import artifacts_root
from drl.record.statement import (
    MODEL_SIGNATURE,
    SLSA_PROVENANCE,
    Subject,
    build_type,
    builder_id,
    predicate_type,
    statement,
)

Json = dict[str, Any]


def intent_statement(resolved: Mapping[str, Any]) -> Json:
    """What a run intends: signed, and opened on the ledger, before training.

    Args:
        resolved: the frozen run (``drl.resolved/1``): spec, exact sources and windows, held-out data
            identifier, champion, code, environment, packages. Its digest is the subject. There is no time
            in it: when it was made is what the ledger says.
    """
    frozen = dict(resolved)
    seeds = frozen["spec"]["training"]["seeds"]
    owner_chosen = isinstance(seeds, list)
    predicate = {
        "pipeline": frozen["spec"]["pipeline"],
        "run": frozen["run"],
        "test_data": frozen["test_data"],
        "seeds": {"origin": "owner-chosen", "values": seeds}
        if owner_chosen
        else {"origin": "opening-block", "scheme": "drl seeds v1", "count": seeds},
        "resolved": frozen,
    }
    return statement([Subject("resolved.json", sha256_json(frozen))], predicate_type("intent"), predicate)


@dataclass(frozen=True)
class Execution:
    """How one attempt of a step ran, as the operator saw it.

    Attributes:
        placement: what ran it: ``subprocess``, ``pod`` or ``rayjob``; becomes the builder's id.
        invocation: the attempt, e.g. ``pipeline/run-id/train/1``.
        started: when it began.
        finished: when it ended.
        observed: what the operator noted itself: exit code, host, pod uid, image id.
    """

    placement: str
    invocation: str
    started: str
    finished: str
    observed: Mapping[str, Any]


def provenance_statement(
    step: str,
    *,
    intent: str,
    parameters: Mapping[str, Any],
    inputs: Sequence[Artifact],
    outputs: Sequence[Artifact],
    byproducts: Sequence[Artifact] = (),
    code: Mapping[str, Any],
    execution: Execution,
) -> Json:
    """SLSA provenance v1 of one step.

    Args:
        step: ``prepare``, ``train`` or ``evaluate``.
        intent: digest of the intent.
        parameters: what the step was asked beyond the intent: seeds, error budget.
        inputs: what it read, by digest.
        outputs: what it made and later steps rely on: the subjects.
        byproducts: what it made beside: logs, metrics, reports.
        code: ``commit`` and ``dirty`` of the resolved run.
        execution: how it ran.
    """
    dependencies: list[Json] = [_resource(a) for a in sorted(inputs)]
    if code.get("commit"):
        dependencies.append({"name": "code", "digest": {"gitCommit": code["commit"]}})
    predicate = {
        "buildDefinition": {
            "buildType": build_type(step),
            "externalParameters": {
                "intent": require_sha256(intent, where="intent"),
                "parameters": dict(parameters),
            },
            "internalParameters": {"code_dirty": code.get("dirty")},
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": {"id": builder_id(execution.placement)},
            "metadata": {
                "invocationId": execution.invocation,
                "startedOn": execution.started,
                "finishedOn": execution.finished,
            },
            "byproducts": [
                *(_resource(a) for a in sorted(byproducts)),
                {"name": "observed", "annotations": dict(execution.observed)},
            ],
        },
    }
    return statement([Subject.of(a) for a in outputs], SLSA_PROVENANCE, predicate)


def validation_statement(
    *,
    intent: str,
    splits: Sequence[Artifact],
    result: Artifact,
    success: bool,
    expectations: Mapping[str, int],
    cleaning: Sequence[Mapping[str, Any]],
    contents: Mapping[str, str],
) -> Json:
    """What was checked about the data.

    Args:
        intent: digest of the intent.
        splits: the files of the splits: the subjects.
        result: the full result of the expectation suite.
        success: whether every expectation held.
        expectations: how many were ``evaluated`` and how many ``failed``.
        cleaning: each rule in order with what it ``touched``.
        contents: for each split, the digest of its content whatever the file format.
    """
    predicate = {
        "intent": require_sha256(intent, where="intent"),
        "success": success,
        "expectations": dict(expectations),
        "cleaning": [dict(rule) for rule in cleaning],
        "contents": dict(contents),
        "result": _resource(result),
    }
    return statement([Subject.of(a) for a in splits], predicate_type("validation"), predicate)


def evaluation_statement(
    *,
    intent: str,
    model: str,
    root: str,
    test_data: str,
    participants: Sequence[Mapping[str, Any]],
    decision: Mapping[str, Any],
    evidence: Sequence[Artifact],
) -> Json:
    """How a policy did on held-out episodes, and the verdict that the rule gives.

    Args:
        intent: digest of the intent, which holds protocol and rule.
        model: name of the registered model.
        root: model root of the evaluated policy: the subject.
        test_data: identifier of the held-out data.
        participants: for each of policy, champion and baselines: ``name``, ``kind``, ``root`` (or null),
            ``mean`` and the names of its files in ``evidence``.
        decision: verdict, reason, interval and guard, as the promotion rule gave them.
        evidence: returns, actions and report.
    """
    _require_verdict(decision.get("verdict"))
    predicate = {
        "intent": require_sha256(intent, where="intent"),
        "test_data": require_sha256(test_data, where="test_data"),
        "participants": [dict(p) for p in participants],
        "decision": dict(decision),
        "evidence": [_resource(a) for a in sorted(evidence)],
    }
    return statement([Subject(model, root)], predicate_type("evaluation"), predicate)


def approval_statement(
    *,
    intent: str,
    model: str,
    root: str,
    evaluation: str,
    verdict: Verdict,
    answer: Literal["approved", "rejected", "unanswered"],
    approver: str,
    answered: str,
    comment: str = "",
) -> Json:
    """A person's answer, naming exactly the bytes they were shown.

    Args:
        intent: digest of the intent.
        model: name of the registered model.
        root: model root: the subject.
        evaluation: digest of the evaluation statement's envelope.
        verdict: the verdict that the approver saw.
        answer: theirs; ``unanswered`` when the time to answer was over.
        approver: who, as the orchestrator knows them; empty when nobody answered.
        answered: when, or when the time was over.
        comment: their words, or why nobody answered.
    """
    predicate = {
        "intent": require_sha256(intent, where="intent"),
        "evaluation": require_sha256(evaluation, where="evaluation"),
        "verdict": _require_verdict(verdict),
        "answer": answer,
        "approver": approver,
        "answered": answered,
        "comment": comment,
    }
    return statement([Subject(model, root)], predicate_type("approval"), predicate)


def model_statement(*, model: str, policy: Sequence[Artifact]) -> Json:
    """The released policy's files as OpenSSF model-signing describes a model, for tools that know only that.

    Args:
        model: name of the registered model.
        policy: the released policy's files; their root is the subject.
    """
    predicate = {
        "serialization": {
            "method": "files",
            "hash_type": "sha256",
            "allow_symlinks": False,
            "ignore_paths": [],
        },
        "resources": [{"name": a.name, "algorithm": "sha256", "digest": a.sha256} for a in sorted(policy)],
    }
    return statement([Subject(model, artifacts_root(policy))], MODEL_SIGNATURE, predicate)


def release_statement(
    *,
    intent: str,
    model: str,
    policy: Sequence[Artifact],
    evidence: Sequence[Artifact],
    verdict: Verdict,
    reason: str,
    statements: Mapping[str, str],
    opening: Opening,
) -> Json:
    """What came out of a run, promoted or not; its envelope's digest closes the run on the ledger.

    Args:
        intent: digest of the intent.
        model: name of the registered model.
        policy: the released policy's files; their root is the subject.
        evidence: checkpoints, metrics, logs, reports.
        verdict: PROMOTE, HOLD or REJECT.
        reason: why, in one sentence.
        statements: digest of every other stored envelope of the run, by its file name in the record.
        opening: how the ledger opened the run.

    Raises:
        InputError: the opening is of another intent, or ``statements`` lacks the intent.
    """
    digests = {name: require_sha256(d, where=name) for name, d in statements.items()}
    if opening.intent != intent or intent not in digests.values():
        raise InputError(
            f"release of intent {intent[:12]}: the ledger opened {opening.intent[:12]} and the statements "
            f"listed are {sorted(digests)}",
            remedy="list every envelope of this run, the intent among them, and give this run's opening",
        )
    root = artifacts_root(policy)
    predicate = {
        "intent": intent,
        "revision": 1,
        "verdict": _require_verdict(verdict),
        "reason": reason,
        "policy": {"root": root, "resources": [_resource(a) for a in sorted(policy)]},
        "evidence": {
            "root": artifacts_root(evidence),
            "resources": [_resource(a) for a in sorted(evidence)],
        },
        "statements": [
            {"name": name, "digest": {"sha256": digest}} for name, digest in sorted(digests.items())
        ],
        "opening": opening.to_json(),
    }
    return statement([Subject(model, root)], predicate_type("release"), predicate)


def promotion_statement(
    *,
    release: str,
    model: str,
    root: str,
    version: str,
    alias: str,
    outcome: Literal["promoted", "superseded"],
    replaced: Mapping[str, Any] | None,
    decided: str,
) -> Json:
    """Which policy an alias points to from now on; noted on the ledger before the alias moves.

    Args:
        release: digest of the release statement's envelope.
        model: name of the registered model.
        root: model root of the policy: the subject.
        version: its version in the registry.
        alias: e.g. ``champion``.
        outcome: ``superseded`` when the champion is not the one evaluated against: the alias stays.
        replaced: version and root that the alias pointed to, or None.
        decided: when.
    """
    predicate = {
        "release": require_sha256(release, where="release"),
        "version": version,
        "alias": alias,
        "outcome": outcome,
        "replaced": dict(replaced) if replaced is not None else None,
        "decided": decided,
    }
    return statement([Subject(model, root)], predicate_type("promotion"), predicate)


def rollback_statement(
    *,
    release: str,
    model: str,
    root: str,
    version: str,
    alias: str,
    restored: Mapping[str, Any] | None,
    reason: str,
    decided: str,
) -> Json:
    """An alias is taken from a policy; noted on the ledger, on this policy's run, before the alias moves.

    Args:
        release: digest of the release statement's envelope of the policy that is rolled back.
        model: name of the registered model.
        root: its model root: the subject.
        version: its version in the registry.
        alias: e.g. ``champion``.
        restored: version and root that the alias points to from now on, or None for nothing.
        reason: why, in a person's words.
        decided: when.
    """
    predicate = {
        "release": require_sha256(release, where="release"),
        "version": version,
        "alias": alias,
        "outcome": "rolled-back",
        "replaced": None,
        "restored": dict(restored) if restored is not None else None,
        "reason": reason,
        "decided": decided,
    }
    return statement([Subject(model, root)], predicate_type("promotion"), predicate)


def revocation_statement(
    what: Literal["release", "policy", "key"], *, name: str, sha256: str, reason: str, since: str
) -> Json:
    """Something is not to be trusted any more; it counts from the block time of its note on the ledger.

    Args:
        what: kind of the subject.
        name: the subject, for people: a file, a model, a role.
        sha256: digest of the release's envelope, model root, or key id.
        reason: why.
        since: when this was decided.
    """
    predicate = {"what": what, "reason": reason, "since": since}
    return statement([Subject(name, sha256)], predicate_type("revocation"), predicate)


def reproduction_statement(
    *,
    release: str,
    model: str,
    root: str,
    outcome: Literal["identical", "equivalent", "different"],
    reproduced: str,
    test: Mapping[str, Any] | None,
    first_difference: Mapping[str, int] | None,
    environment: Mapping[str, Any],
    started: str,
    finished: str,
) -> Json:
    """Somebody trained a policy again from its record.

    Args:
        release: digest of the release statement's envelope.
        model: name of the registered model.
        root: model root of the released policy: the subject.
        outcome: ``identical``: the same model root; ``equivalent``: returns shown to be the same within a
            margin; ``different``: neither.
        reproduced: model root of the policy trained again.
        test: the equivalence test with its margin, None where none was made.
        first_difference: ``seed`` and ``iteration`` of the first checkpoint that differs, or None.
        environment: where: packages, processor, operating system, and what differed from the record.
        started: when.
        finished: when.

    Raises:
        InputError: outcome and roots contradict each other.
    """
    if (outcome == "identical") != (root == reproduced):
        raise InputError(
            f"reproduction {outcome!r} of {root[:12]} as {reproduced[:12]}",
            remedy="call it identical exactly when the roots are equal",
        )
    predicate = {
        "release": require_sha256(release, where="release"),
        "outcome": outcome,
        "root": require_sha256(reproduced, where="reproduced"),
        "test": None if test is None else dict(test),
        "first_difference": None if first_difference is None else dict(first_difference),
        "environment": dict(environment),
        "started": started,
        "finished": finished,
    }
    return statement([Subject(model, root)], predicate_type("reproduction"), predicate)


def _resource(artifact: Artifact) -> Json:
    """An in-toto resource descriptor; the size is an annotation, as in-toto knows none."""
    return {**Subject.of(artifact).to_json(), "annotations": {"size": artifact.size}}


def _require_verdict(value: Any) -> Any:
    if value not in ("PROMOTE", "HOLD", "REJECT"):
        raise InputError(f"verdict {value!r}", remedy="give PROMOTE, HOLD or REJECT")
    return value
