"""``drl validate``: everything about a pipeline file that can be checked without running it."""

from __future__ import annotations

import json
from pathlib import Path

from drl.envs.loading import environment_class, make_environment
from drl.errors import InputError
from drl.evaluation.baselines import baseline_kind
from drl.spec import load_pipeline


def check_pipeline(file: Path) -> None:
    """Raise InputError when the pipeline could not run.

    Checks the schema, that the environment exists and (without data) can be made, that every baseline is of a
    kind that the environment offers, and that the expectation suite can be read.
    """
    spec = load_pipeline(file)
    kind = environment_class(spec.environment.entry_point)
    if spec.data is None:
        make_environment(spec.environment, data=None, mode="evaluate").close()
    else:
        suite = file.parent / spec.data.expectations
        try:
            json.loads(suite.read_bytes())
        except (OSError, ValueError) as error:
            raise InputError(
                f"{file}: data.expectations: {suite}: {error}",
                remedy="keep a Great Expectations suite (JSON) beside the pipeline file",
            ) from error
    for baseline in spec.evaluation.baselines:
        baseline_kind(baseline, kind)
