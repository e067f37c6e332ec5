"""Learning curves, from the metrics that training wrote for each seed."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drl.errors import InputError


@dataclass(frozen=True)
class LearningCurve:
    """The training return of one seed.

    Attributes:
        seed: index of the seed.
        steps: environment time steps.
        returns: mean return of about the last 100 training episodes at those steps.
    """

    seed: int
    steps: list[int]
    returns: list[float]


def read_learning_curves(files: list[Path]) -> list[LearningCurve]:
    """Read ``seed-<i>/metrics.jsonl`` files, in order of the seed; files without a return are left out.

    Raises:
        InputError: the folder does not name a seed, or a line is no JSON object.
    """
    return learning_curves({f"{f.parent.name}/{f.name}": f.read_text(encoding="utf-8") for f in files})


def learning_curves(texts: Mapping[str, str]) -> list[LearningCurve]:
    """The same, from the files' texts by name.

    Raises:
        InputError: a name is not ``seed-<i>/metrics.jsonl``, or a line is no JSON object.
    """
    curves = []
    for name, text in texts.items():
        folder = name.rpartition("/")[0]
        named = re.fullmatch(r"seed-(\d+)", folder)
        if named is None:
            raise InputError(f"{name}: lies in {folder!r}", remedy="give seed-<i>/metrics.jsonl files")
        steps, returns = [], []
        for number, line in enumerate(text.splitlines(), start=1):
            try:
                value = json.loads(line)
                step, score = value["time_steps"], value["values"].get("return_mean_100")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(
                    f"{name}, line {number}: not a line of metrics: {error!r}",
                    remedy="give the file as training wrote it",
                ) from error
            if score is not None and math.isfinite(score):
                steps.append(int(step))
                returns.append(float(score))
        if steps:
            curves.append(LearningCurve(int(named[1]), steps, returns))
    return sorted(curves, key=lambda curve: curve.seed)
