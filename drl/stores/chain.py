"""The run ledger on an EVM chain: open a run, close it, note what comes later, read the account.

Writing goes through the outbox (:mod:`drl.stores.outbox`); every method may be called again after a crash and
returns the same entry. The private key is used here only, and never printed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from web3 import Web3

from drl.digest import require_sha256
from drl.errors import ConflictError, InputError
from drl.record.ledger import (
    DEMO_CHAIN_IDS,
    VERDICT_CODES,
    Closing,
    Entry,
    Note,
    Opening,
    Verdict,
    pipeline_id,
)
from drl.stores.chain_deployment import Deployment
from drl.stores.chain_reader import LedgerReader
from drl.stores.chain_rpc import Rpc
from drl.stores.chain_sender import Found, Sender, load_account
from drl.stores.chain_settings import PUBLISHED_ACCOUNTS, ChainSettings
from drl.stores.contract import run_ledger
from drl.stores.outbox import Call, Connection, Outbox

__all__ = ["ChainSettings", "Ledger"]


class Ledger:
    """The run ledger, as one writer uses it.

    Args:
        settings: which chain, contract and signer.
        connect: gives a new connection to the PostgreSQL database that keeps the outbox.
    """

    def __init__(self, settings: ChainSettings, connect: Callable[[], Connection]) -> None:
        self._settings = settings
        self._connect = connect
        self._account = load_account(settings.private_key)
        self._rpc = Rpc(settings.rpc_url, settings.finality)
        self._senders: dict[str, Sender] = {}
        if self.writer in PUBLISHED_ACCOUNTS and settings.chain_id not in DEMO_CHAIN_IDS:
            raise InputError(
                f"account {self.writer} on chain {settings.chain_id}: its key is published with every "
                "development chain",
                remedy="make a key of your own and fund it",
            )

    @property
    def writer(self) -> str:
        """The signer's address, lower case."""
        return str(self._account.address).lower()

    @cached_property
    def address(self) -> str:
        """Address of the contract, lower case, after checking that the run ledger's code is there.

        Raises:
            InputError: another contract, or none, is there.
        """
        address = self._settings.contract or Deployment(self._rpc, self._sender()).address()
        code = self._rpc.code(address) if address is not None else b""
        if address is None or Web3.to_hex(Web3.keccak(code)) != run_ledger().runtime_code_hash:
            raise InputError(
                f"no run ledger at {address or 'any known address'} on chain {self._settings.chain_id} "
                f"({len(code)} bytes of other code there)",
                remedy="call deploy() once for this chain, or give the address of a run ledger",
            )
        return address.lower()

    def deploy(self) -> str:
        """The contract's address; deploys it unless it is there.

        Through the CREATE2 factory the address follows from the code, so everybody finds the same contract;
        on a chain without the factory the outbox remembers where it went.
        """
        if self._settings.contract is None:
            deployment = Deployment(self._rpc, self._sender())
            self._sender().settle(deployment.call, deployment.locate)
        return self.address

    def open(self, pipeline: str, intent: str, test_data: str | None = None) -> Opening:
        """Open a run before training, or find the one opened with this intent.

        Args:
            pipeline: name of the pipeline.
            intent: SHA-256 of the signed intent's envelope.
            test_data: identifier of the held-out data that the run will look at.

        Raises:
            ConflictError: the intent was opened for another pipeline or other held-out data.
            StoreError: chain or database out of reach, or not final in time; call again.
        """
        require_sha256(intent, where="intent")
        data = bytes(32) if test_data is None else _bytes32(test_data, "test_data")
        call = self._call(
            "open", intent, [_bytes32(pipeline_id(pipeline), "pipeline"), _bytes32(intent), data]
        )

        def locate() -> Found[Opening] | None:
            entry = self._reader.opening(self.writer, intent)
            return Found(entry, entry.receipt.block_number) if entry else None

        opening = self._sender().settle(call, locate)
        if (opening.receipt.pipeline, opening.test_data) != (pipeline_id(pipeline), test_data):
            raise ConflictError(
                f"intent {intent[:12]} was opened before as run {opening.receipt.run} of another pipeline or "
                f"with other held-out data",
                remedy="make a new intent for a new run",
            )
        return opening

    def close(self, pipeline: str, run: int, record: str, verdict: Verdict) -> Closing:
        """Close a run, or find it closed with this record and verdict.

        Args:
            pipeline: name of the pipeline.
            run: number of the run, from :meth:`open`.
            record: SHA-256 of the signed release statement's envelope.
            verdict: PROMOTE, HOLD or REJECT.

        Raises:
            ConflictError: there is no such run, or it was closed with something else.
            StoreError: chain or database out of reach, or not final in time; call again.
        """
        name = pipeline_id(pipeline)
        call = self._call(
            "close",
            f"{name}/{run}",
            [_bytes32(name), run, _bytes32(record, "record"), VERDICT_CODES[verdict]],
        )

        def locate() -> Found[Closing] | None:
            entry = self._reader.closing(self.writer, pipeline, run)
            return Found(entry, entry.receipt.block_number) if entry else None

        closing = self._sender().settle(call, locate)
        if (closing.record, closing.verdict) != (record, verdict):
            raise ConflictError(
                f"run {run} of {pipeline} was closed before with {closing.verdict} and record "
                f"{closing.record[:12]}, now {verdict} and {record[:12]}",
                remedy="a run is closed once; a later revision is a note",
            )
        return closing

    def note(self, pipeline: str, run: int, statement: str) -> Note:
        """Add a statement to a run, or find it noted.

        Args:
            pipeline: name of the pipeline.
            run: number of the run.
            statement: SHA-256 of the signed statement's envelope.

        Raises:
            ConflictError: there is no such run.
            StoreError: chain or database out of reach, or not final in time; call again.
        """
        name = pipeline_id(pipeline)
        call = self._call(
            "note", f"{name}/{run}/{statement}", [_bytes32(name), run, _bytes32(statement, "statement")]
        )

        def locate() -> Found[Note] | None:
            entry = self._reader.note(self.writer, pipeline, run, statement)
            return Found(entry, entry.receipt.block_number) if entry else None

        return self._sender().settle(call, locate)

    def account(self, pipeline: str) -> list[Entry]:
        """Every entry of this writer's pipeline, in the order of the chain."""
        return self._reader.account(self.writer, pipeline)

    def looks(self, test_data: str) -> int:
        """How many openings of this writer have named this held-out data."""
        return self._reader.looks(self.writer, test_data)

    @cached_property
    def _reader(self) -> LedgerReader:
        return LedgerReader(self._rpc, self.address)

    def _call(self, kind: str, key: str, arguments: list[object]) -> Call:
        contract = self._rpc.web3.eth.contract(abi=run_ledger().abi)
        return Call(kind, key, self.address, str(contract.encode_abi(kind, args=arguments)))

    def _sender(self) -> Sender:
        """A sender for the chain that answers now, which must be the one that the settings name."""
        chain_id, genesis = self._rpc.identity()
        wanted = self._settings
        if chain_id != wanted.chain_id or wanted.genesis not in (None, genesis):
            raise InputError(
                f"the chain at {self._rpc.host} is {chain_id} with genesis {genesis}, wanted "
                f"{wanted.chain_id} with {wanted.genesis or 'any genesis'}",
                remedy="nothing was signed; give the address of the chain that the settings name",
            )
        if genesis not in self._senders:
            self._senders[genesis] = Sender(
                self._rpc,
                Outbox(self._connect, genesis=genesis, writer=self.writer),
                self._account,
                chain_id=chain_id,
                max_fee=int(wanted.max_fee_gwei * 10**9),
                patience=wanted.patience,
            )
        return self._senders[genesis]


def _bytes32(sha256: str, where: str = "digest") -> bytes:
    return bytes.fromhex(require_sha256(sha256, where=where))
