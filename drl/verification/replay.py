"""Checks 19, 20 and 23 to 25: the policies are readable, and act again as they did.

The environment's code is that of the verifier's own installation, never the record's. Which class may be
imported is the verifier's choice too: Gymnasium's registry, ``drl.envs``, and packages of the trust policy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drl.artifact import Artifact
from drl.data.columns import Columns, read_columns
from drl.envs.identity import environment_package
from drl.envs.loading import environment_class, make_environment
from drl.errors import Falsified, InputError, Undetermined
from drl.evaluation.actor import Actor
from drl.evaluation.baselines import construct_baselines
from drl.evaluation.episodes import Episodes
from drl.evaluation.rollout import Rollout, rollout
from drl.evaluation.selection import validation_seed
from drl.evaluation.statistics import mean
from drl.policy.forward import NumpyPolicy
from drl.verification.decision import read_episodes
from drl.verification.findings import Findings, Label
from drl.verification.record import POLICY_FILES, Record

RETURN_TOLERANCE = 1e-9
"""Returns are the same when they differ by no more than this times the larger of 1 and their size."""
ACTION_TOLERANCE = 1e-6
"""Continuous actions are the same when no component differs by more; discrete ones must be equal."""

_MOST_STEPS = 50_000_000
_MOST_ROLLOUTS = 20_000
_OWN_ENVIRONMENTS = "drl.envs"

Tell = Callable[[str], None]


@dataclass(frozen=True)
class HeldOut:
    """Splits to replay on.

    Attributes:
        test: the held-out rows, None for an environment without data.
        validation: the validation rows, None when they are not at hand or there are no data.
    """

    test: Columns | None
    validation: Columns | None


def check_policies(record: Record, findings: Findings) -> None:
    """Checks 19 and 20: each policy is a network that fits its description, and the ONNX file is the same."""
    policies: dict[str, dict[str, Artifact]] = {}
    with findings.guard(19):
        policies["policy"] = record.policy
        if record.champion is not None:
            policies["champion"] = record.champion_files
    for name, files in policies.items():
        with findings.guard(19):
            policy = NumpyPolicy.load(record.policy_folder(files))
            layers = len(policy.description.layers)
            findings.recomputed(19, f"{name}: {layers} layers whose tensors are finite and fit, no pickle")
        with findings.guard(20):
            _check_onnx(record.policy_folder(files))
            findings.recomputed(20, f"{name}: the ONNX file is this network with these weights, bit for bit")


def _check_onnx(folder: Path) -> None:
    try:
        from drl.policy.onnx import check_onnx
    except ImportError as error:
        raise Undetermined(
            f"the ONNX file was not compared: no package {error.name}",
            remedy="pip install -c requirements.lock '.[onnx]' in a checkout of this project",
        ) from error
    check_onnx(folder)


def check_environment(record: Record, findings: Findings, allowed: list[str]) -> None:
    """Check 23: whether the environment's code here is the code of the run."""
    with findings.guard(23):
        entry_point, said = record.spec.environment.entry_point, record.resolved["environment"]
        _require_allowed(entry_point, allowed)
        try:
            package, digest = environment_package(entry_point)
        except InputError as error:
            raise Undetermined(error.message, remedy=error.remedy) from error
        findings.require(23, said["entry_point"] == entry_point, "the intent names two environments")
        if (package, digest) == (said["package"], said["sha256"]):
            findings.recomputed(23, f"{package} here has the digest of the run's, {digest[:12]}")
        else:
            findings.not_checked(
                23,
                f"{package} here is {digest[:12]}, in the run {said['package']} was "
                f"{str(said['sha256'])[:12]}: a replay is by other code than the run's",
                remedy=f"install the run's version of it ({said.get('version')})",
            )


def _require_allowed(entry_point: str, allowed: list[str]) -> None:
    module = entry_point.partition(":")[0]
    if ":" not in entry_point:
        return
    if not any(module == name or module.startswith(f"{name}.") for name in (_OWN_ENVIRONMENTS, *allowed)):
        raise Undetermined(
            f"the record asks to import {module}, which is not imported because a record says so",
            remedy=f"if you trust that package here, add `environments: [{module}]` to the trust policy",
        )


def check_replay(
    record: Record, findings: Findings, held_out: HeldOut, allowed: list[str], tell: Tell
) -> None:
    """Check 24: policy, champion and baselines play the held-out episodes again, step for step."""
    with findings.guard(24):
        kept = read_episodes(record)
        _require_bounded(record, kept)
        good = []
        for name, actor in _actors(record, kept, allowed).items():
            tell(f"replaying {name}")
            played = _play(record, actor, held_out.test, record.spec.evaluation.seed, kept, name)
            if _same(record, findings, name, played, kept):
                good.append(name)
        if len(good) == len(kept.returns):
            steps = sum(int(length.sum()) for length in kept.lengths.values())
            findings.recomputed(
                24,
                f"{len(good)} actors played {len(kept.labels)} episodes again ({steps:,} time steps): the "
                f"same actions, and returns within {RETURN_TOLERANCE:g}",
            )


def _actors(record: Record, kept: Episodes, allowed: list[str]) -> dict[str, Actor]:
    kind = own_class(record, allowed)
    parameters = record.json("evaluate/baselines.json")
    declared = {b.name: (b.kind, dict(b.settings)) for b in record.spec.evaluation.baselines}
    if {n: (p["kind"], p["settings"]) for n, p in parameters.items()} != declared:
        raise Falsified("baselines.json holds other baselines than the intent", remedy="refuse the record")
    actors: dict[str, Actor] = {"policy": NumpyPolicy.load(record.policy_folder(record.policy))}
    if record.champion is not None:
        actors["champion"] = NumpyPolicy.load(record.policy_folder(record.champion_files))
    actors |= construct_baselines({n: parameters[n] for n in declared}, kind)
    if set(actors) != set(kept.returns):
        raise Falsified(f"kept are episodes of {sorted(kept.returns)}", remedy="refuse the record")
    return actors


def own_class(record: Record, allowed: list[str]) -> type | None:
    """The environment's class in the verifier's own installation, None for an id of Gymnasium's registry.

    Raises:
        Undetermined: the verifier does not have it, or does not import it because a record says so.
    """
    entry_point = record.spec.environment.entry_point
    _require_allowed(entry_point, allowed)
    try:
        return environment_class(entry_point)
    except InputError as error:
        raise Undetermined(error.message, remedy=error.remedy) from error


def _play(
    record: Record, actor: Actor, data: Columns | None, seed: int, kept: Episodes | None, name: str
) -> Rollout:
    try:
        environment = make_environment(record.spec.environment, data=data, mode="evaluate")
    except InputError as error:
        raise Undetermined(error.message, remedy=error.remedy) from error
    # A rollout that goes on for longer than what was kept is not the same: no need to play it to its end.
    bound = None if kept is None else int(kept.lengths[name].sum())
    try:
        return rollout(
            actor, environment, episodes=record.spec.evaluation.episodes, seed=seed, max_steps=bound
        )
    finally:
        environment.close()


def _same(record: Record, findings: Findings, name: str, played: Rollout, kept: Episodes) -> bool:
    actions = np.load(record.array(record.made(f"evaluate/actions/{name}.npy")), allow_pickle=False)
    returns = kept.returns[name]
    slack = RETURN_TOLERANCE * np.maximum(1.0, np.abs(returns))
    facts = (
        (played.labels == kept.labels, "other episodes"),
        (np.array_equal(played.lengths, kept.lengths[name]), "episodes of other lengths"),
        (_same_actions(played.actions, actions), "other actions"),
        (
            played.returns.shape == returns.shape and bool((np.abs(played.returns - returns) <= slack).all()),
            "other returns",
        ),
    )
    wrong = next((what for holds, what in facts if not holds), None)
    return findings.require(24, wrong is None, f"{name}: the replay gives {wrong} than the record kept")


def _same_actions(played: np.ndarray, kept: np.ndarray) -> bool:
    if played.shape != kept.shape:
        return False
    if played.dtype.kind in "iu" or kept.dtype.kind in "iu":
        return bool(np.array_equal(played, kept))
    return bool(np.allclose(played, kept, rtol=0.0, atol=ACTION_TOLERANCE))


def _require_bounded(record: Record, kept: Episodes) -> None:
    if record.spec.evaluation.episodes > len(kept.labels):
        raise Falsified(
            f"{len(kept.labels)} kept episodes of {record.spec.evaluation.episodes} rollouts",
            remedy="refuse the record",
        )
    steps = sum(int(length.sum()) for length in kept.lengths.values())
    if steps > _MOST_STEPS or any((length < 1).any() for length in kept.lengths.values()):
        raise Undetermined(
            f"a replay of {steps:,} time steps", remedy=f"this verifier replays {_MOST_STEPS:,} at most"
        )


def check_selection_replay(
    record: Record, findings: Findings, held_out: HeldOut, allowed: list[str], tell: Tell
) -> None:
    """Check 25: every seed's policy plays the validation episodes again and scores what was kept."""
    with findings.guard(25):
        train = record.statement("train")
        selection = record.json("train/selection.json")
        if record.spec.data is not None and held_out.validation is None:
            findings.claimed(
                25, "the validation scores that chose the seed; their data did not travel", key=train.key
            )
            return
        own_class(record, allowed)
        _require_few(len(selection["means"]) * record.spec.evaluation.episodes)
        for index, said in enumerate(selection["means"]):
            tell(f"replaying the selection, seed {index}")
            files = {n: record.made(f"train/seed-{index}/{n}") for n in POLICY_FILES}
            episodes = _check_mean(record, findings, held_out, files, index, float(said))
            findings.require(
                25, selection["episodes"] == episodes, f"{episodes} validation episodes, not the number kept"
            )
        if not findings.having(25, Label.FALSE):
            findings.recomputed(25, f"{len(selection['means'])} seeds score on validation what selected one")


def _require_few(rollouts: int) -> None:
    if rollouts > _MOST_ROLLOUTS:
        raise Undetermined(
            f"{rollouts:,} validation rollouts", remedy=f"this verifier replays {_MOST_ROLLOUTS:,} at most"
        )


def _check_mean(
    record: Record, findings: Findings, held_out: HeldOut, files: dict[str, Artifact], index: int, said: float
) -> int:
    """Compare one seed's mean with what is said; returns how many episodes were scored."""
    policy = NumpyPolicy.load(record.policy_folder(files))
    first = validation_seed(record.spec.evaluation)
    played = _play(record, policy, held_out.validation, first, None, "policy")
    found = float(mean(played.returns))
    findings.require(
        25,
        abs(found - said) <= RETURN_TOLERANCE * max(1.0, abs(said)),
        f"seed {index} scores {found} on validation, not {said}",
    )
    return len(played.returns)


def read_test(record: Record) -> Columns | None:
    """The held-out rows that travelled in the record, None for an environment without data.

    Raises:
        Undetermined: they did not travel.
    """
    if record.spec.data is None:
        return None
    artifact = record.made("prepare/test.npy")
    if not record.travelled(artifact):
        raise Undetermined(
            "no replay: the held-out data did not travel in the record",
            remedy="give --source FILE or --fetch, to make them again from their source",
        )
    return read_columns(record.array(artifact))
