"""The outbox: transactions kept in PostgreSQL before they are sent, so that a killed task finds its own.

Nonce, signature and row are made in one database transaction under an advisory lock for each signer, so two
processes never take the same nonce. States: ``built`` (wanted, not signed: fees above the cap), ``signed``,
``sent``, ``mined``, ``final``. A row keeps every signed form of its transaction (fees may be raised), all
with the same nonce; whichever is mined counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import psycopg
import psycopg2

from drl.digest import sha256_bytes
from drl.errors import InputError, StoreError

State = Literal["built", "signed", "sent", "mined", "final"]

# A connection of Airflow's hook comes from either driver, by what is installed.
_ERRORS = (psycopg2.Error, psycopg.Error)
_LOCK_TIMEOUT = "60s"
_SCHEMA = """
CREATE SCHEMA IF NOT EXISTS drl;
CREATE TABLE IF NOT EXISTS drl.ledger_outbox (
    genesis   text NOT NULL,
    writer    text NOT NULL,
    kind      text NOT NULL,
    key       text NOT NULL,
    target    text,
    data      text NOT NULL,
    state     text NOT NULL DEFAULT 'built'
              CHECK (state IN ('built', 'signed', 'sent', 'mined', 'final')),
    nonce     bigint,
    max_fee   numeric(78),
    tip       numeric(78),
    raw_txs   text[] NOT NULL DEFAULT '{}',
    tx_hashes text[] NOT NULL DEFAULT '{}',
    block     bigint,
    created   timestamptz NOT NULL DEFAULT now(),
    sent      timestamptz,
    PRIMARY KEY (genesis, writer, kind, key),
    UNIQUE (genesis, writer, nonce)
);
CREATE TABLE IF NOT EXISTS drl.ledger_chain (
    chain_id  numeric(78) NOT NULL,
    writer    text NOT NULL,
    genesis   text NOT NULL,
    PRIMARY KEY (chain_id, writer)
)
"""
_COLUMNS = "kind, key, target, data, state, nonce, max_fee, tip, raw_txs, tx_hashes"


class Connection(Protocol):
    """What is used of a DB-API connection, from psycopg2 or psycopg 3."""

    def cursor(self) -> Any:
        """A new cursor."""

    def commit(self) -> None:
        """End the transaction and keep it."""

    def rollback(self) -> None:
        """End the transaction and drop it."""

    def close(self) -> None:
        """Give the connection back."""


@dataclass(frozen=True)
class Call:
    """A transaction that is wanted, once.

    Attributes:
        kind: ``deploy``, ``open``, ``close``, ``note`` or one of the array forms.
        key: what makes it unique among its kind, e.g. the intent's digest.
        target: address called, or None to create a contract.
        data: call data, ``0x`` hexadecimal.
    """

    kind: str
    key: str
    target: str | None
    data: str


@dataclass(frozen=True)
class Signed:
    """One signed form of a transaction; fees in wei per gas, ``tip`` None for a legacy transaction."""

    nonce: int
    raw: str
    tx_hash: str
    max_fee: int
    tip: int | None


@dataclass(frozen=True)
class Row:
    """A call as the outbox holds it, with every signed form of its nonce, the newest last."""

    call: Call
    state: State
    nonce: int | None
    max_fee: int | None
    tip: int | None
    raw_txs: tuple[str, ...]
    tx_hashes: tuple[str, ...]


class Rows:
    """The rows of one signer on one chain, within one database transaction."""

    def __init__(self, cursor: Any, genesis: str, writer: str) -> None:
        self._cursor = cursor
        self._signer = (genesis, writer)

    def find(self, call: Call) -> Row | None:
        """The row of a call, if it was ever wanted."""
        rows = self._select("AND kind = %s AND key = %s", call.kind, call.key)
        return rows[0] if rows else None

    def get(self, call: Call) -> Row:
        """The row of a call that was wanted before."""
        row = self.find(call)
        if row is None:
            raise StoreError(
                f"the ledger's outbox has lost {call.kind} {call.key[:12]}",
                remedy="nobody may delete from drl.ledger_outbox; run again, the chain is looked at first",
            )
        return row

    def want(self, call: Call) -> None:
        """Put a call on record in state ``built``, unless it is there."""
        self._cursor.execute(
            "INSERT INTO drl.ledger_outbox (genesis, writer, kind, key, target, data) "
            "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (genesis, writer, kind, key) DO NOTHING",
            (*self._signer, call.kind, call.key, call.target, call.data),
        )

    def next_nonce(self) -> int:
        """One more than the highest nonce kept; 0 without any."""
        self._cursor.execute(
            "SELECT coalesce(max(nonce) + 1, 0) FROM drl.ledger_outbox WHERE genesis = %s AND writer = %s",
            self._signer,
        )
        return int(self._cursor.fetchone()[0])

    def sign(self, call: Call, signed: Signed) -> None:
        """Keep a signed form: beside the earlier ones of the same nonce, instead of those of another."""
        self._cursor.execute(
            "UPDATE drl.ledger_outbox SET state = 'signed', max_fee = %(max_fee)s, tip = %(tip)s, "
            "raw_txs = CASE WHEN nonce = %(nonce)s THEN raw_txs ELSE '{}' END || %(raw)s::text, "
            "tx_hashes = CASE WHEN nonce = %(nonce)s THEN tx_hashes ELSE '{}' END || %(tx_hash)s::text, "
            "nonce = %(nonce)s "
            "WHERE genesis = %(genesis)s AND writer = %(writer)s AND kind = %(kind)s AND key = %(key)s",
            {
                **vars(signed),
                "genesis": self._signer[0],
                "writer": self._signer[1],
                "kind": call.kind,
                "key": call.key,
            },
        )

    def mark(self, call: Call, state: State, block: int | None) -> None:
        """Write how far a call has come."""
        self._cursor.execute(
            "UPDATE drl.ledger_outbox SET state = %s, block = %s, "
            "sent = CASE WHEN %s = 'sent' THEN now() ELSE sent END "
            "WHERE genesis = %s AND writer = %s AND kind = %s AND key = %s",
            (state, block, state, *self._signer, call.kind, call.key),
        )

    def between(self, first: int, last: int) -> list[Row]:
        """Signed rows with ``first <= nonce <= last``, by nonce."""
        return self._select("AND nonce BETWEEN %s AND %s ORDER BY nonce", first, last)

    def _select(self, condition: str, *values: Any) -> list[Row]:
        self._cursor.execute(
            f"SELECT {_COLUMNS} FROM drl.ledger_outbox WHERE genesis = %s AND writer = %s {condition}",  # noqa: S608 (fixed texts)
            (*self._signer, *values),
        )
        return [_row(values) for values in self._cursor.fetchall()]


class Outbox:
    """The outbox of one signer on one chain.

    The first chain of an id that a signer writes to is remembered. Another one of that id, with another block
    0, is refused until somebody says that it is meant: entries on the first one would be missing there.

    Args:
        connect: gives a new connection to PostgreSQL; it is closed after each use.
        chain_id: EIP-155 id of the chain.
        genesis: hash of the chain's block 0.
        meant: whether the settings name this ``genesis``.
        writer: the signer's address.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        chain_id: int,
        genesis: str,
        meant: bool,
        writer: str,
    ) -> None:
        self._connect = connect
        self._chain_id = chain_id
        self._genesis = genesis
        self._meant = meant
        self._writer = writer
        self._prepared = False

    @contextmanager
    def locked(self) -> Iterator[Rows]:
        """The rows, while no other process may sign for this signer; kept when the block ends well."""
        with self._transaction() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
            _lock(cursor, f"drl ledger outbox {self._genesis} {self._writer}")
            yield Rows(cursor, self._genesis, self._writer)

    @contextmanager
    def rows(self) -> Iterator[Rows]:
        """The rows, without keeping others from signing: for reading, and for marking progress."""
        with self._transaction() as cursor:
            yield Rows(cursor, self._genesis, self._writer)

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        try:
            connection = self._connect()
        except _ERRORS as error:
            raise _unreachable(error) from None  # the message of the cause may quote the address
        try:
            cursor = connection.cursor()
            if not self._prepared:
                _lock(cursor, "drl ledger outbox schema")
                cursor.execute(_SCHEMA)
                self._keep_to_one_chain(cursor)
                connection.commit()
                self._prepared = True
            yield cursor
            connection.commit()
        except _ERRORS as error:
            raise _unreachable(error) from error
        finally:
            connection.close()  # without a commit the transaction is dropped

    def _keep_to_one_chain(self, cursor: Any) -> None:
        cursor.execute(
            "INSERT INTO drl.ledger_chain (chain_id, writer, genesis) VALUES (%s, %s, %s) "
            "ON CONFLICT (chain_id, writer) DO UPDATE SET genesis = EXCLUDED.genesis WHERE %s",
            (self._chain_id, self._writer, self._genesis, self._meant),
        )
        cursor.execute(
            "SELECT genesis FROM drl.ledger_chain WHERE chain_id = %s AND writer = %s",
            (self._chain_id, self._writer),
        )
        (known,) = cursor.fetchone()
        if known != self._genesis:
            raise InputError(
                f"chain {self._chain_id} began with block {known} when {self._writer} first wrote to it, and "
                f"the one that answers now with {self._genesis}: it is another chain",
                remedy="bring back the first one; or, if the new one is meant, name its genesis in "
                "DRL_EVM_GENESIS or in extra.genesis of the connection evm_default",
            )


def _lock(cursor: Any, name: str) -> None:
    number = int.from_bytes(bytes.fromhex(sha256_bytes(name.encode()))[:8], "big", signed=True)
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (number,))


def _row(values: tuple[Any, ...]) -> Row:
    kind, key, target, data, state, nonce, max_fee, tip, raw_txs, tx_hashes = values
    return Row(
        call=Call(kind, key, target, data),
        state=state,
        nonce=nonce,
        max_fee=None if max_fee is None else int(max_fee),
        tip=None if tip is None else int(tip),
        raw_txs=tuple(raw_txs),
        tx_hashes=tuple(tx_hashes),
    )


def _unreachable(error: Exception) -> StoreError:
    return StoreError(
        f"the ledger's outbox in PostgreSQL failed ({type(error).__name__})",
        remedy="check that PostgreSQL is up and that the user may create the schema `drl`, then run again",
    )
