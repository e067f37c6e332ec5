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
from drl.serving.child import Expect, Prove
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
        unexpected: why nobody does.
    """

    policy: ServedPolicy
    since: float
    proved: float
    drift: DriftWatch | None = None
    unexpected: str | None = "its training environment is being played"

    @property
    def target(self) -> Target:
        """What it is."""
        return self.policy.proof.target


@dataclass(frozen=True)
class Refused:
    """A target that was not loaded, or not proved again.

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
        expect: finds out, once it answers, which observations it is used to.
        folder: for the policies' files; emptied of what earlier processes left.
        prove_seconds: between two proofs of the policy that is served.

    Attributes:
        loaded: what answers now; None when nothing may.
        refused: the last target that was not loaded, None once one was.
        doubt: why what is served could not be proved again; None while it could.
        switches: how often ``loaded`` became another version.
        refusals: how often a target was refused.
        registry_trouble: why the registry did not answer at the last look.
    """

    def __init__(
        self,
        model: str,
        alias: str,
        *,
        registry: Registry,
        prove: Prove,
        expect: Expect,
        folder: Path,
        prove_seconds: float,
    ) -> None:
        self.model = model
        self.loaded: Loaded | None = None
        self.refused: Refused | None = None
        self.doubt: Refused | None = None
        self.switches = self.refusals = 0
        self.registry_trouble: str | None = None
        self._alias, self._registry = alias, registry
        self._prove, self._expect = prove, expect
        self._folder, self._prove_seconds = folder / model, prove_seconds
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)

    def look(self) -> None:
        """Ask the registry, follow what it says as far as it can be proved, and prove again what is served.

        Raises nothing on purpose.
        """
        self._follow_alias()
        if self.loaded is not None and self._old(self.loaded):
            self._prove_again(self.loaded)

    def _follow_alias(self) -> None:
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
        elif self.loaded is not None and self.loaded.target == target:
            self.refused = None  # the alias points, or came back, to what is served
        elif self._due(target):
            self._load(target)

    def _due(self, target: Target) -> bool:
        """Whether a target that is not served has to be proved now: not if that was tried a moment ago."""
        refused = self.refused
        return refused is None or refused.version != target.version or _later(refused.at)

    def _old(self, loaded: Loaded) -> bool:
        if self.doubt is not None and not _later(self.doubt.at):
            return False
        return time.time() - loaded.proved >= self._prove_seconds

    def _load(self, target: Target) -> None:
        begin = time.monotonic()
        outcome, reasons = self._attempt(
            target, lambda proof, into: self._switch(proof, into, time.monotonic() - begin)
        )
        if outcome != "holds":
            self._refuse(target.version, outcome, reasons)

    def _prove_again(self, loaded: Loaded) -> None:
        """Wherever the alias points: what was revoked or rolled back must not go on for its sake.

        What could not be told, or was superseded, is no reason to leave callers without an answer.
        """
        target = loaded.target
        outcome, reasons = self._attempt(target, lambda *_: None)
        if outcome == "false":
            self._withdraw(target.version, reasons)
        elif outcome == "undetermined":
            self.doubt = Refused(target.version, outcome, reasons, time.monotonic())
        else:
            self.loaded, self.doubt = replace(loaded, proved=time.time()), None

    def _attempt(
        self, target: Target, take: Callable[[Proof, Path], None]
    ) -> tuple[Outcome, tuple[str, ...]]:
        """Prove a target, and take it when it holds; what goes wrong on the way becomes the outcome."""
        into = Path(tempfile.mkdtemp(dir=self._folder, prefix=f"v{target.version}-"))
        try:
            proof = self._prove(target, into)
            if proof.outcome == "holds":
                take(proof, into)
            return proof.outcome, proof.reasons
        except Undetermined as error:
            return "undetermined", (error.message,)
        except DrlError as error:
            return "false", (error.message,)
        except Exception as error:  # of ONNX Runtime, or the disk: nothing was proved, and it is said
            return "undetermined", (repr(error),)
        finally:
            shutil.rmtree(into, ignore_errors=True)

    def _switch(self, proof: Proof, into: Path, seconds: float) -> None:
        """Load beside what is served, and switch."""
        present, now = self.loaded, time.time()
        policy = ServedPolicy.load(proof, into)  # checked and warm before anybody is answered by it
        # One assignment: an answer is made by the policy that it began with, and the one before goes when
        # its last answer is out.
        self.loaded = loaded = Loaded(policy, now, now)
        self.refused = self.doubt = None
        self.switches += 1
        say(
            "switched",
            model=self.model,
            version=proof.target.version,
            model_root=proof.target.root,
            before=present.target.version if present else None,
            seconds=round(seconds, 3),
        )
        self.loaded = self._watched(loaded, into)

    def _watched(self, loaded: Loaded, folder: Path) -> Loaded:
        """The same, whose observations are compared if anybody knows with what; it answers either way."""
        try:
            expected, why = self._expect(loaded.target, folder)
        except DrlError as error:
            expected, why = None, error.message
        except Exception as error:  # of the disk, or an answer that cannot be read: no reason to refuse
            expected, why = None, repr(error)
        if why:
            say("drift is not watched", model=self.model, version=loaded.target.version, reason=why)
        return replace(loaded, drift=DriftWatch(expected) if expected else None, unexpected=why)

    def _withdraw(self, version: int | None, reasons: tuple[str, ...]) -> None:
        """Answer no more: what is served was found false, or its owner took the alias away."""
        if self.loaded is not None:
            say("withdrawn", model=self.model, version=self.loaded.target.version, reasons=list(reasons))
        self.loaded = self.doubt = None
        self._refuse(version, "false", reasons)

    def _refuse(self, version: int | None, outcome: Outcome, reasons: tuple[str, ...]) -> None:
        if self.refused is None or (self.refused.version, self.refused.reasons) != (version, reasons):
            say("refused", model=self.model, version=version, outcome=outcome, reasons=list(reasons))
        self.refusals += 1
        self.refused = Refused(version, outcome, reasons, time.monotonic())


def _later(moment: float) -> bool:
    """Whether enough time went by since ``moment``, of the monotonic clock, to try again."""
    return time.monotonic() - moment >= _AGAIN_SECONDS


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
