"""Every tamper, counted: of the small records, as the document has them, and of the main pipeline's."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from clean_code import clean_code
from security_tables import section, small_records, tamper_table
from tampering import MemoryFiles, Row, files_of, measure, sample, tampers

from drl.local.stack import Stack
from drl.record.files import open_record
from drl.stores.ledger_view import ChainView
from drl.verification.ledger_view import LedgerAddress
from drl.verification.trust import load_trust
from drl.verification.verify import Means, verify_record

MOST_OF_A_KIND = 60
MISSING = {"closing.json", "promotion.note.json"}


def test_the_table_in_the_document_is_what_is_measured(tmp_path: Path) -> None:
    rows: dict[str, Row] = {}
    for record in small_records(tmp_path):
        measure(tampers(record.files, record.other), record.files, record.verify, rows)
    assert {kind: row.believed for kind, row in rows.items() if row.believed} == {}
    assert tamper_table(rows) == section("tampers")


class Remembering(ChainView):
    """The chain, asked once for everything."""

    @cache  # noqa: B019 - as long as the test
    def entries(self):
        return super().entries()

    @cache  # noqa: B019
    def code_hash(self):
        return super().code_hash()

    @cache  # noqa: B019
    def block(self, number):
        return super().block(number)

    @cache  # noqa: B019
    def final(self, block_number):
        return super().final(block_number)


@pytest.mark.timeout(4 * 3600)
def test_a_record_of_the_main_pipeline(stack: Stack, tmp_path: Path) -> None:
    drl(stack, "airflow", "dags", "test", "battery_arbitrage")
    drl(stack, "record", "export", "battery_arbitrage", "--out", str(tmp_path / "record.zip"))
    drl(stack, "trust", "init", "--out", str(tmp_path / "trust.yaml"))
    trust = load_trust(tmp_path / "trust.yaml")
    with open_record(tmp_path / "record.zip") as record:
        files = files_of(record)
    views: dict[LedgerAddress, ChainView] = {}

    def asked(address: LedgerAddress) -> ChainView:
        url = stack.environment()["DRL_EVM_RPC_URL"]
        parts = (address.contract, address.writer, address.pipeline, address.finality)
        names = ("contract", "writer", "pipeline", "finality")
        return views.setdefault(address, Remembering(url, **dict(zip(names, parts, strict=True))))

    def look(changed):
        return verify_record(MemoryFiles(changed), Means(trust=trust, open_ledger=asked, level=2))

    assert look(files).exit_code == 0, look(files).reasons
    rows: dict[str, Row] = {}
    measure(sample(tampers(files, {}), MOST_OF_A_KIND), files, look, rows)
    count = sum(row.count for row in rows.values())
    print(f"{count} distinct tampers of {len(rows)} kinds, all caught")
    print(tamper_table(rows))
    assert count >= 500
    assert {kind: row.believed for kind, row in rows.items() if row.believed} == {}
    assert {about for row in rows.values() for about in row.untold} <= MISSING


def drl(stack: Stack, *arguments: str) -> None:
    environment = os.environ | {"DRL_HOME": str(stack.home.path)}
    done = subprocess.run(
        [sys.executable, "-m", "drl", *arguments],
        cwd=clean_code(),
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
