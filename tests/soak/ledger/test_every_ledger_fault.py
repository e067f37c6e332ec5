"""The whole matrix of the ledger's faults: each kind, for each kind of entry, ends in exactly one entry.

docs/operations.md has the list of kinds. One of each is in ``tests/stack/chain``.
"""

from __future__ import annotations

import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import requests
from chain_fixtures import Anvil, start_child
from eth_account import Account as EthAccount

from drl.errors import InputError, StoreError
from drl.stores.chain import ChainSettings, Ledger, OpenRun
from drl.stores.chain_rpc import Rpc
from drl.stores.chain_sender import Patience

PIPELINE = "soak"


def digest() -> str:
    return secrets.token_hex(32)


@dataclass
class World:
    """A chain, a database, a signer, and the call that is to end in ``size`` entries."""

    anvil: Anvil
    anvil_program: Any
    folder: Any
    settings: ChainSettings
    connect: Callable[[], Any]
    postgres_uri: str
    patch: pytest.MonkeyPatch
    call: list[Any]
    size: int
    before: int

    def ledger(self, **changes: Any) -> Ledger:
        return Ledger(replace(self.settings, **changes), self.connect)

    def write(self, ledger: Ledger | None = None, **changes: Any) -> Any:
        name, *arguments = self.call
        if name == "open_many":
            arguments = [[OpenRun(*request) for request in arguments[0]]]
        return getattr(ledger or self.ledger(**changes), name)(*arguments)

    def child(self, boundary: str) -> Any:
        return start_child(self.settings, self.postgres_uri, boundary, self.call)

    def execute(self, statement: str) -> list[Any]:
        connection = self.connect()
        cursor = connection.cursor()
        cursor.execute(statement, (self.ledger().writer,))
        rows = cursor.fetchall() if cursor.description else []
        connection.commit()
        connection.close()
        return rows

    def hashes(self) -> list[str]:
        statement = "SELECT tx_hashes FROM drl.ledger_outbox WHERE writer = %s ORDER BY created DESC LIMIT 1"
        return self.execute(statement)[0][0]


@pytest.fixture(params=["open", "close", "note", "open_many"])
def world(
    request: Any, ledger: Ledger, anvil: Anvil, anvil_program: Any, tmp_path: Any, settings: ChainSettings,
    connect: Any, postgres_uri: str, monkeypatch: pytest.MonkeyPatch,
) -> World:  # fmt: skip
    calls = {
        "open": ["open", PIPELINE, digest()],
        "close": ["close", PIPELINE, 1, digest(), "HOLD"],
        "note": ["note", PIPELINE, 1, digest()],
        "open_many": ["open_many", [[PIPELINE, digest(), None] for _ in range(3)]],
    }
    if request.param in ("close", "note"):
        ledger.open(PIPELINE, digest())
    return World(
        anvil,
        anvil_program,
        tmp_path,
        settings,
        connect,
        postgres_uri,
        monkeypatch,
        call=calls[request.param],
        size=3 if request.param == "open_many" else 1,
        before=len(ledger.account(PIPELINE)),
    )


@pytest.fixture(autouse=True)
def _exactly_once(world: World) -> Iterator[None]:
    """After each test: the same call finds what is there, and it is there once."""
    yield
    world.patch.undo()
    found = world.write()
    assert world.write() == found
    entries = world.ledger().account(PIPELINE)
    assert len(entries) == world.before + world.size
    assert entries[-world.size :] == (found if isinstance(found, list) else [found])


@pytest.mark.parametrize("boundary", ["wanted", "signing", "signed", "sent", "mined"])
def test_killed(world: World, boundary: str) -> None:
    child = world.child(boundary)
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL


def test_reply_lost(world: World) -> None:
    send, lost = Rpc.send, []

    def lose(self: Rpc, raw: str) -> bool:
        send(self, raw)
        lost.append(raw)
        with self.reaching("sending a transaction"):
            raise requests.ConnectionError("reply lost")

    world.patch.setattr(Rpc, "send", lose)
    with pytest.raises(StoreError, match="no usable answer"):
        world.write()
    assert len(lost) == 1


def test_already_known(world: World) -> None:
    world.anvil.rpc("evm_setAutomine", False)
    send, answers = Rpc.send, []

    def listen(self: Rpc, raw: str) -> bool:
        answers.append(send(self, raw))
        if len(answers) == 3:
            world.anvil.rpc("evm_mine")
        return answers[-1]

    world.patch.setattr(Rpc, "send", listen)
    world.write()
    assert answers[:3] == [True] * 3
    world.anvil.rpc("evm_setAutomine", True)


def test_dropped_from_the_pool(world: World) -> None:
    world.anvil.rpc("evm_setAutomine", False)
    send, sent = Rpc.send, []

    def drop(self: Rpc, raw: str) -> bool:
        accepted = send(self, raw)
        sent.append(raw)
        if len(sent) == 1:
            pool = world.anvil.rpc("txpool_content")["pending"]
            [waiting] = [tx for by_nonce in pool.values() for tx in by_nonce.values()]
            world.anvil.rpc("anvil_dropTransaction", waiting["hash"])
            world.anvil.rpc("evm_setAutomine", True)
        return accepted

    world.patch.setattr(Rpc, "send", drop)
    world.write()
    assert sent[0] == sent[1]


def test_nonce_too_low(world: World) -> None:
    send, stolen = Rpc.send, []
    writer = world.ledger().writer

    def steal(self: Rpc, raw: str) -> bool:
        if not stolen:
            nonce = int(world.anvil.rpc("eth_getTransactionCount", writer, "latest"), 16)
            foreign = {"to": "0x" + "22" * 20, "value": 1, "nonce": nonce, "gas": 21_000}
            foreign |= {"gasPrice": 10**10, "chainId": world.settings.chain_id}
            signed = EthAccount.sign_transaction(foreign, world.settings.private_key)
            stolen.append(
                world.anvil.rpc("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex())
            )
        return send(self, raw)

    world.patch.setattr(Rpc, "send", steal)
    world.write()


def test_fee_too_low(world: World) -> None:
    world.anvil.rpc("evm_setAutomine", False)
    world.anvil.rpc("anvil_setNextBlockBaseFeePerGas", hex(10**9))
    thread = threading.Thread(target=world.write)
    thread.start()
    while not world.hashes():
        time.sleep(0.02)
    world.anvil.rpc("anvil_setNextBlockBaseFeePerGas", hex(20 * 10**9))
    world.anvil.rpc("evm_mine")
    while len(world.hashes()) < 2:
        time.sleep(0.02)
    world.anvil.rpc("evm_setAutomine", True)
    world.anvil.rpc("evm_mine")
    thread.join(timeout=30)
    assert not thread.is_alive()


def test_fee_above_the_cap(world: World) -> None:
    world.anvil.rpc("anvil_setNextBlockBaseFeePerGas", hex(50 * 10**9))
    world.anvil.rpc("evm_mine")
    with pytest.raises(StoreError, match="than the cap of 2"):
        world.write(max_fee_gwei=2)


def test_reorganised_before_it_is_final(world: World) -> None:
    patience = Patience(timeout=0.5, raise_fees_after=60, poll=0.05)
    with pytest.raises(StoreError, match="not final"):
        world.write(finality="depth:4", patience=patience)
    world.anvil.rpc("anvil_mine", "0x2")
    world.anvil.rpc("anvil_reorg", 3, [])
    assert len(world.ledger().account(PIPELINE)) == world.before


def test_reorganised_after_all(world: World) -> None:
    world.write()
    world.anvil.rpc("anvil_reorg", 1, [])
    assert len(world.ledger().account(PIPELINE)) == world.before


def test_not_final_in_time(world: World) -> None:
    patience = Patience(timeout=0.5, raise_fees_after=60, poll=0.05)
    with pytest.raises(StoreError, match="not final"):
        world.write(finality="tag:finalized", patience=patience)
    world.anvil.rpc("anvil_mine", "0x50")
    world.write(finality="tag:finalized", patience=patience)


def test_chain_down(world: World) -> None:
    world.anvil.stop()
    for _ in range(3):
        with pytest.raises(StoreError, match="no usable answer"):
            world.write()
    world.anvil.start()


def test_chain_down_between_signing_and_sending(world: World) -> None:
    send = Rpc.send

    def stop(self: Rpc, raw: str) -> bool:
        world.anvil.stop()
        return send(self, raw)

    world.patch.setattr(Rpc, "send", stop)
    with pytest.raises(StoreError):
        world.write()
    world.anvil.start()


def test_database_down(world: World) -> None:
    import psycopg

    lost = Ledger(world.settings, lambda: psycopg.connect("postgresql://u:p@127.0.0.1:1/none"))
    with pytest.raises(StoreError, match="outbox in PostgreSQL"):
        world.write(lost)
    assert len(world.ledger().account(PIPELINE)) == world.before


def test_outbox_lost(world: World) -> None:
    world.write()
    world.execute("DELETE FROM drl.ledger_outbox WHERE writer = %s")


def test_two_schedulers_at_once(world: World) -> None:
    children = [world.child("none") for _ in range(2)]
    told = [child.communicate(timeout=60)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert told[0] == told[1]


def test_another_chain_of_the_same_id(world: World) -> None:
    folder = world.folder / "anew"
    folder.mkdir()
    anew = Anvil(world.anvil_program, folder, "--timestamp", "1700000000")
    anew.start()
    try:
        anew.rpc("anvil_setBalance", world.ledger().writer, hex(10**20))
        with pytest.raises(InputError, match="another chain"):
            world.ledger(rpc_url=anew.url).deploy()
    finally:
        anew.stop(signal.SIGKILL)
