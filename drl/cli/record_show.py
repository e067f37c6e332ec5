"""``drl record show``: what a record says it is, in a dozen lines; nothing of it is checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from drl.errors import Falsified
from drl.record.dsse import parse_canonical, read_unverified
from drl.record.export import ACCOUNT, ENVELOPE, RELEASE, blob_name, named_files
from drl.record.files import RecordFiles


def contents(files: RecordFiles) -> Iterator[str]:
    """Lines for a person, without control characters.

    Raises:
        Falsified: it is not a record, or a part of it is not what it should be.
    """
    try:
        for line in _contents(files):
            yield "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise Falsified(
            f"not a record as docs/record.md describes it: {error!r}", remedy="see what drl verify says of it"
        ) from error


def _contents(files: RecordFiles) -> Iterator[str]:
    names = files.names()
    statement = read_unverified(files.read(RELEASE))
    release, subject = statement["predicate"], statement["subject"][0]
    resolved = parse_canonical(files.read("resolved.json"), what="resolved.json")
    yield f"run         {resolved['run']}"
    yield f"model       {subject['name']} {subject['digest']['sha256']}"
    yield f"verdict     {release['verdict']}: {release['reason']}"
    for name in names:
        if name.endswith(ENVELOPE):
            envelope = parse_canonical(files.read(name), what=name)
            signers = ", ".join(str(s["keyid"])[:16] for s in envelope["signatures"])
            yield f"statement   {name.removesuffix(ENVELOPE)}, signed by {signers}"
    yield from _files(files, release)
    if ACCOUNT in names:
        account = parse_canonical(files.read(ACCOUNT), what=ACCOUNT)
        yield f"account     {len(account['entries'])} ledger entries up to block {account['head']['number']}"
    yield f"in all      {len(names)} files, {sum(files.size(name) for name in names) / 1e6:.1f} MB"
    yield "Nothing of this is checked yet: drl verify does that."


def _files(files: RecordFiles, release: dict[str, Any]) -> Iterator[str]:
    names = set(files.names())
    for artifact in named_files(release):
        where = "" if blob_name(artifact.sha256) in names else "  (not in this record)"
        yield f"file        {artifact.sha256[:16]}  {artifact.size:>12,}  {artifact.name}{where}"
