"""Build the images of this checkout: ``python deployment/images/build.py [executor] [airflow] [api]``.

One line an image says how long it took and how large it is; README.md beside this file has the settings.
Nothing is written but the images, in the engine's store, and what ``--load`` makes of them.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from packages import PackageSettings, package_settings

from drl import __version__
from drl.errors import DrlError, InputError, StepError
from drl.steps.source_code import write_stamp

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ("executor", "airflow", "api")
ENGINES = ("buildah", "docker")
PIECE = 1 << 20  # bytes read at once


@dataclass(frozen=True)
class Built:
    """An image that was built.

    Attributes:
        seconds: how long building took; the first image makes base and tools for all.
        unpacked: bytes of its archive, about what a node keeps.
        compressed: bytes of that archive under gzip's fastest level; a registry keeps a little less.
        load_seconds: how long loading took; None where it was not loaded.
    """

    name: str
    seconds: float
    unpacked: int
    compressed: int
    load_seconds: float | None


def build(name: str, options: argparse.Namespace, folder: Path, settings: PackageSettings) -> Built:
    """Build one image and load it where asked.

    Args:
        folder: holds the stamp, and takes the image's archive for a moment.

    Raises:
        StepError: the engine or the command that loads failed; their own words are above the message.
    """
    tag = f"localhost/drl-{name}:{__version__}"
    started = time.monotonic()
    _call([options.engine, *_build_arguments(options, name, tag, folder, settings), str(ROOT)])
    seconds = time.monotonic() - started
    archive = folder / f"{name}.tar"
    try:
        _call(_save(options.engine, tag, archive))
        with ThreadPoolExecutor(1) as meanwhile:
            compressed = meanwhile.submit(_compressed, archive)
            loaded = _load(options.load, archive)
            return Built(tag, round(seconds, 1), archive.stat().st_size, compressed.result(), loaded)
    finally:
        archive.unlink(missing_ok=True)


def _build_arguments(
    options: argparse.Namespace, name: str, tag: str, folder: Path, settings: PackageSettings
) -> list[str]:
    secret = folder / "packages"
    arguments = ["build", "--target", name, "--tag", tag]
    if options.engine == "buildah":
        # As docker does: what did not change since the last build is kept.
        arguments += ["--layers", "--build-arg", f"BUILD={time.time_ns()}"]
    arguments += ["--build-context", f"stamp={folder / 'stamp'}"]
    arguments += ["--secret", f"id=packages,src={secret}"]
    if options.base:
        arguments += ["--build-arg", f"BASE={options.base}"]
    if name == "executor":
        arguments += ["--build-arg", f"TORCH={options.torch}"]
    for source, target in settings.mounts:
        arguments += ["--volume", f"{source}:{target}"]
    return arguments


def _save(engine: str, tag: str, archive: Path) -> list[str]:
    if engine == "docker":
        return ["docker", "save", "--output", str(archive), tag]
    return [engine, "push", "--quiet", tag, f"docker-archive:{archive}:{tag}"]


def _load(command: str | None, archive: Path) -> float | None:
    if not command:
        return None
    started = time.monotonic()
    _call([*shlex.split(command), str(archive)])
    return round(time.monotonic() - started, 1)


def _compressed(archive: Path) -> int:
    packer, size = zlib.compressobj(1), 0
    with archive.open("rb") as stream:
        while piece := stream.read(PIECE):
            size += len(packer.compress(piece))
    return size + len(packer.flush())


def _call(command: list[str]) -> None:
    """Run a command; what it prints goes to standard error."""
    done = subprocess.run(command, stdout=sys.stderr, check=False)
    if done.returncode:
        raise StepError(f"{shlex.join(command[:2])}: exit code {done.returncode}", remedy="see above")


def _engine() -> str:
    for name in ENGINES:
        if shutil.which(name):
            return name
    raise InputError("nothing here builds images", remedy="install buildah or docker")


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build the images of this checkout.")
    parser.add_argument("images", nargs="*", choices=[*IMAGES, []], help="all by default")
    parser.add_argument("--engine", choices=ENGINES, help="buildah where it is there, else docker")
    parser.add_argument("--base", help="Debian 12 image to start from")
    parser.add_argument("--torch", default="cpu", help="build of torch: cpu, cu130, ...")
    parser.add_argument("--load", help="command that takes an archive, as `k3s ctr images import` does")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    options = parser.parse_args(arguments)
    options.images = options.images or list(IMAGES)
    options.engine = options.engine or _engine()
    return options


def main(arguments: list[str]) -> list[Built]:
    """Build what the arguments ask for, one after the other, and print a line for each."""
    options = _options(arguments)
    settings = package_settings(volumes=options.engine != "docker")
    built = []
    with tempfile.TemporaryDirectory(prefix="drl-images-") as name:
        folder = Path(name)
        write_stamp(folder / "stamp")
        (folder / "packages").write_text(settings.script)
        for image in options.images:
            built.append(build(image, options, folder, settings))
            if not options.json:
                print(_line(built[-1]), flush=True)
    if options.json:
        print(json.dumps([asdict(image) for image in built]))
    return built


def _line(image: Built) -> str:
    loaded = "" if image.load_seconds is None else f", loaded in {image.load_seconds:.0f} s"
    return (
        f"{image.name}: built in {image.seconds:.0f} s{loaded}, "
        f"{image.unpacked / 1e6:,.0f} MB, compressed {image.compressed / 1e6:,.0f} MB"
    )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except DrlError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
