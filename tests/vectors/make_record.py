"""Makes ``record-v1.zip``, its trust policy and what a verifier finds: an honest record of format version 1.

    PYTHONPATH=tests python tests/vectors/make_record.py

Run once. What was released is never made again: a later format gets a vector of its own beside this one.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from record_factory import built, trust_text

from drl.record.files import open_record
from drl.verification.findings import Label
from drl.verification.trust import load_trust
from drl.verification.verify import Means, verify_record

HERE = Path(__file__).parent


def main() -> None:
    """Build and pack; the zip is deflated, as somebody else's tool may do."""
    with tempfile.TemporaryDirectory() as folder:
        record = built(
            Path(folder) / "record",
            spec=lambda spec: (
                spec["evaluation"].update(episodes=5),
                spec["promotion"].update(require_approval=True, fixed_test=True),
            ),
            approval="approved",
            champion=-1.0,
        ).folder
        with zipfile.ZipFile(HERE / "record-v1.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(p for p in record.rglob("*") if p.is_file()):
                member = zipfile.ZipInfo(path.relative_to(record).as_posix(), (1980, 1, 1, 0, 0, 0))
                member.external_attr, member.compress_type = 0o100644 << 16, zipfile.ZIP_DEFLATED
                archive.writestr(member, path.read_bytes())
    (HERE / "record-v1.trust.yaml").write_text(trust_text(), encoding="utf-8")
    expected = json.dumps(found(HERE / "record-v1.zip"), indent=2)
    (HERE / "record-v1.expected.json").write_text(expected + "\n", encoding="utf-8")


def found(record: Path) -> dict[str, Any]:
    """What a verifier with its trust policy finds offline: level, standing, exit code, checks."""
    trust = load_trust(record.with_suffix(".trust.yaml"))
    with open_record(record) as files:
        result = verify_record(files, Means(trust=trust, offline=True))
    return {
        "level": result.level,
        "verdict": result.standing.verdict,
        "standing": result.standing.state,
        "exit_code": result.exit_code,
        "recomputed": sorted({f.check for f in result.findings if f.label == Label.RECOMPUTED}),
        "false": sorted({f.check for f in result.findings if f.label == Label.FALSE}),
    }


if __name__ == "__main__":
    main()
