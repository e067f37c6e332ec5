"""Run ``drl`` as if only the light base were installed: ``python light_base.py verify RECORD ...``.

What the light base and its own requirements do not bring cannot be imported, as if it were absent.
"""

from __future__ import annotations

import importlib.abc
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def light_base() -> set[str]:
    """The distributions that ``pip install .`` brings, by canonical name."""
    wanted = [Requirement(text) for text in tomllib.loads(PROJECT.read_text())["project"]["dependencies"]]
    found: set[str] = {"drl-pipelines"}
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found.add(name)
            wanted += [Requirement(text) for text in metadata.requires(name) or ()]
    return found


class Absent(importlib.abc.MetaPathFinder):
    """Finds no module of a distribution beyond those given."""

    def __init__(self, present: set[str]) -> None:
        self._absent = {
            module
            for module, names in metadata.packages_distributions().items()
            if not {canonicalize_name(name) for name in names} & present
        }

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in self._absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if __name__ == "__main__":
    sys.meta_path.insert(0, Absent(light_base()))
    from drl.cli.main import app

    app()
