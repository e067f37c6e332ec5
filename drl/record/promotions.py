"""Which notes on the ledger may have moved a champion's alias: what a record holds, and a verifier reads."""

from __future__ import annotations

from collections.abc import Iterable

from drl.record.ledger import Closing, Entry, Note, position

ALIAS = "champion"
FOLDER = "champion/"
NOTES = f"{FOLDER}notes/"
"""Where a record keeps what was noted between the champion's promotion and the run's opening."""


def may_promote(entries: Iterable[Entry], *, before: Entry, behind: Entry | None) -> list[Note]:
    """Notes that may be a promotion or a rollback, in the ledger's order.

    Only runs closed with PROMOTE are promoted, and only what was promoted is rolled back, so no note on
    another run can be either.

    Args:
        entries: of one pipeline, in the order of the chain.
        before: an opening; later notes moved the alias after the run had fixed its champion.
        behind: the note that promoted the champion; None to begin with the pipeline's first entry.
    """
    released: set[int] = set()
    found: list[Note] = []
    for entry in entries:
        if position(entry) >= position(before):
            break
        if isinstance(entry, Closing) and entry.verdict == "PROMOTE":
            released.add(entry.receipt.run)
        late = behind is None or position(entry) > position(behind)
        if isinstance(entry, Note) and entry.receipt.run in released and late:
            found.append(entry)
    return found
