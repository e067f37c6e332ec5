"""What checkov finds, without the network, and which of it is explained in one file."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from k8s_manifests import ROOT, every_object, tool

TERRAFORM = ROOT / "deployment" / "terraform"
EXPLAINED = Path(__file__).parent / "deployment" / "checkov_skips.yaml"


@dataclass(frozen=True)
class Skip:
    """Findings that are meant."""

    framework: str
    check: str
    resources: str
    reason: str

    def covers(self, finding: tuple[str, str]) -> bool:
        check, resource = finding
        return self.check == check and re.fullmatch(self.resources, resource) is not None


@dataclass(frozen=True)
class Findings:
    """Of one run: (check, resource) of what failed, and how many checks passed."""

    framework: str
    failed: frozenset[tuple[str, str]]
    passed: int

    def unexplained(self) -> set[tuple[str, str]]:
        """What failed and is in no entry of the file."""
        return {f for f in self.failed if not any(skip.covers(f) for skip in self._skips())}

    def idle(self) -> list[Skip]:
        """Entries that cover nothing: they would hide what comes next."""
        return [skip for skip in self._skips() if not any(skip.covers(f) for f in self.failed)]

    def _skips(self) -> list[Skip]:
        skips = [Skip(**entry) for entry in yaml.safe_load(EXPLAINED.read_text())]
        return [skip for skip in skips if skip.framework == self.framework]


@cache
def findings() -> dict[str, Findings]:
    """By framework, of one run over all rendered manifests and over Terraform: its start costs the most."""
    with tempfile.TemporaryDirectory(prefix="drl-checkov-") as place:
        (Path(place) / "all.yaml").write_text(yaml.dump_all(every_object(), Dumper=yaml.CSafeDumper))
        shutil.copytree(TERRAFORM, Path(place) / "terraform", ignore=shutil.ignore_patterns(".terraform"))
        command = [tool("checkov"), "--skip-download", "--compact", "--quiet", "-o", "json", "-d", place]
        done = subprocess.run(
            [*command, "--framework", "kubernetes", "terraform"], capture_output=True, text=True, timeout=300
        )
    assert done.stdout, done.stderr
    found: dict[str, Findings] = {}
    for report in json.loads(done.stdout):
        assert report["summary"]["parsing_errors"] == 0
        failed = frozenset((c["check_id"], c["resource"]) for c in report["results"]["failed_checks"])
        kind = report["check_type"]
        found[kind] = Findings(kind, failed, report["summary"]["passed"])
    return found
