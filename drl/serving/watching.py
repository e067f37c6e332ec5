"""What an alias points to: proved in a child, loaded beside the present policy, and switched to at once."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from drl.errors import DrlError, Undetermined
from drl.serving.child import Prove
from drl.serving.drift import DriftWatch
from drl.serving.lines import say
from drl.serving.policy import ServedPolicy
from drl.serving.proof import Outcome, Proof, Target

_AGAIN_SECONDS = 30.0


class Registry(Protocol):
    """What is asked of :class:`drl.serving.registry.RegistryClient`."""

    def version(self, model: str, alias: str) -> int | None:
        """The version that an alias points to."""

    def target(self, model: str, version: int) -> Target:
        """What a version is said to be."""


@dataclass(frozen=True)
class Loaded:
    """A policy that answers.

    Attributes:
        policy: the policy.
        since: when it was switched to, seconds since the epoch.
        proved: when its proof last held, seconds since the epoch.
        drift: of the observations that it answered; None when nobody knows what to expect.
    """

    policy: ServedPolicy
    since: float
    proved: float
    drift: DriftWatch | None

    @property
    def target(self) -> Target:
        """What it is."""
        return self.policy.proof.target


@dataclass(frozen=True)
class Refused:
    """A target that was not loaded.

    Attributes:
        version: of the model; None when the alias points nowhere.
        outcome: ``false`` or ``undetermined``.
        reasons: why.
        at: when, by the monotonic clock.
    """

    version: int | None
    outcome: Outcome
    reasons: tuple[str, ...]
    at: float

    def to_json(self) -> dict[str, Any]:
        """For whoever asks."""
        return {"version": self.version, "outcome": self.outcome, "reasons": list(self.reasons)}


class PolicyWatch:
    """One served policy. :meth:`look` is called by one thread; ``loaded`` is read by others.

    Args:
        model: name of the registered model.
        alias: whose version is served.
        registry: says where the alias points.
        prove: verifies it.
        folder: for the policies' files; emptied of what earlier processes left.
        prove_seconds: between two proofs of the policy that is served.

    Attributes:
        loaded: what answers now; None when nothing may.
        refused: the last target that was not loaded, None once one was.
        switches: how often ``loaded`` became another version.
        refusals: how often a target was refused.
        registry_trouble: why the registry did not answer at the last look.
    """

    def __init__(
        self, model: str, alias: str, *, registry: Registry, prove: Prove, folder: Path, prove_seconds: float
    ) -> None:
        self.model = model
        self.loaded: Loaded | None = None
        self.refused: Refused | None = None
        self.switches = self.refusals = 0
        self.registry_trouble: str | None = None
        self._alias, self._registry, self._prove = alias, registry, prove
        self._folder, self._prove_seconds = folder / model, prove_seconds
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)

    def look(self) -> None:
        """Ask the registry, and follow what it says as far as it can be proved; raises nothing on purpose."""
        try:
            version = self._registry.version(self.model, self._alias)
            target = None if version is None else self._registry.target(self.model, version)
        except Undetermined as error:
            if self.registry_trouble is None:
                say("registry trouble", model=self.model, reason=error.message)
            self.registry_trouble = error.message
            return
        except DrlError as error:
            self._refuse(None, "false", (error.message,))
            return
        self.registry_trouble = None
        if target is None:
            self._withdraw(None, (f"the alias {self._alias} points nowhere",))
        elif self._due(target):
            self._follow(target)
        elif self.refused is not None and self.refused.version != target.version:
            self.refused = None  # the alias came back to what is served

    def _due(self, target: Target) -> bool:
        """Whether the target has to be proved now: it is new, or the last word about it is old."""
        if self.refused is not None and self.refused.version == target.version:
            return time.monotonic() - self.refused.at >= _AGAIN_SECONDS
        return self.loaded is None or self.loaded.target != target or self._old(self.loaded)

    def _old(self, loaded: Loaded) -> bool:
        return time.time() - loaded.proved >= self._prove_seconds

    def _follow(self, target: Target) -> None:
        into = Path(tempfile.mkdtemp(dir=self._folder, prefix=f"v{target.version}-"))
        begin = time.monotonic()
        try:
            proof = self._prove(target, into)
            if proof.outcome == "holds":
                self._take(proof, into, time.monotonic() - begin)
            elif proof.outcome == "false" and self.loaded and self.loaded.target == target:
                self._withdraw(target.version, proof.reasons)
            else:
                self._refuse(target.version, proof.outcome, proof.reasons)
        except Undetermined as error:
            self._refuse(target.version, "undetermined", (error.message,))
        except DrlError as error:
            self._refuse(target.version, "false", (error.message,))
        except Exception as error:  # of ONNX Runtime, or the disk: nothing was proved, and it is said
            self._refuse(target.version, "undetermined", (repr(error),))
        finally:
            shutil.rmtree(into, ignore_errors=True)

    def _take(self, proof: Proof, into: Path, seconds: float) -> None:
        """Keep what is served when it was proved again, else load beside it and switch."""
        present, now = self.loaded, time.time()
        if present is not None and present.target == proof.target:
            self.loaded = replace(present, proved=now)
        else:
            policy = ServedPolicy.load(proof, into)  # checked and warm before anybody is answered by it
            # One assignment: an answer is made by the policy that it began with, and the one before goes when
            # its last answer is out.
            self.loaded = Loaded(policy, now, now, DriftWatch(proof.expected) if proof.expected else None)
            self.switches += 1
            say(
                "switched",
                model=self.model,
                version=proof.target.version,
                model_root=proof.target.root,
                before=present.target.version if present else None,
                seconds=round(seconds, 3),
            )
        self.refused = None

    def _withdraw(self, version: int | None, reasons: tuple[str, ...]) -> None:
        """Answer no more: what is served was found false, or its owner took the alias away."""
        if self.loaded is not None:
            say("withdrawn", model=self.model, version=self.loaded.target.version, reasons=list(reasons))
        self.loaded = None
        self._refuse(version, "false", reasons)

    def _refuse(self, version: int | None, outcome: Outcome, reasons: tuple[str, ...]) -> None:
        if self.refused is None or (self.refused.version, self.refused.reasons) != (version, reasons):
            say("refused", model=self.model, version=version, outcome=outcome, reasons=list(reasons))
        self.refusals += 1
        self.refused = Refused(version, outcome, reasons, time.monotonic())


class Looker:
    """Calls functions again and again in a thread of its own, until it is stopped."""

    def __init__(self, name: str, looks: list[Callable[[], None]], *, seconds: float) -> None:
        self._looks, self._seconds = looks, seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the present look; waits a little for it."""
        self._stop.set()
        with suppress(RuntimeError):
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stop.is_set():
            for look in self._looks:
                try:
                    look()
                except Exception as error:  # the thread must live; what is served stays as it is
                    say("trouble", look=getattr(look, "__qualname__", repr(look)), error=repr(error))
            self._stop.wait(self._seconds)
