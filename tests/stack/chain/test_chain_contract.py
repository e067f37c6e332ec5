"""The contract: compiled again byte for byte, its array forms, its refusals, and what each call costs."""

from __future__ import annotations

import secrets
from importlib.resources import files

import pytest
from eth_account import Account
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractCustomError, ContractLogicError

from drl.errors import StepError
from drl.stores.contract import run_ledger
from drl.stores.contract.compile import compile_contract


def source() -> bytes:
    return files("drl.stores.contract").joinpath("RunLedger.sol").read_bytes()


def digests(count: int) -> list[bytes]:
    return [secrets.token_bytes(32) for _ in range(count)]


class Writer:
    """Deploys a contract of its own and sends each call in a transaction."""

    def __init__(self, url: str, private_key: str) -> None:
        self.web3 = Web3(HTTPProvider(url))
        self.account = Account.from_key(private_key)
        artifact = run_ledger()
        made = self.send(self.web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode).constructor())
        self.deploy_gas = made["gasUsed"]
        self.contract = self.web3.eth.contract(address=made["contractAddress"], abi=artifact.abi)

    def send(self, call):
        nonce = self.web3.eth.get_transaction_count(self.account.address)
        transaction = call.build_transaction({"from": self.account.address, "nonce": nonce})
        signed = self.account.sign_transaction(transaction)
        receipt = self.web3.eth.wait_for_transaction_receipt(
            self.web3.eth.send_raw_transaction(signed.raw_transaction)
        )
        assert receipt["status"] == 1
        return receipt

    def __call__(self, name: str, *arguments):
        return self.send(self.contract.functions[name](*arguments))

    def view(self, name: str, *arguments):
        return self.contract.functions[name](self.account.address, *arguments).call()

    def refusal(self, name: str, *arguments) -> str:
        with pytest.raises(ContractCustomError) as caught:
            self.contract.functions[name](*arguments).call({"from": self.account.address})
        for entry in run_ledger().abi:
            if entry["type"] == "error":
                types = ",".join(field["type"] for field in entry["inputs"])
                if caught.value.data.startswith(
                    "0x" + Web3.keccak(text=f"{entry['name']}({types})")[:4].hex()
                ):
                    return entry["name"]
        raise AssertionError(caught.value)


@pytest.fixture
def writer(anvil, private_key) -> Writer:
    anvil.fund(private_key)
    return Writer(anvil.url, private_key)


def test_the_artifact_is_what_the_source_compiles_to(tmp_path):
    stored = files("drl.stores.contract").joinpath("RunLedger.json").read_bytes()
    assert compile_contract(source(), tmp_path) == stored


def test_a_contract_that_does_not_compile_is_said(tmp_path):
    with pytest.raises(StepError, match=r"RunLedger\.sol"):
        compile_contract(source().replace(b"uint64 look =", b"uint64 loko ="), tmp_path)


def test_array_forms_are_the_single_forms_in_order(writer):
    pipelines, intents, [test_data] = digests(2) + digests(1), digests(3), digests(1)
    receipt = writer("openMany", pipelines, intents, [test_data, bytes(32), test_data])
    opened = writer.contract.events.Opened().process_receipt(receipt)
    assert [e["args"]["intent"] for e in opened] == intents
    assert [e["args"]["run"] for e in opened] == [1, 1, 1]
    assert [e["args"]["look"] for e in opened] == [1, 0, 2]
    same = [pipelines[0]] * 2
    runs = writer.contract.events.Opened().process_receipt(
        writer("openMany", same, digests(2), [test_data] * 2)
    )
    assert [e["args"]["run"] for e in runs] == [2, 3]

    records, notes = digests(3), digests(3)
    closed = writer.contract.events.Closed().process_receipt(
        writer("closeMany", pipelines, [1, 1, 1], records, [1, 2, 3])
    )
    assert [e["args"]["record"] for e in closed] == records
    assert [e["args"]["verdict"] for e in closed] == [1, 2, 3]
    noted = writer.contract.events.Noted().process_receipt(writer("noteMany", pipelines, [1, 1, 1], notes))
    assert [e["args"]["statement"] for e in noted] == notes

    assert writer.view("runs", pipelines[0]) == 3
    assert writer.view("looks", test_data) == 4
    assert writer.view("opening", intents[2]) == [1, receipt["blockNumber"]]
    assert writer.view("closing", pipelines[1], 1)[0] == 2
    assert writer.view("noted", pipelines[1], 1, notes[1]) > 0
    assert writer.view("noted", pipelines[1], 1, notes[2]) == 0


def test_refusals(writer):
    [pipeline, intent, statement] = digests(3)
    zero = bytes(32)
    writer("open", pipeline, intent, zero)
    assert writer.refusal("open", pipeline, intent, zero) == "AlreadyOpened"
    assert writer.refusal("open", digests(1)[0], intent, zero) == "AlreadyOpened"
    assert writer.refusal("open", pipeline, zero, zero) == "ZeroDigest"
    assert writer.refusal("close", pipeline, 1, zero, 1) == "ZeroDigest"
    assert writer.refusal("close", pipeline, 1, statement, 0) == "UnknownVerdict"
    assert writer.refusal("close", pipeline, 1, statement, 4) == "UnknownVerdict"
    assert writer.refusal("close", pipeline, 0, statement, 1) == "UnknownRun"
    assert writer.refusal("close", pipeline, 2, statement, 1) == "UnknownRun"
    writer("close", pipeline, 1, statement, 3)
    assert writer.refusal("close", pipeline, 1, digests(1)[0], 1) == "AlreadyClosed"
    writer("note", pipeline, 1, statement)
    assert writer.refusal("note", pipeline, 1, statement) == "AlreadyNoted"
    assert writer.refusal("note", pipeline, 1, zero) == "ZeroDigest"
    assert writer.refusal("note", pipeline, 2, statement) == "UnknownRun"
    assert writer.refusal("openMany", [pipeline], [], []) == "LengthMismatch"
    assert writer.refusal("closeMany", [pipeline], [1], [statement], []) == "LengthMismatch"
    assert writer.refusal("noteMany", [pipeline], [1, 1], [statement]) == "LengthMismatch"


def test_an_array_with_one_bad_entry_changes_nothing(writer):
    [pipeline, intent] = digests(2)
    assert writer.refusal("openMany", [pipeline] * 2, [intent] * 2, [bytes(32)] * 2) == "AlreadyOpened"
    assert writer.view("runs", pipeline) == 0


def test_writers_do_not_see_each_other(writer, anvil):
    [pipeline, intent, test_data] = digests(3)
    writer("open", pipeline, intent, test_data)
    other_key = "0x" + secrets.token_hex(32)
    anvil.fund(other_key)
    other = Writer(anvil.url, other_key)
    other.contract = writer.contract
    assert other.refusal("close", pipeline, 1, intent, 1) == "UnknownRun"
    opened = writer.contract.events.Opened().process_receipt(other("open", pipeline, intent, test_data))
    assert (opened[0]["args"]["run"], opened[0]["args"]["look"]) == (1, 1)


def test_nothing_can_be_paid_in(writer):
    with pytest.raises(ContractLogicError, match="reverted"):
        writer.web3.eth.call({"to": writer.contract.address, "value": 1, "data": "0x"})


# Gas, measured; docs/record.md prints this table. A change of more than one percent wants a reason.
GAS = {
    "deploy": 965_841,
    "open, first run of a pipeline": 93_316,
    "open, later run, same test data": 59_116,
    "open, later run": 53_325,
    "close": 50_306,
    "note": 50_071,
    "openMany, 10 later runs": 317_024,
    "openMany, 100 later runs": 2_873_880,
    "closeMany, 100": 2_757_842,
    "noteMany, 100": 2_718_285,
}


def test_gas(writer):
    [pipeline, test_data, *intents] = digests(220)
    zero = bytes(32)
    gas = {"deploy": writer.deploy_gas}
    gas["open, first run of a pipeline"] = writer("open", pipeline, intents[0], test_data)["gasUsed"]
    gas["open, later run, same test data"] = writer("open", pipeline, intents[1], test_data)["gasUsed"]
    gas["open, later run"] = writer("open", pipeline, intents[2], zero)["gasUsed"]
    gas["close"] = writer("close", pipeline, 1, intents[0], 1)["gasUsed"]
    gas["note"] = writer("note", pipeline, 1, intents[0])["gasUsed"]
    for count, first in ((10, 3), (100, 13)):
        chosen = intents[first : first + count]
        used = writer("openMany", [pipeline] * count, chosen, [test_data] * count)["gasUsed"]
        gas[f"openMany, {count} later runs"] = used
    runs = list(range(4, 104))
    gas["closeMany, 100"] = writer("closeMany", [pipeline] * 100, runs, intents[:100], [1] * 100)["gasUsed"]
    gas["noteMany, 100"] = writer("noteMany", [pipeline] * 100, runs, intents[:100])["gasUsed"]
    assert gas == pytest.approx(GAS, rel=0.01)
