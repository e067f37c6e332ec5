"""A step in a process of its own: what it says, and how it fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drl.artifact import Artifact
from drl.errors import StepError
from drl.steps.folder_run import message, run_in_folder
from drl.steps.request import StepRequest


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"event": "log", "message": "hello"}', "hello"),
        ('{"event": "phase", "name": "train", "seconds": 1.26}', "train: 1.3 s"),
        ('{"event": "metrics", "series": "seed-0", "step": 1, "values": {}}', None),
        ("a library's own line", "a library's own line"),
        ("[1, 2]", None),
    ],
)
def test_what_a_line_says_to_a_person(line: str, said: str | None) -> None:
    assert message(line) == said


def test_a_step_that_fails_is_an_error(tmp_path: Path) -> None:
    """The frozen run that the request names is not in the folder."""
    lines: list[str] = []
    request = StepRequest("evaluate", "tiny/run", "1", Artifact("resolved.json", "0" * 64, 1))
    with pytest.raises(StepError, match="step evaluate ended with status 1"):
        run_in_folder(tmp_path, request, environment=os.environ, show=lines.append)
    assert (tmp_path / "runs" / "tiny" / "run" / "evaluate" / "1" / "request.json").is_file()
