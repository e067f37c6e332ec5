"""Follow a RayJob to its end: its log, a word at each change, and what was wrong when it failed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from drl.errors import InputError, StepError
from operators.cluster_errors import OutOfReach
from operators.ray_jobs import RayJobs
from operators.ray_status import RayJobStatus

_LAST_LINES = 40


@dataclass
class Follower:
    """Looks at one RayJob until it has ended.

    Attributes:
        show: gets each line that the job prints, once.
        say: gets a sentence when the job's state changes, and when the API server is away.
        poll_s: seconds between two looks.
        patience_s: how long the API server may be away before that is an error; the job goes on meanwhile.
    """

    jobs: RayJobs
    name: str
    show: Callable[[str], None]
    say: Callable[[str], None]
    poll_s: float = 5.0
    patience_s: float = 300.0
    _last: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    _said: str = ""
    _answered: float = field(default_factory=time.monotonic)

    def to_the_end(self) -> dict[str, Any]:
        """The RayJob, when it has succeeded.

        Raises:
            InputError: KubeRay refuses its spec, which no second try mends.
            StepError: it failed, was stopped or deleted; with the end of its log and a line for each pod.
            StoreError: the API server refuses, or was away for too long.
        """
        while True:
            ray_job = self._look()
            if ray_job is not None:
                phase = RayJobStatus.of(ray_job).phase
                if phase == "succeeded":
                    return ray_job
                if phase == "failed":
                    raise self._failure(ray_job)
            time.sleep(self.poll_s)

    def _look(self) -> dict[str, Any] | None:
        """The RayJob after its log was shown; None while the API server is away.

        The status is asked for before the log, so that what a job that ended has printed is shown whole.
        """
        try:
            ray_job = self.jobs.get(self.name)
            if ray_job is None:
                raise StepError(
                    f"RayJob {self.name} was deleted while it was at work",
                    remedy="clear this task, which makes it again",
                )
            self._tell(RayJobStatus.of(ray_job).words)
            for line in self.jobs.new_log_lines(ray_job):
                self._last.append(line)
                self.show(line)
        except OutOfReach as error:
            self._wait_for_it(error)
            return None
        self._answered = time.monotonic()
        return ray_job

    def _wait_for_it(self, error: OutOfReach) -> None:
        away = time.monotonic() - self._answered
        if away > self.patience_s:
            raise OutOfReach(
                f"the API server has not answered for {away:.0f} s ({error.message})",
                remedy=f"mend it and clear this task, which finds RayJob {self.name} again",
            ) from error
        self._tell("the API server does not answer; asking again")

    def _tell(self, words: str) -> None:
        if words != self._said:
            self._said = words
            self.say(f"RayJob {self.name}: {words}")

    def _failure(self, ray_job: dict[str, Any]) -> InputError | StepError:
        status = RayJobStatus.of(ray_job)
        lines = [f"RayJob {self.name} {status.words}", *self.jobs.post_mortem(ray_job), *self._last]
        if status.deployment == "ValidationFailed":
            return InputError(
                "\n".join(lines), remedy="mend the job's manifest; its status.message says what is refused"
            )
        return StepError("\n".join(lines), remedy="mend what the lines above name, then clear this task")
