"""Whether a process is of use, which does not hang on one policy; how it stands with each is told apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, get_args

from drl.serving.watching import PolicyWatch

State = Literal["waiting", "served", "stale", "refused", "withdrawn"]
STATES: tuple[State, ...] = get_args(State)


def state_of(watch: PolicyWatch) -> State:
    """How it stands with a policy.

    ``waiting``: nothing was proved or refused yet. ``served``: the alias' version answers. ``stale``: one
    answers, but the alias could not be followed, or the proof not be made again. ``refused``: none was ever
    proved. ``withdrawn``: one answered, and does no more.
    """
    if watch.loaded is not None:
        return "stale" if watch.refused or watch.doubt or watch.registry_trouble else "served"
    if watch.switches:
        return "withdrawn"
    return "refused" if watch.refused else "waiting"


def is_ready(watches: Iterable[PolicyWatch]) -> bool:
    """Whether some policy answers, and each was looked at: a new pod is no replacement before.

    A registry that is gone is no reason to wait for it.
    """
    watches = list(watches)
    undecided = [w for w in watches if state_of(w) == "waiting" and not w.registry_trouble]
    return not undecided and any(w.loaded for w in watches)


def problems_of(watch: PolicyWatch) -> Iterator[str]:
    """A sentence for everything that is not as it should be."""
    if watch.registry_trouble:
        yield f"{watch.model}: {watch.registry_trouble}"
    if watch.refused:
        what = f", version {watch.refused.version} not loaded" if watch.refused.version else ""
        yield from (f"{watch.model}{what}: {reason}" for reason in watch.refused.reasons)
    if watch.doubt:
        yield from (
            f"{watch.model}, version {watch.doubt.version} not proved again: {r}" for r in watch.doubt.reasons
        )
    if state_of(watch) == "waiting":
        yield f"{watch.model}: not proved yet"
