"""axe-core, the accessibility checker: fetched once by npm in a pinned version, and checked."""

from __future__ import annotations

import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Frame, Page

from drl.local.anvil_package import npm, verify

VERSION = "4.14.1"
INTEGRITY = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
GRAVE = {"serious", "critical"}


def program(cache: Path) -> str:
    """The script, after a download the first time."""
    kept = cache / f"axe-core-{VERSION}" / "axe.min.js"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            command = [*npm(), "pack", f"axe-core@{VERSION}", "--pack-destination", folder, "--silent"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
            [archive] = Path(folder).glob("*.tgz")
            verify(archive, INTEGRITY)
            with tarfile.open(archive) as package:
                source = package.extractfile("package/axe.min.js")
                assert source is not None
                script = source.read()
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(script)
    return kept.read_text()


def grave_problems(page: Page | Frame, script: str) -> list[dict[str, Any]]:
    """What keeps people from using a page: rule, and the first element that breaks it."""
    page.evaluate(script)
    found = page.evaluate("axe.run()")["violations"]
    return [
        {
            "rule": v["id"],
            "help": v["help"],
            "element": v["nodes"][0]["html"],
            "why": v["nodes"][0]["failureSummary"],
        }
        for v in found
        if v["impact"] in GRAVE
    ]
