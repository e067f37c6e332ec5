"""Every scored episode of every actor, one JSON line each: what the verdict is derived from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drl.digest import canonical_json
from drl.errors import InputError, StepError
from drl.evaluation.rollout import Rollout


@dataclass(frozen=True)
class Episodes:
    """Paired episodes of several actors.

    Attributes:
        labels: what people call each episode, in order.
        returns: actor to float64 [E].
        lengths: actor to int64 [E], in time steps.
    """

    labels: list[str]
    returns: dict[str, np.ndarray]
    lengths: dict[str, np.ndarray]

    @classmethod
    def of(cls, rollouts: dict[str, Rollout]) -> Episodes:
        """Pair the rollouts; StepError when two actors played different episodes."""
        first = next(iter(rollouts))
        for name, played in rollouts.items():
            if played.labels != rollouts[first].labels:
                raise StepError(
                    f"{name} played the episodes {_ends(played.labels)}, {first} played "
                    f"{_ends(rollouts[first].labels)}",
                    remedy="label episodes by data or reset seed, never by what an action causes",
                )
        return cls(
            rollouts[first].labels,
            {name: played.returns for name, played in rollouts.items()},
            {name: played.lengths for name, played in rollouts.items()},
        )

    def write(self, path: Path) -> None:
        """Write ``{"actor", "episode", "return", "length"}`` lines, canonical JSON, actor by actor."""
        lines = [
            canonical_json({"actor": actor, "episode": label, "return": float(value), "length": int(length)})
            for actor, values in self.returns.items()
            for label, value, length in zip(self.labels, values, self.lengths[actor], strict=True)
        ]
        path.write_bytes(b"".join(line + b"\n" for line in lines))

    @classmethod
    def read(cls, path: Path) -> Episodes:
        """Read what :meth:`write` wrote, equal in every number.

        Raises:
            InputError: a line is malformed, or the actors' episodes are not the same.
        """
        labels: dict[str, list[str]] = {}
        returns: dict[str, list[float]] = {}
        lengths: dict[str, list[int]] = {}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                value = json.loads(line)
                actor, label = str(value["actor"]), str(value["episode"])
                outcome, length = float(value["return"]), int(value["length"])
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{path}, line {number}: not an episode: {error!r}",
                    remedy="give the file as it was written",
                ) from error
            labels.setdefault(actor, []).append(label)
            returns.setdefault(actor, []).append(outcome)
            lengths.setdefault(actor, []).append(length)
        distinct = {tuple(names) for names in labels.values()}
        if len(distinct) != 1 or any(len(set(names)) != len(names) for names in distinct):
            raise InputError(
                f"{path}: the actors {sorted(labels)} do not have the same episodes, each once",
                remedy="give the file as it was written",
            )
        return cls(
            next(iter(labels.values())),
            {actor: np.array(values, dtype=np.float64) for actor, values in returns.items()},
            {actor: np.array(values, dtype=np.int64) for actor, values in lengths.items()},
        )


def _ends(labels: list[str]) -> str:
    return f"{labels[0]} to {labels[-1]} ({len(labels)})" if labels else "(none)"
