"""Chains, contracts and accounts that are not the pinned ones: rows of a table in ``docs/security.md``."""

from __future__ import annotations

import secrets
import signal
from dataclasses import replace

import pytest
from chain_fixtures import Anvil
from record_factory import built, trust_text

from drl.record.files import open_record
from drl.stores.ledger_view import ledger_at
from drl.verification.findings import Label
from drl.verification.ledger import RUN_LEDGER_CODE
from drl.verification.trust import parse_trust
from drl.verification.verify import Means, verify_record


def pinning(receipt, finality="instant", checkpoint=""):
    ledger = (
        f"{{chain_id: {receipt.chain_id}, genesis: {receipt.genesis}, contract: {receipt.contract}, "
        f"code_hash: {RUN_LEDGER_CODE}, writers: [{receipt.writer}], finality: {finality}{checkpoint}}}"
    )
    return parse_trust(trust_text(ledger=ledger, minimum="{level: 2, verdict: PROMOTE}"), where="trust")


def asked(record, trust, url):
    """Verify a record up to level 2, asking the node at ``url``."""

    with open_record(record.folder) as files:
        return verify_record(files, Means(trust=trust, open_ledger=ledger_at(url), level=2))


def having(result, label):
    return {f.check for f in result.findings if f.label == label}


@pytest.fixture
def honest(ledger, tmp_path):
    """A record that is opened, closed and promoted on the test's chain."""
    return built(tmp_path / "honest", chain=ledger)


@pytest.fixture
def twin(anvil_program, settings, tmp_path):
    """Another chain with the same chain id, the same account and another beginning."""
    folder = tmp_path / "twin"
    folder.mkdir()
    server = Anvil(anvil_program, folder, "--timestamp", "1700000000")
    server.start()
    server.fund(settings.private_key)
    yield server
    server.stop(signal.SIGKILL)


def test_the_honest_record_holds(honest, anvil):
    assert asked(honest, pinning(honest.entry.receipt), anvil.url).exit_code == 0


def test_a_record_of_another_chain_with_the_same_id(honest, twin, anvil, another, tmp_path):
    genesis = twin.rpc("eth_getBlockByNumber", "0x0", False)["hash"]
    there = another(rpc_url=twin.url, genesis=genesis)
    there.deploy()
    record = built(tmp_path / "record", chain=there)
    mine, theirs = honest.entry.receipt, record.entry.receipt
    assert (theirs.chain_id, theirs.contract, theirs.writer) == (mine.chain_id, mine.contract, mine.writer)
    assert theirs.genesis != mine.genesis
    trust = pinning(mine)
    assert {6, 7, 10, 28} <= having(asked(record, trust, anvil.url), Label.FALSE)
    elsewhere = asked(honest, trust, twin.url)
    assert having(elsewhere, Label.FALSE) == set()
    assert (28 in having(elsewhere, Label.NOT_CHECKED), elsewhere.exit_code) == (True, 2)


def test_a_contract_that_answers_yes(honest, anvil, tmp_path):
    receipt = honest.entry.receipt
    code = anvil.rpc("eth_getCode", receipt.contract, "latest")
    anvil.rpc("anvil_setCode", receipt.contract, code + "00")
    result = asked(honest, pinning(receipt), anvil.url)
    assert (having(result, Label.FALSE), result.exit_code) == ({28}, 1)


def test_another_contract_with_the_right_code(honest, anvil, tmp_path):
    receipt = honest.entry.receipt
    elsewhere = "0x" + secrets.token_hex(20)
    anvil.rpc("anvil_setCode", elsewhere, anvil.rpc("eth_getCode", receipt.contract, "latest"))
    result = asked(honest, pinning(replace(receipt, contract=elsewhere)), anvil.url)
    assert {6, 7, 10, 28} <= having(result, Label.FALSE)


def test_another_writer(honest, another, anvil, tmp_path):
    stranger = "0x" + secrets.token_hex(32)
    anvil.fund(stranger)
    record = built(tmp_path / "record", chain=another(private_key=stranger))
    result = asked(record, pinning(honest.entry.receipt), anvil.url)
    assert (28 in having(result, Label.FALSE), result.exit_code) == (True, 1)


def test_a_chain_that_was_reorganized(honest, anvil):
    receipt = honest.entry.receipt
    head = int(anvil.rpc("eth_blockNumber"), 16)
    anvil.rpc("anvil_reorg", head - receipt.block_number + 1, [])
    result = asked(honest, pinning(receipt), anvil.url)
    assert {6, 7, 10, 29} <= having(result, Label.FALSE)
    checkpoint = f", checkpoint: {{number: {receipt.block_number}, hash: {receipt.block_hash}}}"
    assert 28 in having(asked(honest, pinning(receipt, checkpoint=checkpoint), anvil.url), Label.FALSE)


def test_a_block_that_is_not_final(honest, anvil):
    result = asked(honest, pinning(honest.entry.receipt, finality="depth:1000"), anvil.url)
    assert having(result, Label.FALSE) == set()
    assert 28 in having(result, Label.NOT_CHECKED)
