"""Runs in a pod: looks at the image around it and prints what it finds as one line of JSON."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from drl.steps.packages import packages_against_lock
from drl.steps.source_code import code_identity

NOT_LOCKED = {"drl-pipelines", "pip"}


def can_write(folder: str) -> bool:
    """Whether a file can be made there."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def run(command: list[str]) -> tuple[int, str]:
    """Exit code and the end of what a command prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=200)
    return done.returncode, done.stdout[-2000:]


def not_as_locked() -> list[str]:
    """Distributions here that the lock does not have, or in another version."""
    locked = Path("requirements.lock").read_text().splitlines()
    names = {line.partition("==")[0] for line in locked} | NOT_LOCKED
    here = {d.metadata["Name"].lower().replace("_", "-").replace(".", "-") for d in metadata.distributions()}
    differing = packages_against_lock()["differences"].items()
    changed = {n for n, (locked, there) in differing if there.partition("+")[0] != locked}
    return sorted((here - names) | changed)


asked = json.loads(sys.argv[1])
found = {
    "uid": os.getuid(),
    "can_write": [folder for folder in ("/", "/app", "/opt/drl", "/tmp") if can_write(folder)],
    "modules": {name: importlib.util.find_spec(name) is not None for name in asked["modules"]},
    "extras": packages_against_lock()["extras"],
    "not_as_locked": not_as_locked(),
    "code": code_identity(Path(tempfile.mkdtemp())),
    "commands": {" ".join(command): run(command) for command in asked["commands"]},
}
print(json.dumps(found))
