"""What a record says about its training: all that it takes to train again and to compare."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from drl.artifact import Artifact
from drl.errors import DrlError, Falsified, InputError
from drl.evaluation.equivalence import seed_margin
from drl.record.files import RecordFiles
from drl.record.roots import artifacts_root
from drl.spec import PipelineSpec
from drl.training import chain
from drl.training.chain import Link
from drl.verification.findings import Findings, Label
from drl.verification.record import POLICY_FILES, Record
from drl.verification.signatures import check_envelopes
from drl.verification.trust import TrustPolicy
from drl.verification.verify import Means, verify_record

_REMEDY = "ask for a complete record of the run; `drl verify` says what is wrong with this one"
_DATA = ("train.parquet", "validation.parquet", "test.parquet", "test.npy", "demonstrations.parquet")


@dataclass(frozen=True)
class RecordedTraining:
    """A training as its record describes it; statements whose signatures hold, files whose digests hold.

    Attributes:
        record: the record.
        seeds: one for each policy.
        released: index of the released one.
        roots: model root of each seed's policy.
        chains: the checkpoints of each seed.
        means: mean validation return of each seed's policy.
    """

    record: Record
    seeds: tuple[int, ...]
    released: int
    roots: tuple[str, ...]
    chains: dict[int, list[Link]]
    means: tuple[float, ...]

    @property
    def spec(self) -> PipelineSpec:
        """The frozen pipeline."""
        return self.record.spec

    @property
    def resolved(self) -> dict[str, Any]:
        """The frozen run."""
        return self.record.resolved

    @property
    def root(self) -> str:
        """Model root of the released policy."""
        return self.roots[self.released]

    @property
    def model(self) -> str:
        """Name of the registered model."""
        return self.spec.registration.model

    @property
    def release(self) -> str:
        """Digest of the release statement's envelope."""
        return self.record.statement("release").sha256

    @property
    def keys(self) -> tuple[str, ...]:
        """Ids of the keys that signed the release."""
        return self.record.statement("release").keys

    @cached_property
    def margin(self) -> float | None:
        """How far the recipe scatters when only the seed changes; None when the record cannot tell."""
        return seed_margin(list(self.means))

    @property
    def archive(self) -> Artifact | None:
        """The source archive, where the run had one."""
        named = self.resolved["code"].get("archive")
        return None if named is None else Artifact.from_json(named)

    @property
    def reported_packages(self) -> dict[str, str]:
        """Versions of the packages that matter most, as the training step itself reported them."""
        byproducts = self.record.statement("train").predicate["runDetails"]["byproducts"]
        found: dict[str, str] = byproducts[-1]["annotations"].get("claimed_system", {}).get("packages", {})
        return found

    def prepared(self) -> list[Artifact]:
        """The files of the data step that training and evaluation read, whether or not they travelled."""
        named = ((name, self.record.evidence.get(f"prepare/{name}")) for name in _DATA)
        return [Artifact(name, a.sha256, a.size) for name, a in named if a is not None]

    def iterations(self) -> list[int]:
        """Iterations after which every seed has a checkpoint, in order."""
        return sorted(set.intersection(*({link.iteration for link in c} for c in self.chains.values())))


def open_training(files: RecordFiles, scratch: Path, trust: TrustPolicy | None) -> RecordedTraining:
    """Verify the record up to its decision, without the ledger, and read what a reproduction rests on.

    Args:
        files: of the record; must stay open while the training is used.
        scratch: an empty folder for copies of its files.
        trust: whom the caller believes; without it signatures hold under the record's own keys.

    Raises:
        Falsified: a check found something false, or parts of the record contradict each other.
        InputError: something has not the form of its kind.
    """
    found = verify_record(files, Means(trust=trust, offline=True, level=2)).findings
    false = [finding for finding in found if finding.label == Label.FALSE]
    if false:
        raise Falsified(
            "\n".join(f"check {f.check}: {f.sentence}" for f in false),
            remedy="do not run this code; `drl verify` tells more",
        )
    record = Record(files, scratch)
    check_envelopes(record, Findings(), trust)
    try:
        return _read(record)
    except DrlError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise Falsified(f"the record is not of its format: {error!r}"[:300], remedy=_REMEDY) from error


def _read(record: Record) -> RecordedTraining:
    asked = record.statement("train").predicate["buildDefinition"]["externalParameters"]["parameters"]
    seeds = tuple(_seed(text) for text in asked["seeds"])
    selection = record.json("train/selection.json")
    released, means = int(selection["released"]), tuple(float(m) for m in selection["means"])
    roots = tuple(_policy_root(record, index) for index in range(len(seeds)))
    made = record.made("train/checkpoints.jsonl")
    chains = chain.by_seed(record.read(made), where="train/checkpoints.jsonl")
    if set(chains) != set(seeds) or len(means) != len(seeds) or not 0 <= released < len(seeds):
        raise Falsified("seeds, checkpoints and selection do not belong together", remedy=_REMEDY)
    if roots[released] != record.statement("release").predicate["policy"]["root"]:
        raise Falsified("the released policy is not that of the selected seed", remedy=_REMEDY)
    return RecordedTraining(record, seeds, released, roots, chains, means)


def _policy_root(record: Record, index: int) -> str:
    files = (record.made(f"train/seed-{index}/{name}") for name in POLICY_FILES)
    return artifacts_root(
        Artifact(name, a.sha256, a.size) for name, a in zip(POLICY_FILES, files, strict=True)
    )


def _seed(text: Any) -> int:
    seed = int(text)
    if not 0 <= seed < 2**31:
        raise InputError(f"seed {seed} in the record", remedy=_REMEDY)
    return seed
