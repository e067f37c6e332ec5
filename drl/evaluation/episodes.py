"""Every scored episode of every actor, one JSON line each: what the verdict is derived from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drl.digest import canonical_json
from drl.errors import InputError, StepError
from drl.evaluation.rollout import Rollout

_TOO_LONG = 2**53


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
            InputError: a line is not canonical JSON of exactly these members, its length is no positive whole
                number, the last line has no line feed, or the actors' episodes are not the same.
        """
        labels: dict[str, list[str]] = {}
        returns: dict[str, list[float]] = {}
        lengths: dict[str, list[int]] = {}
        *lines, rest = path.read_bytes().split(b"\n")
        if rest or not lines:
            raise InputError(f"{path}: no line feed at its end", remedy="give the file as it was written")
        for number, line in enumerate(lines, start=1):
            try:
                actor, label, outcome, length = _read_line(line)
            except (ValueError, KeyError, TypeError, InputError) as error:
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


def _read_line(line: bytes) -> tuple[str, str, float, int]:
    """Actor, label, return and length; ValueError, TypeError or InputError when it is no such line."""
    value = json.loads(line, parse_int=float)
    if canonical_json(value) != line or set(value) != {"actor", "episode", "length", "return"}:
        raise ValueError("not the canonical JSON of these members")
    actor, label, outcome, length = (value[name] for name in ("actor", "episode", "return", "length"))
    if not (isinstance(actor, str) and isinstance(label, str) and type(outcome) is type(length) is float):
        raise TypeError("a member of another type")
    if not (length.is_integer() and 0 < length < _TOO_LONG):
        raise ValueError(f"length {length}")
    return actor, label, outcome, int(length)


def _ends(labels: list[str]) -> str:
    return f"{labels[0]} to {labels[-1]} ({len(labels)})" if labels else "(none)"
