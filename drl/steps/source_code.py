"""Which source code runs: commit, tree, whether it was changed, and an archive that anybody can check.

From git; else from what an image build left beside the code (``python -m drl.steps.source_code FOLDER``, run
in the checkout that the image is built from); else an honest unknown.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from drl.artifact import Artifact
from drl.digest import canonical_json
from drl.errors import Falsified
from drl.record.git_tree import tree_of_tar

REPOSITORY = Path(__file__).resolve().parents[2]
STAMP = "build.json"
ARCHIVE = "source.tar"

# What can change a result. Pipeline files are frozen in the intent, tests and documents change nothing.
_RELEVANT = ("drl", "operators", "plugins", "requirements.lock")


def code_identity(archive_into: Path | None) -> dict[str, Any]:
    """Commit, tree, dirty flag, and the archive of the commit.

    Args:
        archive_into: folder in which ``source.tar`` is written; None makes no archive.

    Returns:
        ``commit`` and ``tree`` (git object ids), ``dirty``, ``from`` and ``archive`` (name, digest and size,
        or None where there is none). ``dirty`` is True when something that can change a result differs from
        the commit, and None when nobody knows.

    Raises:
        Falsified: the archive does not hold the tree.
    """
    stamp = REPOSITORY / STAMP
    if stamp.exists():
        return _from_stamp(json.loads(stamp.read_bytes()), archive_into)
    commit, tree = _git("rev-parse", "HEAD"), _git("rev-parse", "HEAD^{tree}")
    status = _git("status", "--porcelain", "--", *_RELEVANT)
    if commit is None or tree is None or status is None:
        return {"commit": None, "tree": None, "dirty": None, "from": "unknown", "archive": None}
    archive = _archive(tree, archive_into / ARCHIVE) if archive_into else None
    return {"commit": commit, "tree": tree, "dirty": bool(status), "from": "git", "archive": archive}


def write_stamp(folder: Path) -> None:
    """Leave ``build.json`` and ``source.tar`` in the folder that becomes the image's code."""
    folder.mkdir(parents=True, exist_ok=True)
    identity = code_identity(folder)
    (folder / STAMP).write_bytes(canonical_json(identity))


def _from_stamp(stamp: dict[str, Any], archive_into: Path | None) -> dict[str, Any]:
    identity = {key: stamp[key] for key in ("commit", "tree", "dirty")}
    archive = stamp["archive"] if archive_into else None
    if archive and archive_into:
        shutil.copyfile(REPOSITORY / ARCHIVE, archive_into / ARCHIVE)
        archive = _checked(archive_into / ARCHIVE, stamp["tree"])
    return {**identity, "from": "image build", "archive": archive}


def _archive(tree: str, path: Path) -> dict[str, Any]:
    """Write the commit as a tar whose bytes follow from the commit alone."""
    if _git("-c", "tar.umask=0022", "archive", "--format=tar", f"--output={path}", "HEAD") is None:
        raise Falsified("git cannot archive its own commit", remedy="run: git fsck")
    return _checked(path, tree)


def _checked(path: Path, tree: str) -> dict[str, Any]:
    with path.open("rb") as stream:
        found = tree_of_tar(stream, where=path.name)
    if found != tree:
        raise Falsified(
            f"{path.name} holds the tree {found}, the commit has {tree}",
            remedy="remove export-ignore, export-subst and line-ending rules from git's attributes",
        )
    return Artifact.of(path, name=ARCHIVE).to_json()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(REPOSITORY), *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


if __name__ == "__main__":
    write_stamp(Path(sys.argv[1]))
