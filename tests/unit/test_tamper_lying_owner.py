"""An owner with every key who lies: each row of the table in ``docs/security.md``, measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from lying_owner import LIES, tell
from security_tables import lie_table, section


def test_the_document_has_a_row_for_each_lie() -> None:
    rows = [line.strip("| ").partition(" | ")[0] for line in section("lies").splitlines()[2:]]
    assert rows == list(LIES)


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_caught_or_not_as_the_document_says(name: str, tmp_path: Path) -> None:
    row = lie_table({name: tell(name, tmp_path)}).splitlines()[-1]
    assert row in section("lies").splitlines()
