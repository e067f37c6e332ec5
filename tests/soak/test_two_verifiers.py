"""Every lie and every way of tampering with a record: two verifiers in two languages say the same of each.

A tampered record is often false in several ways at once; there both have to say so, on the same level.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from lying_owner import LIES, Liar
from record_factory import build_record, trust_text, write_prices
from tampering import Files, Tamper, distinct, files_in, sample, tampers
from two_verifiers import ours, theirs

EACH = 8
"""Of each kind of tamper."""


@pytest.mark.parametrize("name", LIES)
def test_every_lie(name: str, tmp_path: Path) -> None:
    lie = LIES[name]
    if "prices" in lie.knobs:
        lie = replace(lie, knobs=lie.knobs | {"prices": write_prices(tmp_path / "prices.csv")})
    trust = tmp_path / "trust.yaml"
    trust.write_text(trust_text(**lie.trust))
    liar = Liar(tmp_path / "record", lie)
    liar.build()
    assert theirs(liar.folder, trust) == ours(liar.folder, trust)


@pytest.mark.parametrize("champion", [None, -0.5])
def test_every_tamper(champion: float | None, tmp_path: Path) -> None:
    trust = tmp_path / "trust.yaml"
    trust.write_text(trust_text(minimum="{level: 2}"))
    files = files_in(build_record(tmp_path / "one", champion=champion))
    other = files_in(build_record(tmp_path / "other", champion=champion, block_hash="0x" + "cc" * 32))
    apart = [
        said
        for number, (tamper, changed) in enumerate(distinct(sample(tampers(files, other), EACH), files))
        if (said := _apart(tamper, changed, tmp_path / str(number), trust)) is not None
    ]
    assert not apart, "\n".join(apart)


def _apart(tamper: Tamper, files: Files, folder: Path, trust: Path) -> str | None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    first, second = ours(folder, trust), theirs(folder, trust)
    if (first.read, first.level, bool(first.false)) == (second.read, second.level, bool(second.false)):
        return None
    return f"{tamper.name}: ours {first}, theirs {second}"
