"""Everything behind the routes: watched policies, servers behind, keys, rates and the decision log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from drl.serving.access import KeyRing, Rates
from drl.serving.behind import Behind
from drl.serving.child import ChildExpectation, ChildProver, Expect, Prove
from drl.serving.decisions import DecisionLog
from drl.serving.drift import DriftWatch
from drl.serving.metrics import RequestMetrics
from drl.serving.policy import space_json
from drl.serving.readiness import is_ready, problems_of, state_of
from drl.serving.registry import RegistryClient
from drl.serving.settings import ApiSettings
from drl.serving.watching import Looker, PolicyWatch, Registry


class Service:
    """One serving process.

    Args:
        settings: of drl-api.
        registry: says where aliases point; by default MLflow's.
        prove: verifies targets; by default in a child.
        expect: finds out which observations they are used to; by default in a child.

    Attributes:
        watches: by name of the policy.
    """

    def __init__(
        self,
        settings: ApiSettings,
        *,
        registry: Registry | None = None,
        prove: Prove | None = None,
        expect: Expect | None = None,
    ) -> None:
        self.settings = settings
        self.keys = KeyRing.load(settings.keys) if settings.keys else None
        self.rates = Rates(settings.requests_per_second)
        self.behind = Behind.of(settings)
        self.watches = {
            name: PolicyWatch(
                name,
                settings.alias,
                registry=registry or RegistryClient(settings.mlflow),
                prove=prove or ChildProver(settings),
                expect=expect or ChildExpectation(settings),
                folder=settings.state / "policies",
                prove_seconds=settings.prove_seconds,
            )
            for name in settings.policies
        }
        self.decisions = _decision_log(settings)
        self.metrics = RequestMetrics(self)
        self._lookers = [
            *(_looker(name, watch.look, settings.watch_seconds) for name, watch in self.watches.items()),
            _looker("behind", self.behind.look, settings.watch_seconds),
        ]
        if self.decisions is not None:
            self._lookers.append(_looker("decisions", self.decisions.ship, settings.decisions_seconds))

    def start(self) -> None:
        """Begin to watch."""
        for looker in self._lookers:
            looker.start()

    def stop(self) -> None:
        """End watching, and ship what is left."""
        for looker in self._lookers:
            looker.stop()
        if self.decisions is not None:
            self.decisions.close()

    def readiness(self, *, reasons: bool) -> dict[str, Any]:
        """Whether this process is of use, and the state of everything.

        Args:
            reasons: also say which versions are served, and why something is not as it should be.
        """
        watches = self.watches.values()
        found: dict[str, Any] = {
            "ready": is_ready(watches),
            "policies": {watch.model: state_of(watch) for watch in watches},
            "servers": dict(self.behind.up),
        }
        if reasons:
            loaded = {watch.model: watch.loaded for watch in watches}
            found["versions"] = {name: x.target.version if x else None for name, x in loaded.items()}
            found["problems"] = self._problems()
        return found

    def _problems(self) -> list[str]:
        problems = self.behind.problems()
        for watch in self.watches.values():
            problems += problems_of(watch)
        if self.decisions is not None and self.decisions.trouble:
            problems.append(f"decisions are not shipped: {self.decisions.trouble}")
        return problems

    def about(self, watch: PolicyWatch) -> dict[str, Any]:
        """What is served under a name, and why it may be."""
        loaded = watch.loaded
        value: dict[str, Any] = {
            "name": watch.model,
            "alias": self.settings.alias,
            "refused": watch.refused.to_json() if watch.refused else None,
            "served": None,
        }
        if loaded is not None:
            proof = loaded.policy.proof
            value["served"] = {
                "version": loaded.target.version,
                "model_root": loaded.target.root,
                "record": loaded.target.run,
                "verdict": proof.verdict,
                "level": proof.level,
                "sentence": proof.sentence,
                "anchor": proof.anchor,
                "loaded": _utc(loaded.since),
                "proved": _utc(loaded.proved),
                "drift": _drift(loaded.unexpected, loaded.drift),
                **space_json(loaded.policy.description),
            }
        return value


def _decision_log(settings: ApiSettings) -> DecisionLog | None:
    if settings.decisions is None:
        return None
    folder = settings.state / "decisions"
    return DecisionLog(folder, settings.decisions, disk_bytes=settings.decisions_bytes)


def _drift(unexpected: str | None, drift: DriftWatch | None) -> str:
    return f"{drift.rows} observations compared" if drift else f"not watched: {unexpected}"


def _looker(name: str, look: Callable[[], None], seconds: float) -> Looker:
    return Looker(f"drl-api-{name}", [look], seconds=seconds)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
