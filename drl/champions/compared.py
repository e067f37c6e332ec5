"""What shows that a run was compared with the champion: statements of earlier runs that the ledger has."""

from __future__ import annotations

import json
from collections.abc import Sequence

from drl.digest import sha256_bytes
from drl.record.dsse import read_unverified
from drl.record.export import ENVELOPE, NOTE, RELEASE, key_name
from drl.record.ledger import Entry, Note, entry_from_json
from drl.record.promotions import FOLDER, NOTES, may_promote
from drl.steps.journal import KEYS, RunJournal

_PROMOTION = "promotion"


def champion_proof(journal: RunJournal) -> dict[str, str | None]:
    """Digests of what shows that a run's policy was promoted, as ``resolved.json`` names them.

    Args:
        journal: of the run that made the champion.

    Returns:
        ``release`` and ``promotion``; both None where the alias was given to a policy that no statement
        promoted.
    """
    if not journal.has(f"{_PROMOTION}{NOTE}"):
        return {"release": None, "promotion": None}
    promotion = journal.read(f"{_PROMOTION}{ENVELOPE}")
    if read_unverified(promotion)["predicate"]["outcome"] != "promoted":
        return {"release": None, "promotion": None}
    return {"release": sha256_bytes(journal.read(RELEASE)), "promotion": sha256_bytes(promotion)}


def champion_documents(journal: RunJournal, entries: Sequence[Entry]) -> dict[str, bytes]:
    """Files below ``champion/`` of a run's record, by name, with the public keys of their signatures.

    Args:
        journal: of the run.
        entries: the ledger's account of its pipeline.

    Raises:
        InputError: a document of an earlier run is gone.
    """
    champion = journal.read_json("resolved.json")["champion"]
    opening = entry_from_json(journal.read_json("opening.json")["entry"])
    if champion is None:
        return _later(journal, may_promote(entries, before=opening, behind=None))
    if champion["promotion"] is None:
        return {}
    earlier = journal.beside(champion["run_key"])
    note = earlier.read(f"{_PROMOTION}{NOTE}")
    found = {f"{FOLDER}{_PROMOTION}{NOTE}": note} | _signed(earlier, "release", FOLDER + "release")
    found |= _signed(earlier, _PROMOTION, FOLDER + _PROMOTION)
    since = entry_from_json(json.loads(note))
    if since not in entries:  # promoted by another pipeline, or on another ledger
        return found
    return found | _later(journal, may_promote(entries, before=opening, behind=since))


def _later(journal: RunJournal, notes: Sequence[Note]) -> dict[str, bytes]:
    """The statements of these notes, each once, from the journals of the pipeline's runs."""
    wanted = {note.statement: note for note in reversed(notes)}
    found: dict[str, bytes] = {}
    for other in map(journal.beside, journal.runs() if wanted else ()):
        for name in other.names():
            if not name.endswith(NOTE):
                continue
            note = entry_from_json(other.read_json(name))
            if isinstance(note, Note) and wanted.get(note.statement) == note:
                stem = name.removesuffix(NOTE)
                called = f"{NOTES}run-{note.receipt.run}-{stem}"
                found |= {f"{called}{NOTE}": other.read(name)} | _signed(other, stem, called)
    return found


def _signed(journal: RunJournal, name: str, called: str) -> dict[str, bytes]:
    """A statement under another name, and the public keys of its signatures."""
    keys = {key_name(key): journal.read(f"{KEYS}{key}.pem") for key in journal.keys_of(name)}
    return {f"{called}{ENVELOPE}": journal.read(f"{name}{ENVELOPE}")} | keys
