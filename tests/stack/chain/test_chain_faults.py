"""Whatever dies on the way, each entry is on the ledger exactly once and found again."""

from __future__ import annotations

import secrets
import signal
import threading
import time

import psycopg
import psycopg2
import pytest
import requests
from chain_fixtures import start_child
from eth_account import Account as EthAccount

from drl.errors import StoreError
from drl.record.ledger import Account
from drl.stores.chain import Ledger
from drl.stores.chain_rpc import Rpc
from drl.stores.chain_sender import Patience


def digest() -> str:
    return secrets.token_hex(32)


def opens(intents: list[str]) -> list[list[str]]:
    return [["open", "cartpole", intent] for intent in intents]


def outbox(connect, ledger) -> list[tuple]:
    connection = connect()
    cursor = connection.cursor()
    cursor.execute(
        "SELECT kind, key, state, nonce, tx_hashes, block FROM drl.ledger_outbox WHERE writer = %s "
        "AND kind <> 'deploy' ORDER BY nonce",
        (ledger.writer,),
    )
    rows = cursor.fetchall()
    connection.close()
    return rows


@pytest.mark.parametrize(
    ("boundary", "state_left"),
    [
        ("wanted", "built"),
        ("signing", "built"),
        ("signed", "signed"),
        ("sent", "signed"),
        ("mined", "sent"),
    ],
)
def test_killed_at_a_boundary(ledger, settings, connect, postgres_uri, another, boundary, state_left):
    intent = digest()
    child = start_child(settings, postgres_uri, boundary, *opens([intent]))
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    [(_, _, state, _, hashes, _)] = outbox(connect, ledger)
    assert state == state_left

    opening = another().open("cartpole", intent)

    assert len(ledger.account("cartpole")) == 1
    [(_, key, state, _, kept, block)] = outbox(connect, ledger)
    assert (key, state, block) == (intent, "final", opening.receipt.block_number)
    assert kept[: len(hashes)] == hashes  # what was signed was sent, nothing new was made
    assert kept == [opening.receipt.tx]


def test_the_next_run_carries_a_dead_one_along(ledger, settings, connect, postgres_uri, another):
    """A nonce that was signed and never sent would hold up every later one."""
    first, second = digest(), digest()
    start_child(settings, postgres_uri, "signed", *opens([first])).communicate(timeout=60)
    assert ledger.account("cartpole") == []
    opened = another().open("cartpole", second)
    assert opened.receipt.run == 2
    assert [e.intent for e in ledger.account("cartpole")] == [first, second]


def test_two_processes_lose_none_of_24(ledger, settings, connect, postgres_uri):
    intents = [digest() for _ in range(24)]
    children = [start_child(settings, postgres_uri, "none", *opens(intents[i::2])) for i in range(2)]
    for child in children:
        _, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors
    entries = ledger.account("cartpole")
    assert sorted(e.intent for e in entries) == sorted(intents)
    assert sorted(e.receipt.run for e in entries) == list(range(1, 25))
    rows = outbox(connect, ledger)
    assert [row[2] for row in rows] == ["final"] * 24
    assert len({row[3] for row in rows}) == 24


def test_two_processes_with_one_intent(ledger, settings, postgres_uri):
    intent = digest()
    children = [start_child(settings, postgres_uri, "none", *opens([intent])) for _ in range(2)]
    assert [child.communicate(timeout=60)[0] for child in children] == ["1\n", "1\n"]
    assert len(ledger.account("cartpole")) == 1


def test_a_lost_reply(ledger, another, monkeypatch):
    send, calls = Rpc.send, []

    def lose_the_first_reply(self, raw):
        result = send(self, raw)
        calls.append(raw)
        if len(calls) == 1:
            with self.reaching("sending a transaction"):
                raise requests.ConnectionError("reply lost")
        return result

    monkeypatch.setattr(Rpc, "send", lose_the_first_reply)
    intent = digest()
    with pytest.raises(StoreError, match="no usable answer"):
        ledger.open("cartpole", intent)
    assert another().open("cartpole", intent).receipt.run == 1
    assert len(calls) == 1


def test_already_known_is_no_error(ledger, anvil, monkeypatch):
    anvil.rpc("evm_setAutomine", False)
    answers = []
    send = Rpc.send

    def send_and_listen(self, raw):
        answers.append(send(self, raw))
        if len(answers) == 3:
            anvil.rpc("evm_mine")
        return answers[-1]

    monkeypatch.setattr(Rpc, "send", send_and_listen)
    assert ledger.open("cartpole", digest()).receipt.run == 1
    assert answers[:3] == [True] * 3


def test_a_transaction_dropped_from_the_pool_is_sent_again(ledger, anvil, connect, monkeypatch):
    anvil.rpc("evm_setAutomine", False)
    send, sent = Rpc.send, []

    def drop_the_first(self, raw):
        accepted = send(self, raw)
        sent.append(raw)
        if len(sent) == 1:
            pool = anvil.rpc("txpool_content")["pending"]
            [waiting] = [tx for by_nonce in pool.values() for tx in by_nonce.values()]
            anvil.rpc("anvil_dropTransaction", waiting["hash"])
            anvil.rpc("evm_setAutomine", True)
        return accepted

    monkeypatch.setattr(Rpc, "send", drop_the_first)
    opening = ledger.open("cartpole", digest())
    assert sent[0] == sent[1]
    assert [row[4] for row in outbox(connect, ledger)] == [[opening.receipt.tx]]


def test_a_reorganisation_before_finality(ledger, anvil, another, connect, monkeypatch):
    final, seen = Rpc.final, []

    def reorganise_once(self, block_number):
        if not seen:
            anvil.rpc("anvil_reorg", 1, [])
        seen.append(block_number)
        if len(seen) > 1:
            anvil.rpc("evm_mine")
        return final(self, block_number)

    monkeypatch.setattr(Rpc, "final", reorganise_once)
    opening = another(finality="depth:2").open("cartpole", digest())
    block = anvil.rpc("eth_getBlockByNumber", hex(opening.receipt.block_number), False)
    assert block["hash"] == opening.receipt.block_hash
    assert opening.receipt.tx in block["transactions"]
    assert int(anvil.rpc("eth_blockNumber"), 16) - opening.receipt.block_number >= 2
    [(_, _, state, _, hashes, _)] = outbox(connect, ledger)
    assert (state, hashes) == ("final", [opening.receipt.tx])


def test_a_reorganisation_after_all_restores_every_entry_in_order(ledger, anvil, another):
    """A chain that forgets its newest blocks gets the very same transactions again."""
    intents = [digest() for _ in range(4)]
    before = [ledger.open("cartpole", intent) for intent in intents[:3]]
    anvil.rpc("anvil_reorg", 2, [])
    assert len(ledger.account("cartpole")) == 1
    last = another().open("cartpole", intents[3])
    entries = ledger.account("cartpole")
    assert [e.intent for e in entries] == intents
    assert [e.receipt.tx for e in entries] == [*(o.receipt.tx for o in before), last.receipt.tx]


def test_a_run_whose_opening_was_lost_can_be_closed(ledger, anvil, another):
    """The close would be refused while the opening is missing; the opening is restored first."""
    opening = ledger.open("cartpole", digest())
    anvil.rpc("anvil_reorg", 1, [])
    closing = another().close("cartpole", opening.receipt.run, digest(), "HOLD")
    restored, closed = ledger.account("cartpole")
    assert (restored.receipt.tx, restored.intent) == (opening.receipt.tx, opening.intent)
    assert closed == closing


def test_the_chain_is_down_and_comes_back(ledger, anvil, another):
    intent = digest()
    anvil.stop()
    with pytest.raises(StoreError, match="no usable answer") as caught:
        another().open("cartpole", intent)
    assert "drl stack status" in caught.value.remedy
    anvil.start()
    assert another().open("cartpole", intent).receipt.run == 1


def test_the_chain_dies_between_signing_and_sending(ledger, anvil, another, monkeypatch, connect):
    send = Rpc.send

    def stop_first(self, raw):
        anvil.stop()
        return send(self, raw)

    intent = digest()
    with monkeypatch.context() as patch:
        patch.setattr(Rpc, "send", stop_first)
        with pytest.raises(StoreError):
            ledger.open("cartpole", intent)
    [(*_, hashes, _)] = outbox(connect, ledger)
    anvil.start()
    assert [another().open("cartpole", intent).receipt.tx] == hashes


@pytest.mark.parametrize("driver", [psycopg2, psycopg])
def test_the_database_is_down(settings, ledger, driver):
    lost = Ledger(settings, lambda: driver.connect("postgresql://u:swordfish@127.0.0.1:1/none"))
    with pytest.raises(StoreError, match="outbox in PostgreSQL") as caught:
        lost.open("cartpole", digest())
    assert "swordfish" not in str(caught.value)
    assert ledger.account("cartpole") == []


def test_stuck_fees_are_raised_with_the_same_nonce(ledger, anvil, another, connect):
    """The base fee rises above the offer while the transaction waits."""
    anvil.rpc("evm_setAutomine", False)
    anvil.rpc("anvil_setNextBlockBaseFeePerGas", hex(10**9))
    opened = []
    thread = threading.Thread(target=lambda: opened.append(ledger.open("cartpole", digest())))
    thread.start()
    while not (rows := outbox(connect, ledger)) or rows[0][2] != "sent":
        time.sleep(0.02)
    anvil.rpc("anvil_setNextBlockBaseFeePerGas", hex(20 * 10**9))
    anvil.rpc("evm_mine")
    assert ledger.account("cartpole") == []
    while len(outbox(connect, ledger)[0][4]) < 2:
        time.sleep(0.02)
    anvil.rpc("evm_setAutomine", True)
    anvil.rpc("evm_mine")
    thread.join(timeout=30)
    [(_, _, state, _, hashes, _)] = outbox(connect, ledger)
    assert state == "final"
    assert opened[0].receipt.tx in hashes[1:]
    assert len(ledger.account("cartpole")) == 1


def test_fees_above_the_cap_put_it_off(ledger, anvil, another, connect):
    intent = digest()
    anvil.rpc("anvil_setNextBlockBaseFeePerGas", hex(50 * 10**9))
    anvil.rpc("evm_mine")
    with pytest.raises(StoreError, match=r"more than the cap of 2 gwei|than the cap of 2"):
        another(max_fee_gwei=2).open("cartpole", intent)
    [(_, key, state, nonce, _, _)] = outbox(connect, ledger)
    assert (key, state, nonce) == (intent, "built", None)
    assert another(max_fee_gwei=200).open("cartpole", intent).receipt.run == 1


def test_a_nonce_taken_by_other_software(ledger, anvil, another, monkeypatch, settings):
    """Somebody uses the key elsewhere between our signing and our sending: we sign again."""
    send, stolen = Rpc.send, []

    def steal_first(self, raw):
        if not stolen:
            nonce = int(anvil.rpc("eth_getTransactionCount", ledger.writer, "latest"), 16)
            foreign = {
                "to": "0x" + "22" * 20,
                "value": 1,
                "nonce": nonce,
                "gas": 21_000,
                "gasPrice": 10**10,
                "chainId": settings.chain_id,
            }
            signed = EthAccount.sign_transaction(foreign, settings.private_key)
            stolen.append(anvil.rpc("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex()))
        return send(self, raw)

    monkeypatch.setattr(Rpc, "send", steal_first)
    assert ledger.open("cartpole", digest()).receipt.run == 1
    assert len(ledger.account("cartpole")) == 1


def test_never_final_in_time_is_said_and_found_again(ledger, anvil, another):
    intent = digest()
    patience = Patience(timeout=0.5, raise_fees_after=60, poll=0.05)
    with pytest.raises(StoreError, match="not final on the chain"):
        another(finality="depth:3", patience=patience).open("cartpole", intent)
    anvil.rpc("anvil_mine", "0x3")
    assert another(finality="depth:3", patience=patience).open("cartpole", intent).receipt.run == 1


def test_the_finalized_tag(ledger, anvil, another):
    intent = digest()
    patience = Patience(timeout=0.5, raise_fees_after=60, poll=0.05)
    with pytest.raises(StoreError, match="not final on the chain"):
        another(finality="tag:finalized", patience=patience).open("cartpole", intent)
    anvil.rpc("anvil_mine", "0x50")
    assert another(finality="tag:finalized", patience=patience).open("cartpole", intent).receipt.run == 1


def test_the_chain_keeps_its_identity_over_a_restart(ledger, anvil, another):
    opening = ledger.open("cartpole", digest())
    anvil.stop()
    anvil.start()
    assert another().open("cartpole", opening.intent) == opening
    assert Account.of(another().account("cartpole")).opened == 1
