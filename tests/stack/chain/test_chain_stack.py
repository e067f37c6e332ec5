"""The run ledger on the embedded stack, with the settings that the stack gives to programs."""

from __future__ import annotations

import secrets

import psycopg2

from drl.stores.chain import ChainSettings, Ledger


def test_settings_of_the_stack_reach_the_ledger(stack, monkeypatch):
    for name, value in stack.environment().items():
        monkeypatch.setenv(name, value)
    uri = stack.environment()["DRL_POSTGRES_URI"]
    ledger = Ledger(ChainSettings.from_environment(), lambda: psycopg2.connect(uri))
    assert ledger.deploy() == "0xc62b0a955018c3b6945cdd9c4352501d22e74649"  # as docs/record.md says
    intent, test_data = secrets.token_hex(32), secrets.token_hex(32)
    opening = ledger.open("chain_stack_test", intent, test_data)
    assert opening.receipt.demo
    assert ledger.account("chain_stack_test")[-1] == opening
