"""Champions for drl-api on a running stack: real records, on its chain, in its store, in its registry.

A record is built as ``record_factory`` builds it, with the stack's own ledger; then its files go where the
operators of a run would have put them, a version is registered, and the alias moves.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
from record_factory import Builder, Lies, signer, trust_text
from record_factory import _write as write_linear

from drl.artifact import Artifact
from drl.champions.rollback import Champions, roll_back
from drl.digest import sha256_file
from drl.policy.root import FILES
from drl.record.dsse import read_unverified
from drl.record.keys import RoleSigner
from drl.record.predicates import revocation_statement
from drl.serving.proof import Target
from drl.steps.journal import RunJournal
from drl.stores.chain import ChainSettings, Ledger
from drl.stores.locks import exclusive
from drl.stores.registry import ModelRegistry
from drl.stores.s3 import ArtifactStore
from drl.stores.settings import RegistrySettings, S3Settings
from drl.verification.ledger import RUN_LEDGER_CODE

ANGLE_ONLY = 1.0
"""Direction of a policy that looks at the pole's angle alone: better than chance, worse than all above it."""


class ServedBuilder(Builder):
    """Builds a record whose champion is a version that was really made.

    Args:
        champion: that version, None for the first.
    """

    def __init__(self, folder: Path, lies: Lies, champion: Made | None) -> None:
        super().__init__(folder, lies)
        self._champion = champion

    def _policy(self, folder: Path, direction: float) -> Path:
        if direction == ANGLE_ONLY:
            return write_linear(folder, np.array([[0, 0, -1, 0], [0, 0, 1, 0]], np.float32))
        return super()._policy(folder, direction)

    def _champions_run(self, files: list[Artifact]) -> dict[str, Any]:
        assert self._champion is not None
        earlier = self._champion.builder
        return {
            "version": self._champion.version,
            "run_key": self._champion.run,
            "release": earlier.made.release,
            "promotion": sha256_file(earlier.folder / "promotion.dsse.json"),
        }


@dataclass(frozen=True)
class Made:
    """One version of the model.

    Attributes:
        direction: of its weights.
        version: in the registry.
        builder: of its record; its ``folder`` is the record.
        policy: folder with the three files.
    """

    direction: float
    version: int
    builder: Builder
    policy: Path

    @property
    def root(self) -> str:
        return self.builder.made.root

    @property
    def run(self) -> str:
        return str(self.builder.resolved["run"])


class ServedModel:
    """One registered model of one pipeline, under names of its own.

    Args:
        environment: the stack's variables, which are also set for this process.
        folder: for records and policies.
    """

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.name = f"served{secrets.token_hex(4)}"
        self.versions: list[Made] = []
        self._folder = folder
        self._connect = partial(psycopg2.connect, environment["DRL_POSTGRES_URI"])
        self.settings = S3Settings.from_environment()
        self.store = ArtifactStore(self.settings)
        self.documents = ArtifactStore(replace(self.settings, staging=self.settings.sealed))
        self.registry = ModelRegistry(RegistrySettings.from_environment())
        self.ledger = Ledger(ChainSettings.from_environment(), self._connect)
        self.ledger.deploy()

    def make(self, direction: float, *, against: Made | None = None, promote: bool = True) -> Made:
        """Train, so to speak, release, register and promote another version; its alias moves.

        Args:
            direction: of its weights: ``ANGLE_ONLY``, or more for a good one.
            against: the champion, None for none.
            promote: whether the alias moves; the promotion is signed and noted in any case.
        """
        version = len(self.versions) + 1
        earlier = self.ledger.account(self.name)
        lies = Lies(
            chain=self.ledger,
            directions=(-1.0, direction),
            champion=against.direction if against else None,
            spec=lambda spec: spec.update(pipeline=self.name, registration={"model": self.name}),
            resolved=lambda resolved: resolved.update(run=f"{self.name}/run-{version}"),
            promotion=lambda statement: statement["predicate"].update(version=str(version)),
            earlier=lambda _: earlier,
        )
        builder = ServedBuilder(self._folder / f"record-{version}", lies, against)
        builder.build()
        made = Made(direction, version, builder, self._folder / f"policy-{version}")
        self._publish(made)
        self._register(made)
        self.versions.append(made)
        if promote:
            self.move(version)
        return made

    def move(self, version: int | None) -> None:
        """Point the alias to a version, whatever the ledger says."""
        self.registry.set_champion(self.name, version, expected=self.registry.alias(self.name))

    def roll_back(self, reason: str) -> None:
        """As ``drl champion rollback`` does."""
        key = signer("release")
        roll_back(
            Champions(self.registry, self.ledger, self.documents),
            self.name,
            to=None,
            reason=reason,
            signer=RoleSigner("release", key, [key.public_key]),
            sealing=self.store,
            exclusive=partial(exclusive, self._connect),
        )

    def revoke(self, made: Made) -> None:
        """Revoke a release: signed, kept and noted."""
        statement = revocation_statement(
            "release",
            name="release.dsse.json",
            sha256=made.builder.made.release,
            reason="found harmful",
            since="2026-11-24T10:00:00+00:00",
        )
        key = signer("release")
        journal = RunJournal(self.documents, made.run)
        stored = journal.sign_once(
            "revocation", lambda: statement, RoleSigner("release", key, [key.public_key])
        )
        self.store.seal_bytes(journal.read(stored.name), stored.name, retain_days=1)
        note = self.ledger.note(self.name, made.builder.run, stored.sha256)
        journal.once("revocation.note.json", note.to_json)

    def target(self, made: Made) -> Target:
        return Target(self.name, made.version, made.root, made.run)

    def trust(self, level: int = 1) -> Path:
        """A trust policy for these records."""
        receipt = self.versions[0].builder.entry.receipt
        ledger = (
            f"{{chain_id: {receipt.chain_id}, genesis: {receipt.genesis}, contract: {receipt.contract}, "
            f"code_hash: {RUN_LEDGER_CODE}, writers: [{receipt.writer}], finality: instant}}"
        )
        keys = "".join(
            f"\n  - {{keyid: {signer(role).public_key.keyid}, roles: [{roles}]}}"
            for role, roles in (("steps", "steps"), ("release", "release, revocation"))
        )
        path = self._folder / f"trust-{level}.yaml"
        path.write_text(
            trust_text(ledger=ledger, keys=keys, pipelines=f"[{self.name}]", minimum=f"{{level: {level}}}")
        )
        return path

    def _publish(self, made: Made) -> None:
        """Put a record's files where a run's operators put them."""
        record, journal = made.builder.folder, RunJournal(self.documents, made.run)
        blobs = []
        for path in sorted(p for p in record.rglob("*") if p.is_file()):
            name = path.relative_to(record).as_posix()
            if name.startswith("sha256/"):
                blobs.append(self.store.put(path, path.name))
            elif name != "account.json":
                journal.write(name.removeprefix("notes/"), path.read_bytes())
                if name.endswith(".dsse.json"):
                    self.store.seal_bytes(path.read_bytes(), path.name, retain_days=1)
        self.store.seal(blobs, retain_days=1)
        made.policy.mkdir()
        release = read_unverified((record / "release.dsse.json").read_bytes())["predicate"]
        for resource in release["policy"]["resources"]:
            blob = record / "sha256" / resource["digest"]["sha256"]
            (made.policy / resource["name"]).write_bytes(blob.read_bytes())
        assert sorted(p.name for p in made.policy.iterdir()) == sorted(FILES)

    def _register(self, made: Made) -> None:
        run_id = self.registry.start_run(self.name, made.run, {})
        version = self.registry.register_onnx(
            self.name, made.policy, run_id, tags={"drl.run_key": made.run, "drl.model_root": made.root}
        )
        assert version == made.version
