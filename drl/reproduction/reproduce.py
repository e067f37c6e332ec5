"""A reproduction from beginning to end, given a record that was opened and a place to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drl.errors import InputError
from drl.evaluation.episodes import Episodes
from drl.record.predicates import reproduction_statement
from drl.reproduction.comparison import Comparison, Parting, compare, first_parting
from drl.reproduction.place import Difference, Place, describe
from drl.reproduction.recorded import RecordedTraining
from drl.reproduction.work import DataMeans, Workshop
from drl.training import chain

Say = Callable[[str], None]


@dataclass(frozen=True)
class Reproduction:
    """What was done and found.

    Attributes:
        comparison: the answer.
        statement: the same as an unsigned ``reproduction`` statement.
    """

    comparison: Comparison
    statement: dict[str, Any]


@dataclass(frozen=True)
class Replay:
    """A training repeated up to a checkpoint.

    Attributes:
        iteration: of the checkpoint.
        digests: for each seed the chain digest there, recorded and again; None where there is no such line.
        parting: the first checkpoint that differs; None when none does.
    """

    iteration: int
    digests: dict[int, tuple[str | None, str | None]]
    parting: Parting | None

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "format": "drl.replay/1",
            "iteration": self.iteration,
            "identical": self.parting is None,
            "first_difference": None if self.parting is None else self.parting.to_json(),
            "seeds": [
                {"seed": seed, "recorded": recorded, "again": again}
                for seed, (recorded, again) in self.digests.items()
            ],
        }


def checkpoint_at(training: RecordedTraining, until: int) -> int:
    """The last recorded checkpoint at or before an iteration.

    Raises:
        InputError: there is none.
    """
    known = [iteration for iteration in training.iterations() if iteration <= until]
    if not known:
        raise InputError(
            f"--until {until}: no checkpoint that early",
            remedy=f"give one of {_some(training.iterations())}",
        )
    return known[-1]


def replay(training: RecordedTraining, workshop: Workshop, means: DataMeans, until: int, say: Say) -> Replay:
    """Repeat the training up to the checkpoint after iteration ``until`` and compare the chains."""
    _bring_data(training, workshop, means, say)
    workshop.train(until)
    again = _chains(workshop)
    digests = {
        seed: (_digest_at(links, until), _digest_at(again.get(seed, []), until))
        for seed, links in training.chains.items()
    }
    return Replay(until, digests, first_parting(training.chains, again, until=until))


def reproduce(
    training: RecordedTraining,
    workshop: Workshop,
    means: DataMeans,
    place: Place,
    differing: list[Difference],
    say: Say,
) -> Reproduction:
    """Prepare and train again, compare, and where the bytes differ play the held-out episodes too.

    Args:
        training: what to do again.
        workshop: a fresh folder.
        means: where the data may come from.
        place: where the workshop's steps run.
        differing: what is not here as it was recorded.
        say: told what goes on.
    """
    started = _now()
    _bring_data(training, workshop, means, say)
    workshop.train(None)
    parting = first_parting(training.chains, _chains(workshop))
    roots = workshop.policy_roots()
    for seed, recorded, again in zip(training.seeds, training.roots, roots, strict=True):
        say(f"seed {seed}: {'the same' if again == recorded else 'another'} model root, {again}")
    root, episodes = roots[workshop.released()], None
    if root != training.root and training.margin is not None:
        workshop.evaluate()
        episodes = Episodes.read(workshop.output("evaluate", "episodes.jsonl"))
    comparison = compare(training, root=root, parting=parting, episodes=episodes)
    return Reproduction(comparison, _statement(training, comparison, place, differing, started))


def _statement(
    training: RecordedTraining,
    comparison: Comparison,
    place: Place,
    differing: list[Difference],
    started: str,
) -> dict[str, Any]:
    test, parting = comparison.test, comparison.parting
    return reproduction_statement(
        release=training.release,
        model=training.model,
        root=training.root,
        outcome=comparison.outcome,
        reproduced=comparison.root,
        test=None if test is None else test.to_json(),
        first_difference=None if parting is None else parting.to_json(),
        environment=describe(place, differing),
        started=started,
        finished=_now(),
    )


def _bring_data(training: RecordedTraining, workshop: Workshop, means: DataMeans, say: Say) -> None:
    said = workshop.bring_data(means)
    if said is None:
        return
    say(f"data: {said}")
    recorded = training.record.statement("validation").predicate["contents"]
    for name, digest in workshop.prepared().items():
        same = "the recorded content" if digest == recorded.get(name) else "another content than recorded"
        say(f"data: {name} has {same}, {digest}")


def _chains(workshop: Workshop) -> dict[int, list[chain.Link]]:
    path: Path = workshop.output("train", "checkpoints.jsonl")
    return chain.by_seed(path.read_bytes(), where=path.name)


def _digest_at(links: list[chain.Link], iteration: int) -> str | None:
    return next((link.digest for link in links if link.iteration == iteration), None)


def _some(iterations: list[int]) -> str:
    if len(iterations) <= 6:
        return ", ".join(map(str, iterations))
    return f"{iterations[0]}, {iterations[1]}, … {iterations[-1]}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
