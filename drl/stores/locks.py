"""A lock that one process of a whole deployment holds at a time, kept by PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg
import psycopg2

from drl.errors import StoreError
from drl.stores.outbox import Connection


def promotion_lock(model: str) -> str:
    """Name of the lock under which the champion of a model changes."""
    return f"drl promote {model}"


@contextmanager
def exclusive(connect: Callable[[], Connection], name: str) -> Iterator[None]:
    """Hold the advisory lock ``name`` until the block ends, or this process dies.

    Args:
        connect: gives a new connection to PostgreSQL; the same database for all who share the lock.
        name: of the lock.

    Raises:
        StoreError: the server cannot be reached, or was lost meanwhile.
    """
    try:
        with closing(connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))
            yield
    except (psycopg.Error, psycopg2.Error) as error:
        raise StoreError(
            f"PostgreSQL, which holds the lock {name!r}, was lost ({type(error).__name__})",
            remedy="start the server (`drl stack up`), then try again",
        ) from None  # the message of the cause may quote the address
