"""Train one policy for each seed and hand on policy files, metrics and the chain of checkpoints."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drl.data.columns import Columns, content_digest, read_columns
from drl.digest import sha256_file, sha256_json
from drl.errors import DrlError, InputError, StepError
from drl.progress import Progress
from drl.spec import PipelineSpec
from drl.training import chain
from drl.training import checkpoints as checkpointing
from drl.training.chain import Writer
from drl.training.checkpoints import CheckpointStore, State
from drl.training.profile import require_profile
from drl.training.stopping import Stopping
from drl.training.surroundings import surroundings
from drl.training.watchdog import Watchdog

_LEARNER_METRICS = {
    "policy_loss": "policy_loss",
    "vf_loss": "value_loss",
    "entropy": "entropy",
    "mean_kl_loss": "kl_divergence",
    "vf_explained_var": "explained_variance",
    "qf_loss": "q_loss",
    "total_loss": "total_loss",
    "alpha_value": "temperature",
    "gradients_default_optimizer_global_norm": "gradient_norm",
    "default_optimizer_learning_rate": "learning_rate",
}


@dataclass(frozen=True)
class TrainedSeed:
    """What training one seed left behind.

    Attributes:
        index: position of the seed, which names its folder ``seed-<index>``.
        seed: the seed itself.
        folder: holds ``policy.json``, ``policy.safetensors``, ``policy.onnx`` and ``metrics.jsonl``.
        model_root: as :func:`drl.policy.root.model_root` computes it.
        iterations: training iterations.
        time_steps: environment time steps.
        return_mean_100: mean training return of about the last 100 episodes; None if none ended.
        seconds: wall time of this process for the seed.
    """

    index: int
    seed: int
    folder: Path
    model_root: str
    iterations: int
    time_steps: int
    return_mean_100: float | None
    seconds: float


def train(
    spec: PipelineSpec,
    *,
    seeds: list[int],
    train_data: Path | None,
    demonstrations: Path | None,
    out: Path,
    checkpoints: CheckpointStore,
    progress: Progress,
    attempt: str = "1",
    until: int | None = None,
) -> list[TrainedSeed]:
    """Train every seed, one after another, in this process.

    A seed whose checkpoints are in the store is continued from the newest good one, bit for bit as if it had
    never stopped; one that is damaged, foreign or made with something else is refused, and when none is left
    the seed starts again. ``checkpoints.jsonl`` says which attempt wrote what. The process must have been
    started with :func:`drl.training.profile.profile_environment`, and this must be its main thread.

    Args:
        spec: the resolved pipeline; ``environment`` and ``training`` decide what happens here.
        seeds: one for each policy.
        train_data: the training split, for environments with data.
        demonstrations: Parquet for behaviour cloning, needed with ``training.warm_start``.
        out: gets ``seed-<i>/policy.*``, ``seed-<i>/metrics.jsonl`` and ``checkpoints.jsonl``.
        checkpoints: where to keep and find checkpoints.
        progress: told phases, log lines and metrics (series ``seed-<i>``).
        attempt: what to call this attempt in the chain of checkpoints.
        until: stop each seed at this iteration, with a checkpoint; None for the whole training.

    Raises:
        InputError: demonstrations missing, or spaces that the algorithm cannot use.
        StepError: the environment failed or stalled, training diverged, or the profile is not set.
    """
    require_profile(spec.training.profile)
    if (spec.training.warm_start is None) != (demonstrations is None):
        raise InputError(
            "training.warm_start and demonstrations belong together, and one of them is missing",
            remedy="give both or neither",
        )
    with progress.phase("import rllib"):
        from drl.training import algorithms, cloning, determinism, environments, export, sampling  # noqa: F401
        from drl.training.rllib import in_this_process
    with (
        in_this_process(),
        Watchdog(spec.training.stall_timeout_s) as watchdog,
        Stopping() as stopping,
    ):
        writer = Writer(attempt, platform.node())
        run = _Run(
            spec, train_data, demonstrations, out, checkpoints, progress, watchdog, stopping, writer, until
        )
        trained = [run.train_seed(index, seed) for index, seed in enumerate(seeds)]
    (out / "checkpoints.jsonl").write_bytes(b"".join(run.chains))
    return trained


class _Run:
    """What the seeds of one call share."""

    def __init__(
        self,
        spec: PipelineSpec,
        train_data: Path | None,
        demonstrations: Path | None,
        out: Path,
        store: CheckpointStore,
        progress: Progress,
        watchdog: Watchdog,
        stopping: Stopping,
        writer: Writer,
        until: int | None,
    ) -> None:
        from drl.training import cloning, determinism, environments

        self.spec, self.out, self.store, self.progress, self.watchdog = spec, out, store, progress, watchdog
        self.stopping, self.writer, self.until = stopping, writer, until
        self.made_with = surroundings(spec.training.profile)
        self.chains: list[bytes] = []
        data = read_columns(train_data) if train_data is not None else None
        self._digests = _digests(data, demonstrations)
        self._demonstrations = cloning.read_demonstrations(demonstrations) if demonstrations else None
        with progress.phase("preflight"):
            determinism.set_up_torch()
            environments.preflight(spec, data, watchdog)
            environments.register(spec, data, watchdog)

    def train_seed(self, index: int, seed: int) -> TrainedSeed:
        """Build, restore or begin, iterate, export."""
        from drl.training.algorithms import configure
        from drl.training.export import export_policy

        start, series = time.perf_counter(), f"seed-{index}"
        folder = self.out / series
        folder.mkdir(parents=True, exist_ok=True)
        self.watchdog.beat()
        with self.progress.phase(f"{series}: build"):
            algorithm = configure(self.spec.training, seed).build_algo()
        try:
            state = self._begin(series, seed, algorithm)
            with self.progress.phase(f"{series}: train"):
                self._iterate(series, algorithm, state)
            self.watchdog.beat()
            root = export_policy(algorithm, self.spec.training.settings.algorithm, folder)
        except RuntimeError as error:
            raise _deliberate(error) or error from error
        finally:
            algorithm.stop()
        (folder / "metrics.jsonl").write_bytes(checkpointing.metrics_bytes(state.metrics))
        self.chains.append(chain.to_bytes(state.links))
        self.progress.log(f"{series}: model root {root}")
        return TrainedSeed(
            index=index,
            seed=seed,
            folder=folder,
            model_root=root,
            iterations=state.iteration,
            time_steps=state.time_steps,
            return_mean_100=_rolling_mean(state.window),
            seconds=time.perf_counter() - start,
        )

    def _begin(self, series: str, seed: int, algorithm: Any) -> State:
        from drl.training import cloning, determinism

        identity = sha256_json(
            {
                "environment": self.spec.environment.model_dump(mode="json"),
                "training": self.spec.training.model_dump(mode="json", exclude={"seeds", "stall_timeout_s"}),
                "data": self._digests,
                "seed": seed,
            }
        )
        fresh = State(identity=identity, seed=seed, made_with=self.made_with, writer=self.writer)
        state, folder = checkpointing.resume(self.store, series, fresh, self.progress)
        if folder is not None:
            checkpointing.restore(folder, algorithm)
            self.progress.log(f"{series}: continues from iteration {state.iteration}")
        else:
            warm_start = self.spec.training.warm_start
            if warm_start is not None and self._demonstrations is not None:
                determinism.seed_everything(determinism.fence_seed(seed, -1))
                with self.progress.phase(f"{series}: behaviour cloning"):
                    first, last = cloning.clone(algorithm, self._demonstrations, warm_start, self.watchdog)
                self.progress.log(f"{series}: behaviour cloning, loss {first:.4f} to {last:.4f}")
        determinism.fence(algorithm, seed, state.iteration)
        return state

    def _iterate(self, series: str, algorithm: Any, state: State) -> None:
        from drl.training import determinism

        training = self.spec.training
        began, steps_before = time.perf_counter(), state.time_steps
        while not self._finished(state):
            result = algorithm.train()
            self.watchdog.beat()
            _account(state, result)
            rate = (state.time_steps - steps_before) / (time.perf_counter() - began)
            self._report(series, state, result, rate)
            if self._finished(state) or state.iteration % training.checkpoint_every == 0:
                checkpointing.save(self.store, series, algorithm, state)
                determinism.fence(algorithm, state.seed, state.iteration)
                self.watchdog.beat()
                if not self._finished(state):
                    self.stopping.at_checkpoint(series, state.iteration)

    def _finished(self, state: State) -> bool:
        return state.time_steps >= self.spec.training.time_steps or state.iteration == self.until

    def _report(self, series: str, state: State, result: Mapping[str, Any], rate: float) -> None:
        mean = _rolling_mean(state.window)
        values = {"steps_per_second": rate} | ({} if mean is None else {"return_mean_100": mean})
        values |= _learner_values(result, series, state.time_steps)
        self.progress.metrics(series, state.time_steps, values)
        state.metrics.append({"iteration": state.iteration, "time_steps": state.time_steps, "values": values})
        left = max(0, self.spec.training.time_steps - state.time_steps) / rate
        shown = "none ended yet" if mean is None else f"{mean:.6g}"
        self.progress.log(
            f"{series}: {state.time_steps:,} of {self.spec.training.time_steps:,} time steps, {rate:,.0f}/s, "
            f"return of the last 100 episodes {shown}, {left:.0f} s left"
        )


def _deliberate(error: BaseException) -> DrlError | None:
    """The error that was meant, if RLlib wrapped one into an error of its own."""
    cause = error.__cause__ or error.__context__
    return cause if cause is None or isinstance(cause, DrlError) else _deliberate(cause)


def _digests(data: Columns | None, demonstrations: Path | None) -> dict[str, str | None]:
    return {
        "train": None if data is None else content_digest(data),
        "demonstrations": None if demonstrations is None else sha256_file(demonstrations),
    }


def _account(state: State, result: Mapping[str, Any]) -> None:
    """Count the iteration; RLlib's return mean covers only episodes that ended in it, so keep a window."""
    runners = result.get("env_runners", {})
    time_steps = int(runners.get("num_env_steps_sampled_lifetime", 0))
    if time_steps <= state.time_steps:
        raise StepError(
            f"iteration {state.iteration + 1} made no time step ({time_steps} in all)",
            remedy="look for an earlier error of the environment in the log",
        )
    state.iteration += 1
    state.time_steps = time_steps
    count, mean = int(runners.get("num_episodes", 0)), float(runners.get("episode_return_mean", math.nan))
    if count > 0 and math.isfinite(mean):
        state.window.append((count, mean))
        while sum(n for n, _ in state.window[1:]) >= 100:
            state.window.pop(0)


def _rolling_mean(window: list[tuple[int, float]]) -> float | None:
    episodes = sum(count for count, _ in window)
    return sum(count * mean for count, mean in window) / episodes if episodes else None


def _learner_values(result: Mapping[str, Any], series: str, time_steps: int) -> dict[str, float]:
    learner = result.get("learners", {}).get("default_policy", {})
    values = {ours: float(learner[theirs]) for theirs, ours in _LEARNER_METRICS.items() if theirs in learner}
    wrong = {name: value for name, value in values.items() if not math.isfinite(value)}
    if wrong:
        raise StepError(
            f"{series}: training diverged at {time_steps} time steps: {wrong}",
            remedy="lower the learning rate, or scale rewards and observations",
        )
    return values
