"""``drl record export``: a run's documents, its sealed files and the ledger's account, in one zip."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from drl.artifact import Artifact
from drl.champions.compared import champion_documents
from drl.cli.show import records
from drl.digest import canonical_json
from drl.errors import InputError
from drl.record.dsse import read_unverified
from drl.record.export import (
    ACCOUNT,
    ENVELOPE,
    RELEASE,
    Piece,
    account_json,
    blob_name,
    document_names,
    key_name,
    named_files,
    travelling_files,
    write_zip,
)
from drl.record.ledger import Entry, entry_from_json
from drl.steps.journal import KEYS, RunJournal, pipeline_of
from drl.stores.ledger_view import ledger_at
from drl.stores.s3 import ArtifactStore
from drl.stores.settings import S3Settings, read_variable
from drl.verification.ledger_view import LedgerAddress, account_until_now


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: of the zip.
        run: key of the run.
        files: how many files are in it.
        size: of the zip, in bytes.
        staying: names of the files that the release names and that did not travel.
    """

    path: Path
    run: str
    files: int
    size: int
    staying: tuple[str, ...]


def export_record(target: str, version: int | None, out: Path | None, *, with_data: bool) -> Exported:
    """Write the record of a run.

    Args:
        target: key of a run, or a registered model.
        version: of the model; None for its champion.
        out: the zip; None for ``MODEL-vN.record.zip`` here.
        with_data: let training data travel too.

    Raises:
        InputError: no such run or version, a run that has not ended, or data that may not be handed on.
        StoreError: the store or the chain is out of reach.
    """
    journal = RunJournal(records(), run_of(target, version))
    names = journal.names()
    release = read_unverified(journal.read(RELEASE))["predicate"] if RELEASE in names else None
    if release is None:
        raise InputError(f"{journal.run}: not sealed", remedy="export a run that has ended; see: drl show")
    resolved = journal.read_json("resolved.json")
    documents = {new: journal.read(old) for old, new in document_names(names, release).items()}
    documents |= _keys(journal, names, documents)
    entries, head = _account(journal)
    documents |= champion_documents(journal, entries)
    documents[ACCOUNT] = canonical_json(account_json(entries, head))
    files = travelling_files(resolved, release, with_data=with_data)
    registered = journal.read_json("registration.json")
    path = out or Path(f"{registered['model']}-v{registered['version']}.record.zip")
    with tempfile.TemporaryDirectory() as folder:
        pieces = [_document(name, data) for name, data in documents.items()]
        pieces += [_file(ArtifactStore(S3Settings.from_environment()), a, Path(folder)) for a in files]
        size = write_zip(path, pieces)
    travelling = {a.sha256 for a in files}
    staying = sorted({a.name for a in named_files(release) if a.sha256 not in travelling})
    return Exported(path, journal.run, len(pieces), size, tuple(staying))


def run_of(target: str, version: int | None) -> str:
    """Key of the run that ``target`` means: the key itself, or the run that made a model's version."""
    if "/" in target:
        return target
    return _champions_run(target) if version is None else _versions_run(target, version)


def _champions_run(model: str) -> str:
    from drl.stores.registry import ModelRegistry
    from drl.stores.settings import RegistrySettings

    champion = ModelRegistry(RegistrySettings.from_environment()).champion(model)
    if champion is None:
        raise InputError(
            f"model {model!r} has no champion", remedy="give --version N, or the key of a run: drl show"
        )
    return champion.run_key


def _versions_run(model: str, version: int) -> str:
    documents = records()
    for entry in documents.list("index/"):
        run = documents.read(entry).decode()
        registered = documents.read_json(f"journal/{run}/registration.json")
        if registered and (registered["model"], registered["version"]) == (model, version):
            return run
    raise InputError(f"no run made {model} version {version}", remedy="see MLflow's list of versions")


def _keys(journal: RunJournal, names: list[str], documents: dict[str, bytes]) -> dict[str, bytes]:
    """The public key of every signature."""
    found: dict[str, bytes] = {}
    for name in documents:
        if name.endswith(ENVELOPE):
            for key_id in journal.keys_of(Path(name).name.removesuffix(ENVELOPE)):
                kept = f"{KEYS}{key_id}.pem"
                if kept not in names:
                    raise InputError(
                        f"{journal.run}: the public key {key_id} of {name} was not kept",
                        remedy="the run was made before public keys were kept: run the pipeline again",
                    )
                found[key_name(key_id)] = journal.read(kept)
    return found


def _account(journal: RunJournal) -> tuple[list[Entry], dict[str, Any]]:
    """Everything that the ledger that opened the run knows about the pipeline, up to its newest block."""
    receipt = entry_from_json(journal.read_json("opening.json")["entry"]).receipt
    first_block = int(read_variable("DRL_EVM_FIRST_BLOCK", default="0"))
    address = LedgerAddress(receipt.contract, receipt.writer, pipeline_of(journal.run), "instant")
    return account_until_now(ledger_at(read_variable("DRL_EVM_RPC_URL"), first_block)(address))


def _document(name: str, data: bytes) -> Piece:
    return Piece(name, len(data), partial(io.BytesIO, data))


def _file(store: ArtifactStore, artifact: Artifact, folder: Path) -> Piece:
    """A file that is fetched from the sealed bucket when its turn comes, and not kept."""

    @contextmanager
    def fetched() -> Iterator[BinaryIO]:
        plain = Artifact(artifact.sha256, artifact.sha256, artifact.size)
        path = store.get(plain, folder, sealed=True)
        with path.open("rb") as stream:
            yield stream
        path.unlink()

    return Piece(blob_name(artifact.sha256), artifact.size, fetched)
