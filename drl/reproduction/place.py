"""Where a reproduction runs: which code, which packages, which interpreter, and how that differs.

Nothing of the caller's credentials is handed on: the record's code is somebody else's.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drl.digest import sha256_bytes, sha256_file, sha256_json
from drl.envs.identity import environment_package
from drl.errors import Falsified, StepError
from drl.record.git_tree import tree_of_tar
from drl.reproduction.recorded import RecordedTraining
from drl.steps.packages import LOCK, locked_versions
from drl.steps.source_code import code_identity
from drl.tar_files import unpack
from drl.training.profile import Profile, profile_environment

LOCK_NAME = "requirements.lock"
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_INSTALL_ALSO = ("PIP_", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_VERSION = re.compile(r"[0-9A-Za-z.!+_-]+")
_VERSIONS = """
import json
from importlib.metadata import distributions
print(json.dumps({d.name: d.version for d in distributions()}))
"""


@dataclass(frozen=True)
class Place:
    """Where the steps run.

    Attributes:
        python: the interpreter.
        code: folder with the record's source, unpacked; None for the code installed here.
        fresh: whether the interpreter's packages were installed for this reproduction.
        profile: the instruction set to train with, the recorded one or another.
    """

    python: str
    code: Path | None
    fresh: bool
    profile: Profile

    def variables(self) -> dict[str, str]:
        """The environment variables of a step: paths, language and the instruction-set profile."""
        found = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        if self.code is not None:
            found["PYTHONPATH"] = os.pathsep.join([str(self.code), str(self.code / "dags")])
        elif "PYTHONPATH" in os.environ:
            found["PYTHONPATH"] = os.environ["PYTHONPATH"]
        return found | profile_environment(self.profile) | {"PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Difference:
    """Something that is not here as it was recorded.

    Attributes:
        what: e.g. ``package numpy``.
        recorded: as in the record, None when it does not say.
        here: as it is here, None when it is absent.
    """

    what: str
    recorded: str | None
    here: str | None

    def __str__(self) -> str:
        return f"{self.what}: recorded {self.recorded or 'nothing'}, here {self.here or 'nothing'}"


def unpack_code(training: RecordedTraining, into: Path) -> Path | None:
    """The record's source archive unpacked, after it was found to be the git tree that the intent names.

    Returns:
        ``into``; None when the run has no archive.

    Raises:
        Falsified: the archive is missing, another tree, or cannot be unpacked safely.
    """
    if training.archive is None:
        return None
    path = training.record.path(training.archive, "source.tar")
    with path.open("rb") as stream:
        tree = tree_of_tar(stream, where="source.tar")
    if tree != training.resolved["code"]["tree"]:
        raise Falsified(
            f"source.tar is the tree {tree}, the intent names {training.resolved['code']['tree']}",
            remedy="do not run this code",
        )
    unpack(path, into)
    return into


def write_requirements(training: RecordedTraining, lock: Path, target: Path) -> Path:
    """The lock with what was installed in place of what differed from it, say a CPU build of torch.

    Args:
        training: whose intent names the differences.
        lock: of the record's code.
        target: file to write; returned.

    Raises:
        Falsified: a recorded version is none.
    """
    installed = _recorded_versions(training)
    if wrong := [version for version in installed.values() if not _VERSION.fullmatch(version)]:
        raise Falsified(f"the intent names a version {wrong[0]!r}", remedy="do not install these packages")
    lines = []
    for line in lock.read_text(encoding="utf-8").splitlines():
        name = line.partition("==")[0].strip()
        version = installed.get(_plain(name))
        if version != "absent":
            lines.append(line if version is None else f"{name}=={version}")
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


def make_environment(requirements: Path, folder: Path) -> str:
    """A new virtual environment with exactly these packages; returns its interpreter.

    Raises:
        StepError: the packages cannot be installed; the installer's last words are in it.
    """
    python = folder / "bin" / "python"
    commands = (
        [sys.executable, "-m", "venv", str(folder)],
        [*map(str, (python, "-m", "pip", "install", "--quiet", "--no-deps", "--requirement", requirements))],
    )
    for command in commands:
        done = subprocess.run(command, env=_install_variables(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            shutil.rmtree(folder, ignore_errors=True)
            raise StepError(
                f"{folder}: no environment from {requirements}:\n{done.stderr[-2000:]}",
                remedy="see what the installer says; PIP_EXTRA_INDEX_URL names a further index, say one with "
                "CPU builds of torch. Or reproduce without --environment",
            )
    return str(python)


def this_python() -> str:
    """The interpreter that runs here."""
    return sys.executable


def differences(training: RecordedTraining, place: Place) -> list[Difference]:
    """How code, environment, instruction set and packages here differ from the record, in that order."""
    found = [] if place.code else _code_differences(training)
    found += _environment_difference(training, place)
    recorded = training.spec.training.profile
    if place.profile != recorded:
        found.append(Difference("instruction-set profile", recorded, place.profile))
    return [*found, *_package_differences(training, place)]


def describe(place: Place, found: list[Difference]) -> dict[str, Any]:
    """The place for a statement: JSON."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count() or 0,
        "profile": place.profile,
        "code": "the record's archive" if place.code else "installed",
        "packages": "installed from the record's lock" if place.fresh else "installed",
        "differences": [str(difference) for difference in found],
    }


def installed_tree() -> str | None:
    """The git tree of the code that is installed here; None when it is not a tree that a commit names."""
    here = code_identity(archive_into=None)
    return None if here["dirty"] is not False else str(here["tree"])


def _code_differences(training: RecordedTraining) -> list[Difference]:
    recorded, here = training.resolved["code"], code_identity(archive_into=None)
    if recorded["tree"] is not None and (recorded["tree"], False) == (here["tree"], here["dirty"]):
        return []
    return [Difference("code", _code_name(recorded), _code_name(here))]


def _code_name(code: Mapping[str, Any]) -> str | None:
    if code["tree"] is None:
        return None
    return f"tree {code['tree'][:12]}" + ("" if code["dirty"] is False else " with uncommitted changes")


def _environment_difference(training: RecordedTraining, place: Place) -> list[Difference]:
    recorded = training.resolved["environment"]
    inside = place.code / recorded["package"].replace(".", "/") if place.code else None
    if inside is not None and inside.is_dir():
        files = {p.relative_to(inside).as_posix(): sha256_file(p) for p in sorted(inside.rglob("*.py"))}
        here = sha256_json(files)
    else:
        here = environment_package(recorded["entry_point"])[1]
    if here == recorded["sha256"]:
        return []
    return [Difference(f"environment package {recorded['package']}", recorded["sha256"][:12], here[:12])]


def _package_differences(training: RecordedTraining, place: Place) -> list[Difference]:
    recorded = training.resolved["packages"]
    lock = place.code / LOCK_NAME if place.code else LOCK
    if recorded["lock_sha256"] is None:
        return [Difference("packages", None, None)]
    if not lock.is_file() or sha256_bytes(lock.read_bytes()) != recorded["lock_sha256"]:
        here = sha256_file(lock)[:12] if lock.is_file() else None
        return [Difference("lock of the packages", recorded["lock_sha256"][:12], here)]
    wanted = {_plain(name): version for name, version in locked_versions(lock.read_text().splitlines())}
    wanted |= _recorded_versions(training)
    here_now = installed_versions(place.python)
    return [
        Difference(f"package {name}", version, here_now.get(name, "absent"))
        for name, version in sorted(wanted.items())
        if here_now.get(name, "absent") != version
    ]


def _recorded_versions(training: RecordedTraining) -> dict[str, str]:
    """Versions that are not those of the lock, by name: of the operator, and of the training itself.

    They are two environments where steps run in pods, and training is what is done again.
    """
    differing = training.resolved["packages"]["differences"]
    return {_plain(n): str(pair[1]) for n, pair in differing.items()} | {
        _plain(n): str(version) for n, version in training.reported_packages.items()
    }


def installed_versions(python: str) -> dict[str, str]:
    """Version of each distribution that an interpreter finds, by normalised name."""
    done = subprocess.run([python, "-c", _VERSIONS], capture_output=True, text=True, check=True)
    return {_plain(name): version for name, version in json.loads(done.stdout).items()}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _install_variables() -> dict[str, str]:
    return {n: v for n, v in os.environ.items() if n in _PASSED_ON or n.startswith(_INSTALL_ALSO)}
