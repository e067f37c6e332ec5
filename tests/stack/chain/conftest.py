"""A throw-away anvil for each test, and one PostgreSQL for all of them."""

from chain_fixtures import (
    another,
    anvil,
    anvil_program,
    connect,
    ledger,
    postgres_uri,
    private_key,
    settings,
)

__all__ = [
    "another",
    "anvil",
    "anvil_program",
    "connect",
    "ledger",
    "postgres_uri",
    "private_key",
    "settings",
]
