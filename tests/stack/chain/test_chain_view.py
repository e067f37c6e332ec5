"""A record whose run was opened, closed and promoted on a real chain, and a verifier who asks that chain."""

from __future__ import annotations

from record_factory import build_record, built, trust_text
from typer.testing import CliRunner

from drl.cli.main import app
from drl.record.files import open_record
from drl.stores.ledger_view import ledger_at
from drl.verification.findings import Label
from drl.verification.ledger import RUN_LEDGER_CODE
from drl.verification.trust import parse_trust
from drl.verification.verify import Means, verify_record


def policy(receipt, minimum="{level: 3, verdict: PROMOTE}"):
    ledger = (
        f"{{chain_id: {receipt.chain_id}, genesis: {receipt.genesis}, contract: {receipt.contract}, "
        f"code_hash: {RUN_LEDGER_CODE}, writers: [{receipt.writer}], finality: instant, "
        f"checkpoint: {{number: {receipt.block_number}, hash: {receipt.block_hash}}}}}"
    )
    return trust_text(ledger=ledger, minimum=minimum)


def named(text):
    """Another intent: the same intent is opened once."""
    return lambda spec: spec.update(description=text)


def false(result):
    return {f.check for f in result.findings if f.label == Label.FALSE}


def test_the_chain_confirms_a_true_record_and_betrays_a_hidden_run(ledger, anvil, tmp_path):
    first = built(tmp_path / "first", chain=ledger, directions=(-1.0, -1.0))
    record = built(tmp_path / "record", chain=ledger, spec=named("two"), earlier=lambda made: first.entries)
    trust = tmp_path / "trust.yaml"
    trust.write_text(policy(record.entry.receipt))
    arguments = ["verify", str(record.folder), "--trust", str(trust), "--rpc", anvil.url]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert "2 runs opened; closed: 1 PROMOTE, 0 HOLD, 1 REJECT" in shown.stdout

    hidden = build_record(
        tmp_path / "hidden",
        chain=ledger,
        spec=named("three"),
        earlier=lambda made: record.entries,
        account=lambda entries: entries[2:],
    )
    with open_record(hidden) as files:
        means = Means(trust=parse_trust(trust.read_text(), where="t"), open_ledger=ledger_at(anvil.url))
        assert 29 in false(verify_record(files, means))


def test_a_reorganisation_takes_the_entries_with_it(ledger, anvil, tmp_path):
    record = built(tmp_path / "record", chain=ledger)
    trust = parse_trust(policy(record.entry.receipt), where="trust")
    head = int(anvil.rpc("eth_blockNumber"), 16)
    anvil.rpc("anvil_reorg", head - record.entry.receipt.block_number + 1, [])
    with open_record(record.folder) as files:
        result = verify_record(files, Means(trust=trust, open_ledger=ledger_at(anvil.url)))
    assert result.exit_code == 1
    assert 28 in false(result)


def test_a_node_that_is_down_leaves_it_open(ledger, anvil, tmp_path):
    record = built(tmp_path / "record", chain=ledger)
    trust = parse_trust(policy(record.entry.receipt), where="trust")
    with open_record(record.folder) as files:
        result = verify_record(files, Means(trust=trust, open_ledger=ledger_at("http://127.0.0.1:1")))
    assert (false(result), result.exit_code) == (set(), 2)
