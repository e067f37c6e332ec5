"""Where this machine's pip and uv find packages, handed to a build without a trace in the image.

A build has neither pip's nor uv's settings. They are written as lines of shell for a build secret, and the
folders that they name are mounted for the length of the build.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from drl.errors import InputError

MOUNTED = Path("/mnt/packages")
CACHE = "/mnt/cache"
# pip's setting, as `pip config list` names it, and what uv and pip call it in the environment.
_PIP = {
    "index-url": ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"),
    "find-links": ("UV_FIND_LINKS",),
    "cert": ("SSL_CERT_FILE", "PIP_CERT"),
}
# pip looks at every index for the best version, uv takes the first index that knows a name: they are not the
# same, so an extra index is given to uv by its own variable or not at all.
_UV = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS")


@dataclass(frozen=True)
class PackageSettings:
    """What a build is given.

    Attributes:
        script: lines of shell that export variables.
        mounts: (path here, path in the build with its options) of folders and files that the script names.
    """

    script: str
    mounts: tuple[tuple[str, str], ...]


def package_settings(*, volumes: bool) -> PackageSettings:
    """This machine's settings.

    Args:
        volumes: whether the engine can mount folders in a build (docker cannot).

    Raises:
        InputError: a setting names a folder here and the engine cannot mount it.
    """
    wanted = {variable: value for key, value in _pip_settings().items() for variable in _PIP[key]}
    wanted |= {name: os.environ[name] for name in _UV if name in os.environ}
    mounts: dict[str, str] = {}
    exported = {name: _inside(value, mounts) for name, value in wanted.items()}
    if mounts and not volumes:
        raise InputError(
            f"docker cannot mount {', '.join(mounts)} in a build",
            remedy="put the packages on a server that pip's settings name, or build with buildah",
        )
    targets = [(source, f"{target}:ro") for source, target in mounts.items()]
    if volumes and (cache := _uv_cache()):
        exported["UV_CACHE_DIR"] = CACHE
        targets.append((cache, CACHE))
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(exported.items())]
    return PackageSettings("\n".join(lines) + "\n", tuple(targets))


def _pip_settings() -> dict[str, str]:
    """Settings of pip by name; of several sources the one that pip lists first, its environment, wins."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    found: dict[str, str] = {}
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name in _PIP:
            found.setdefault(name, value.strip("'"))
    return found


def _inside(value: str, mounts: dict[str, str]) -> str:
    """A setting with each path of this machine replaced by where it is mounted."""
    words = []
    for word in value.split():
        parts = urlsplit(word)
        path = Path(parts.path)
        if parts.scheme in ("", "file") and path.is_absolute() and path.exists():
            target = f"{MOUNTED}{path}"
            mounts[str(path.resolve())] = target
            word = f"file://{target}" if parts.scheme else target
        words.append(word)
    return " ".join(words)


def _uv_cache() -> str | None:
    """uv's cache here, which spares the build its downloads."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        return None
    found = subprocess.run([str(uv), "cache", "dir"], capture_output=True, text=True, check=True)
    folder = found.stdout.strip()
    return folder if Path(folder).is_dir() else None
