"""What came out: identical, equivalent or different, and where two trainings parted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from drl.errors import Falsified
from drl.evaluation.episodes import Episodes
from drl.evaluation.equivalence import Equivalence, equivalence
from drl.reproduction.recorded import RecordedTraining
from drl.training.chain import Link

Outcome = Literal["identical", "equivalent", "different"]
_ACTOR = "policy"


@dataclass(frozen=True, order=True)
class Parting:
    """The first checkpoint at which a seed's training is not the recorded one; ordered by iteration."""

    iteration: int
    seed: int

    def to_json(self) -> dict[str, int]:
        """A JSON object with the attributes."""
        return {"seed": self.seed, "iteration": self.iteration}


@dataclass(frozen=True)
class Comparison:
    """The answer.

    Attributes:
        outcome: ``identical`` when the released policy has the same bytes; ``equivalent`` when its held-out
            returns were shown to be the same within the margin; else ``different``.
        root: model root of the policy that was trained and chosen again.
        test: the two one-sided tests; None when they were not needed, or the record has no margin.
        parting: the first checkpoint that differs; None when none does.
        why: one plain sentence.
    """

    outcome: Outcome
    root: str
    test: Equivalence | None
    parting: Parting | None
    why: str


def first_parting(
    recorded: Mapping[int, Sequence[Link]], again: Mapping[int, Sequence[Link]], *, until: int | None = None
) -> Parting | None:
    """The checkpoint with the lowest iteration whose chain digests differ, or that only one of them has.

    Args:
        recorded: the chains of the record, by seed.
        again: the chains made again.
        until: look at no later iteration.
    """
    partings = [_parting(seed, links, again.get(seed, ()), until) for seed, links in recorded.items()]
    return min((p for p in partings if p is not None), default=None)


def compare(
    training: RecordedTraining, *, root: str, parting: Parting | None, episodes: Episodes | None
) -> Comparison:
    """Compare the policy that was trained again with the released one.

    Args:
        training: the recorded one.
        root: model root of the policy trained again.
        parting: from :func:`first_parting`.
        episodes: its held-out episodes; needed when the roots differ and the record has a margin.
    """
    unit = training.spec.evaluation.unit
    if root == training.root:
        return Comparison("identical", root, None, parting, "the released policy has the same bytes")
    recorded = recorded_episodes(training)
    if len(recorded.labels) < 2:
        why = "the bytes differ, and one held-out episode is too few to judge the difference by"
        return Comparison("different", root, None, parting, why)
    if training.margin is None:
        why = "the bytes differ, and the record shows no spread between seeds to judge the difference by"
        return Comparison("different", root, None, parting, why)
    test = _test(training, training.margin, recorded, episodes)
    named = f"the {1 - 2 * test.alpha:.0%} interval"
    interval = f"from {test.lower:.6g} to {test.upper:.6g} {unit}"
    if test.equivalent:
        why = f"{named} of the difference, {interval}, lies within ±{test.margin:.6g}"
        return Comparison("equivalent", root, test, parting, why)
    why = (
        f"{named} of the difference, {interval}, does not lie within "
        f"±{test.margin:.6g}: not shown to be equivalent"
    )
    return Comparison("different", root, test, parting, why)


def recorded_episodes(training: RecordedTraining) -> Episodes:
    """The held-out episodes of the record."""
    record = training.record
    return Episodes.read(record.path(record.made("evaluate/episodes.jsonl"), "episodes.jsonl"))


def _parting(seed: int, recorded: Sequence[Link], again: Sequence[Link], until: int | None) -> Parting | None:
    there = {link.iteration: link.digest for link in again}
    here = {link.iteration: link.digest for link in recorded}
    for iteration in sorted(here.keys() | there.keys()):
        if (until is None or iteration <= until) and here.get(iteration) != there.get(iteration):
            return Parting(iteration, seed)
    return None


def _test(
    training: RecordedTraining, margin: float, recorded: Episodes, episodes: Episodes | None
) -> Equivalence:
    if episodes is None or episodes.labels != recorded.labels or _ACTOR not in recorded.returns:
        raise Falsified(
            "the held-out episodes played again are not those of the record",
            remedy="see whether environment and held-out data are the recorded ones",
        )
    return equivalence(
        episodes.returns[_ACTOR],
        recorded.returns[_ACTOR],
        margin=margin,
        block=min(training.spec.promotion.block, len(recorded.labels) // 2),
    )
