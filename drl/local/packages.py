"""Where the installed wheels keep their programs. Nothing of them is imported: importing would cost time."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path

from drl.errors import Undetermined


def package_folder(package: str, distribution: str) -> Path:
    """Return the folder of an installed top-level ``package``.

    Raises:
        Undetermined: the wheel ``distribution`` is not installed in this environment.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise missing(distribution)
    return Path(next(iter(spec.submodule_search_locations)))


def installed_script(distribution: str, name: str) -> Path:
    """Return the file ``name`` that a wheel installed into the environment's ``bin``.

    Raises:
        Undetermined: the wheel is not installed, or the file is gone.
    """
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        raise missing(distribution) from None
    for file in files:
        if file.name == name and Path(str(file.locate())).is_file():
            return Path(str(file.locate())).resolve()
    raise missing(distribution)


def version(distribution: str) -> str:
    """Return the installed version of a wheel; a missing one is :class:`~drl.errors.Undetermined`."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        raise missing(distribution) from None


def missing(distribution: str) -> Undetermined:
    """Return the error for a wheel that is not installed."""
    return Undetermined(
        f"the Python package {distribution} is not installed, or its files are gone",
        remedy=f"Run: python -m pip install --force-reinstall {distribution}",
    )
