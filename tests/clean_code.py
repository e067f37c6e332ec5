"""The working tree as a clean commit, so that a test's runs can be promoted while somebody is at work here.

Nothing is pretended: the files are copied into a repository of their own and committed there, and the runs
execute that copy. What they say about their source code is true.
"""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

WORKING_TREE = Path(__file__).resolve().parents[1]
_COMMITTER = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]


@cache
def clean_code() -> Path:
    """The copy's folder; made once for a test session and removed at its end."""
    folder = Path(tempfile.mkdtemp(prefix="drl-code-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in filter(None, _git(WORKING_TREE, "ls-files", "-zco", "--exclude-standard").split("\0")):
        source, target = WORKING_TREE / name, folder / name
        if source.is_file():  # a file that was deleted and not committed yet is listed too
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    _git(folder, "init", "-q")
    _git(folder, "add", "-A")
    _git(folder, *_COMMITTER, "commit", "-q", "-m", "the working tree of a test session")
    return folder


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout
