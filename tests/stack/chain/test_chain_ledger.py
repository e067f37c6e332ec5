"""The run ledger on a real chain with a real PostgreSQL: what it writes and what it refuses."""

from __future__ import annotations

import secrets
import signal

import psycopg
import pytest

from drl.errors import ConflictError, InputError
from drl.record.ledger import Account, Closing, Note, Opening, entry_from_json, pipeline_id
from drl.stores.chain import ChainSettings, CloseRun, Ledger, NoteStatement, OpenRun
from drl.stores.chain_settings import PUBLISHED_ACCOUNTS


def digest() -> str:
    return secrets.token_hex(32)


def test_a_run_from_opening_to_note(ledger, anvil):
    intent, test_data, record, promotion = digest(), digest(), digest(), digest()
    opening = ledger.open("cartpole", intent, test_data)
    closing = ledger.close("cartpole", opening.receipt.run, record, "PROMOTE")
    note = ledger.note("cartpole", opening.receipt.run, promotion)

    assert (opening.intent, opening.test_data, opening.look, opening.receipt.run) == (intent, test_data, 1, 1)
    assert (closing.record, closing.verdict) == (record, "PROMOTE")
    assert note.statement == promotion
    assert opening.receipt.pipeline == pipeline_id("cartpole")
    assert opening.receipt.writer == ledger.writer
    assert opening.receipt.contract == ledger.address
    assert opening.receipt.demo

    block = anvil.rpc("eth_getBlockByNumber", hex(opening.receipt.block_number), False)
    assert block["hash"] == opening.receipt.block_hash
    assert int(block["timestamp"], 16) == opening.receipt.block_time
    assert anvil.rpc("eth_getBlockByNumber", "0x0", False)["hash"] == opening.receipt.genesis
    chain_receipt = anvil.rpc("eth_getTransactionReceipt", opening.receipt.tx)
    assert int(chain_receipt["logs"][0]["logIndex"], 16) == opening.receipt.log_index

    entries = ledger.account("cartpole")
    assert entries == [opening, closing, note]
    assert [entry_from_json(e.to_json()) for e in entries] == entries


def test_the_account_shows_every_attempt(ledger):
    test_data = digest()
    runs = [ledger.open("battery", digest(), test_data).receipt.run for _ in range(4)]
    ledger.close("battery", runs[0], digest(), "REJECT")
    ledger.close("battery", runs[2], digest(), "HOLD")
    other = ledger.open("walkforward", digest(), test_data)
    account = Account.of(ledger.account("battery"))
    assert runs == [1, 2, 3, 4]
    assert account.to_json() == {
        "opened": 4,
        "closed": {"PROMOTE": 0, "HOLD": 1, "REJECT": 1},
        "unclosed": [2, 4],
        "looks": {test_data: 4},
    }
    assert (other.receipt.run, other.look) == (1, 5)
    assert ledger.looks(test_data) == 5


def test_the_same_again_is_the_same_entry(ledger, another):
    intent, record, statement = digest(), digest(), digest()
    opening = ledger.open("cartpole", intent)
    closing = ledger.close("cartpole", 1, record, "HOLD")
    note = ledger.note("cartpole", 1, statement)
    again = another()
    assert again.open("cartpole", intent) == opening
    assert again.close("cartpole", 1, record, "HOLD") == closing
    assert again.note("cartpole", 1, statement) == note
    assert (opening.test_data, opening.look) == (None, 0)
    assert len(ledger.account("cartpole")) == 3


def test_an_entry_is_found_without_the_outbox(ledger, anvil, private_key, another, connect):
    intent = digest()
    opening = ledger.open("cartpole", intent)
    connection = connect()
    connection.cursor().execute("DELETE FROM drl.ledger_outbox WHERE writer = %s", (ledger.writer,))
    connection.commit()
    connection.close()
    assert another().open("cartpole", intent) == opening
    assert another().open("cartpole", digest()).receipt.run == 2


def test_a_run_is_closed_once(ledger):
    ledger.open("cartpole", digest())
    record = digest()
    ledger.close("cartpole", 1, record, "HOLD")
    with pytest.raises(ConflictError, match="closed before with HOLD"):
        ledger.close("cartpole", 1, record, "PROMOTE")
    with pytest.raises(ConflictError, match="closed before"):
        ledger.close("cartpole", 1, digest(), "HOLD")


def test_an_intent_belongs_to_one_pipeline_and_test_set(ledger):
    intent = digest()
    ledger.open("cartpole", intent)
    with pytest.raises(ConflictError, match="opened before"):
        ledger.open("battery", intent)
    with pytest.raises(ConflictError, match="opened before"):
        ledger.open("cartpole", intent, digest())


def test_an_unknown_run_is_refused_by_name(ledger):
    with pytest.raises(ConflictError, match="UnknownRun"):
        ledger.close("cartpole", 7, digest(), "HOLD")
    with pytest.raises(ConflictError, match="UnknownRun"):
        ledger.note("cartpole", 1, digest())


def test_deploy_is_found_again_and_shared(ledger, another, anvil):
    other_key = "0x" + secrets.token_hex(32)
    anvil.fund(other_key)
    other = another(private_key=other_key)
    assert other.deploy() == ledger.deploy() == ledger.address
    intent = digest()
    assert ledger.open("cartpole", intent).receipt.run == 1
    assert other.open("cartpole", intent).receipt.run == 1
    assert len(other.account("cartpole")) == 1


def test_deploy_without_the_create2_factory(another, anvil):
    anvil.rpc("anvil_setCode", "0x4e59b44847b379578588920ca78fbf26c0b4956c", "0x")
    address = another().deploy()
    assert another().address == another().deploy() == address
    assert another(contract=address).open("cartpole", digest()).receipt.contract == address


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"chain_id": 1}, "wanted 1 with"),
        ({"genesis": "0x" + "00" * 32}, "wanted 31337 with 0x00"),
        ({"contract": "0x" + "11" * 20}, "no run ledger at 0x1111"),
        ({"contract": "0x4e59b44847b379578588920ca78fbf26c0b4956c"}, "bytes of other code"),
        ({"finality": "soon"}, "finality 'soon'"),
        ({"private_key": "swordfish"}, "not 32 bytes"),
    ],
)
def test_wrong_settings_are_refused_before_signing(ledger, another, anvil, changes, words):
    before = anvil.rpc("eth_getTransactionCount", ledger.writer, "pending")
    with pytest.raises(InputError, match=words) as caught:
        another(**changes).open("cartpole", digest())
    assert "swordfish" not in str(caught.value)
    assert anvil.rpc("eth_getTransactionCount", ledger.writer, "pending") == before


def test_another_chain_of_the_same_id_is_refused_until_it_is_meant(
    ledger, another, anvil, anvil_program, tmp_path
):
    """The node was set up anew: nothing that was written is there, and nobody said so."""
    first = ledger.open("cartpole", digest()).receipt.genesis
    folder = tmp_path / "anew"
    folder.mkdir()
    anew = type(anvil)(anvil_program, folder, "--timestamp", "1700000000")
    anew.start()
    try:
        anew.rpc("anvil_setBalance", ledger.writer, hex(10**20))
        second = anew.rpc("eth_getBlockByNumber", "0x0", False)["hash"]
        with pytest.raises(InputError, match=f"began with block {first} .* now with {second}") as caught:
            another(rpc_url=anew.url).deploy()
        assert "extra.genesis" in caught.value.remedy
        assert int(anew.rpc("eth_getTransactionCount", ledger.writer, "pending"), 16) == 0
        meant = another(rpc_url=anew.url, genesis=second)
        meant.deploy()
        assert meant.open("cartpole", digest()).receipt.genesis == second
        assert another(rpc_url=anew.url).deploy() == meant.address  # the new one is kept to from now on
    finally:
        anew.stop(signal.SIGKILL)


def test_a_fleet_is_opened_closed_and_noted_in_one_transaction_each(ledger, another):
    test_data = digest()
    runs = [OpenRun("cartpole", digest(), test_data) for _ in range(3)] + [OpenRun("battery", digest())]
    opened = ledger.open_many(runs)
    assert [entry.intent for entry in opened] == [run.intent for run in runs]
    assert [entry.receipt.run for entry in opened] == [1, 2, 3, 1]
    assert [entry.look for entry in opened] == [1, 2, 3, 0]
    ends = [CloseRun("cartpole", n, digest(), v) for n, v in ((1, "HOLD"), (2, "PROMOTE"), (3, "REJECT"))]
    closed = ledger.close_many(ends)
    assert [(entry.record, entry.verdict) for entry in closed] == [(e.record, e.verdict) for e in ends]
    later = [NoteStatement("cartpole", 2, digest()), NoteStatement("battery", 1, digest())]
    noted = ledger.note_many(later)
    assert [entry.statement for entry in noted] == [note.statement for note in later]
    for entries in (opened, closed, noted):
        assert len({entry.receipt.tx for entry in entries}) == 1
    again = another()
    assert (again.open_many(runs), again.close_many(ends), again.note_many(later)) == (opened, closed, noted)
    assert Account.of(ledger.account("cartpole")).opened == 3


def test_a_fleet_leaves_out_what_came_before(ledger):
    runs = [OpenRun("cartpole", digest()) for _ in range(4)]
    first = ledger.open("cartpole", runs[2].intent)
    opened = ledger.open_many(runs)
    assert opened[2] == first
    assert sorted(entry.receipt.run for entry in opened) == [1, 2, 3, 4]
    assert len({entry.receipt.tx for entry in opened}) == 2
    assert ledger.open_many([]) == []


def test_a_fleet_larger_than_a_transaction(ledger):
    runs = [OpenRun("cartpole", digest()) for _ in range(101)]
    opened = ledger.open_many(runs)
    assert [entry.receipt.run for entry in opened] == list(range(1, 102))
    assert len({entry.receipt.tx for entry in opened}) == 2


def test_a_fleet_with_one_wrong_entry_changes_nothing(ledger):
    ledger.open("cartpole", digest())
    ends = [CloseRun("cartpole", 1, digest(), "HOLD"), CloseRun("cartpole", 9, digest(), "HOLD")]
    with pytest.raises(ConflictError, match="UnknownRun"):
        ledger.close_many(ends)
    assert Account.of(ledger.account("cartpole")).unclosed == (1,)
    with pytest.raises(ConflictError, match="opened before"):
        ledger.open_many([OpenRun("battery", ledger.account("cartpole")[0].intent), OpenRun("x", digest())])


def test_a_published_key_is_refused_on_a_real_chain(connect):
    # The first account of the mnemonic "test test test test test test test test test test test junk".
    key = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
    settings = ChainSettings("http://127.0.0.1:1", 1, key)
    with pytest.raises(InputError, match="its key is published"):
        Ledger(settings, connect)
    assert len(PUBLISHED_ACCOUNTS) == 10


def test_no_secret_in_repr(settings):
    assert settings.private_key not in repr(settings)
    assert settings.rpc_url not in repr(settings)


def test_entries_have_their_kinds(ledger):
    opening = ledger.open("cartpole", digest())
    ledger.close("cartpole", 1, digest(), "REJECT")
    ledger.note("cartpole", 1, digest())
    assert [type(e) for e in ledger.account("cartpole")] == [Opening, Closing, Note]
    assert ledger.account("battery") == []
    assert opening.receipt.log_index == 0


def test_the_outbox_works_with_psycopg_3_too(settings, ledger, postgres_uri):
    other = Ledger(settings, lambda: psycopg.connect(postgres_uri))
    intent = digest()
    opening = other.open("cartpole", intent, digest())
    assert ledger.open("cartpole", intent, opening.test_data) == opening
    assert other.close("cartpole", 1, digest(), "HOLD").receipt.run == 1
