"""The run ledger on an EVM chain: open a run, close it, note what comes later, read the account.

Writing goes through the outbox (:mod:`drl.stores.outbox`); every method may be called again after a crash and
returns the same entry. The private key is used here only, and never printed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TypeVar

from web3 import Web3

from drl.digest import sha256_json
from drl.errors import ConflictError, InputError
from drl.record.ledger import DEMO_CHAIN_IDS, Closing, Entry, Note, Opening, Verdict
from drl.stores.chain_deployment import Deployment
from drl.stores.chain_reader import LedgerReader
from drl.stores.chain_requests import CloseRun, NoteStatement, OpenRun, Request
from drl.stores.chain_rpc import Rpc
from drl.stores.chain_sender import Found, Sender, load_account
from drl.stores.chain_settings import PUBLISHED_ACCOUNTS, ChainSettings
from drl.stores.contract import run_ledger
from drl.stores.ledger_view import ChainView
from drl.stores.outbox import Call, Connection, Outbox

__all__ = ["ChainSettings", "CloseRun", "Ledger", "NoteStatement", "OpenRun"]

# Entries in one transaction: 3 million gas, far below what a block or a transaction may use anywhere.
_FLEET = 100

E = TypeVar("E", Opening, Closing, Note)


class Ledger:
    """The run ledger, as one writer uses it.

    The array forms (``open_many`` and so on) write up to a hundred entries in one transaction, for fleets of
    runs: a hundred openings cost half the gas of single ones. Each transaction is all or nothing.

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
        return self._write([OpenRun(pipeline, intent, test_data)])[0]

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
        return self._write([CloseRun(pipeline, run, record, verdict)])[0]

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
        return self._write([NoteStatement(pipeline, run, statement)])[0]

    def open_many(self, requests: Sequence[OpenRun]) -> list[Opening]:
        """Open many runs, in their order; those that were opened before are found. Errors as :meth:`open`."""
        return self._write_fleet(requests)

    def close_many(self, requests: Sequence[CloseRun]) -> list[Closing]:
        """Close many runs; those that were closed before are found. Errors as :meth:`close`."""
        return self._write_fleet(requests)

    def note_many(self, requests: Sequence[NoteStatement]) -> list[Note]:
        """Add many statements; those that were noted before are found. Errors as :meth:`note`."""
        return self._write_fleet(requests)

    def account(self, pipeline: str) -> list[Entry]:
        """Every entry of this writer's pipeline, in the order of the chain."""
        return self._reader.entries(self.writer, pipeline)

    def entries(self) -> list[Entry]:
        """Every entry of this writer, in all its pipelines, in the order of the chain."""
        return self._reader.entries(self.writer)

    def looks(self, test_data: str) -> int:
        """How many openings of this writer have named this held-out data."""
        return self._reader.looks(self.writer, test_data)

    def final(self, block_number: int) -> bool:
        """Whether a block counts as final under the settings."""
        return self._rpc.final(block_number)

    def view(self, pipeline: str) -> ChainView:
        """The ledger as a verifier asks it, about this writer's pipeline."""
        return ChainView(
            self._settings.rpc_url,
            contract=self.address,
            writer=self.writer,
            pipeline=pipeline,
            finality=self._settings.finality,
            first_block=self._settings.first_block,
        )

    @cached_property
    def _reader(self) -> LedgerReader:
        return LedgerReader(self._rpc, self.address, first_block=self._settings.first_block)

    def _write_fleet(self, requests: Sequence[Request[E]]) -> list[E]:
        pieces = (requests[i : i + _FLEET] for i in range(0, len(requests), _FLEET))
        return [entry for piece in pieces for entry in self._write(piece)]

    def _write(self, requests: Sequence[Request[E]]) -> list[E]:
        """Write what is missing of these in one transaction, and wait until all of them are final."""
        missing = self._missing(requests)
        while True:
            # What came alone or in another fleet is left out, or the contract would refuse them all.
            sent = missing or requests
            try:
                entries = self._sender().settle(
                    self._call(sent), partial(self._locate, requests, last=sent[-1])
                )
                break
            except ConflictError:
                before, missing = missing, self._missing(requests)
                if missing == before:
                    raise
        for request, entry in zip(requests, entries, strict=True):
            request.check(entry)
        return entries

    def _locate(self, requests: Sequence[Request[E]], *, last: Request[E]) -> Found[list[E]] | None:
        if last.find(self._reader, self.writer) is None:
            return None  # all or none: the rest need not be asked for
        found = [entry for r in requests if (entry := r.find(self._reader, self.writer)) is not None]
        if len(found) < len(requests):
            return None
        return Found(found, max(entry.receipt.block_number for entry in found))

    def _missing(self, requests: Sequence[Request[E]]) -> Sequence[Request[E]]:
        if len(requests) == 1:
            return requests  # the sender looks first anyway
        return [request for request in requests if request.find(self._reader, self.writer) is None]

    def _call(self, requests: Sequence[Request[E]]) -> Call:
        contract = self._rpc.web3.eth.contract(abi=run_ledger().abi)
        first = requests[0]
        kind, key, arguments = first.kind, first.key, list(first.arguments())
        if len(requests) > 1:
            kind, key = f"{kind}Many", sha256_json([request.key for request in requests])
            arguments = [list(column) for column in zip(*(r.arguments() for r in requests), strict=True)]
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
            outbox = Outbox(
                self._connect,
                chain_id=chain_id,
                genesis=genesis,
                meant=wanted.genesis is not None,
                writer=self.writer,
            )
            self._senders[genesis] = Sender(
                self._rpc,
                outbox,
                self._account,
                chain_id=chain_id,
                max_fee=int(wanted.max_fee_gwei * 10**9),
                patience=wanted.patience,
            )
        return self._senders[genesis]
