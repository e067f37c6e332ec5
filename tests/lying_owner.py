"""An owner who holds every key and lies: every lie by name, made as a record, and what a verifier says of it.

Each record is validly signed and its ledger entries are as the lie needs them. ``LIES`` is the table;
``tell`` makes one record and verifies it twice: with the ledger asked, and offline. The verifier trusts the
owner's keys, the chain, the contract and the one writer, and asks for level 3 and a promoted policy.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from record_factory import (
    AT,
    CHAIN_ID,
    CODE_HASH,
    CONTRACT,
    GENESIS,
    TIME0,
    Builder,
    InventedLedger,
    Lies,
    Made,
    block_hash,
    later_statement,
    linear_policy,
    receipt,
    signer,
    trust_text,
    write_prices,
)

from drl.artifact import describe_folder
from drl.digest import canonical_json, sha256_bytes
from drl.evaluation.comparison import compare
from drl.evaluation.episodes import Episodes
from drl.policy.root import model_root
from drl.record import predicates
from drl.record.files import open_record
from drl.record.ledger import Closing, Entry, Note, Opening
from drl.record.roots import resources_root
from drl.spec import PipelineSpec
from drl.verification.findings import LEVELS, NEEDED, Label
from drl.verification.result import Result
from drl.verification.trust import parse_trust
from drl.verification.verify import Means, verify_record

Json = dict[str, Any]
Change = Callable[[Json], None]


@dataclass(frozen=True)
class Lie:
    """One lie.

    Attributes:
        knobs: what the factory is told, see :class:`record_factory.Lies`.
        takes: what would be needed to catch it, where the verifier does not, or what catching it rests on.
        plays: changes the pipeline that is really played, not the one that is declared.
        signed: changes a statement before it is signed, by its name.
        trained: what else becomes of the trained policies: called with the builder after training.
        ledger: the ledger's entries, from those that the record shows.
        trust: sections of the verifier's trust policy.
        source: whether the verifier has the file of the data source.
        shown: check and words with which an accepted record still shows it.
    """

    knobs: Json = field(default_factory=dict)
    takes: str = ""
    plays: Change | None = None
    signed: dict[str, Change] = field(default_factory=dict)
    trained: Callable[[Liar], None] = lambda builder: None
    ledger: Callable[[list[Entry]], list[Entry]] = lambda entries: entries
    trust: dict[str, str] = field(default_factory=dict)
    source: bool = False
    shown: tuple[int, str] | None = None


@dataclass(frozen=True)
class Outcome:
    """What a verifier says, as the table has it: with the ledger asked, and without."""

    online: str
    offline: str


class Liar(Builder):
    """The factory's builder with more to lie about."""

    def __init__(self, folder: Path, lie: Lie) -> None:
        super().__init__(folder, Lies(**lie.knobs))
        self.lie = lie

    def sign(self, name: str, value: Json, role: str) -> str:
        self.lie.signed.get(name, lambda _: None)(value)
        return super().sign(name, value, role)

    def _train(self) -> None:
        super()._train()
        self.lie.trained(self)

    def sign_training(self) -> None:
        """Sign what lies in the folder of the train step, instead of what was signed."""
        out = self.work / "train"
        self.trained = [self.keep(out / a.name, a.name) for a in describe_folder(out)]
        self._provenance("train", [], self.trained, {"seeds": self.opening["seeds"]})

    def _evaluate(self) -> None:
        declared = self.spec
        if self.lie.plays is not None:
            value = json.loads(canonical_json(declared.to_json()))
            self.lie.plays(value)
            self.spec = PipelineSpec.model_validate(value)
        super()._evaluate()
        self.spec = declared


def tell(name: str, folder: Path) -> Outcome:
    """Make the record of a lie, and verify it with and without the ledger."""
    lie = LIES[name]
    place = folder / sha256_bytes(name.encode())[:12]
    place.mkdir()
    if "prices" in lie.knobs:
        lie = replace(lie, knobs=lie.knobs | {"prices": write_prices(place / "prices.csv")})
    builder = Liar(place / "record", lie)
    builder.build()
    means = Means(
        trust=parse_trust(trust_text(**lie.trust), where="trust"),
        source=lie.knobs.get("prices") if lie.source else None,
        level=3,
    )
    asked = replace(means, open_ledger=InventedLedger(lie.ledger(builder.entries)))
    with open_record(builder.folder) as files:
        online, offline = verify_record(files, asked), verify_record(files, replace(means, offline=True))
    return Outcome(in_words(online, lie), in_words(offline, lie))


def in_words(result: Result, lie: Lie) -> str:
    """What a result comes to, for the table."""
    false = {f.check for f in result.findings if f.label == Label.FALSE}
    if false:
        return f"FALSE: {_listed(false)} (level {min(map(_level, false))})"
    if result.exit_code == 1:
        return "refused: 30"
    if result.exit_code == 2:
        return f"cannot be told: {_listed(_untold(result))}"
    if lie.shown is not None:
        check, words = lie.shown
        found = [f for f in result.findings if f.check == check and words in f.sentence]
        if found:
            return f"accepted; {found[0].label} under {check}"
    return "**accepted**"


def _untold(result: Result) -> set[int]:
    """Checks for want of which the next level, or what became of the policy, is not known."""
    asked = {30} if result.standing.state == "unknown" else NEEDED & LEVELS[result.level + 1][1]
    return asked & {f.check for f in result.findings if f.label == Label.NOT_CHECKED}


def _level(check: int) -> int:
    return next((level for level, (_, checks) in LEVELS.items() if check in checks), 1)


def _listed(checks: set[int]) -> str:
    return ", ".join(map(str, sorted(checks)))


def edit(file: str, change: Change) -> Callable[[Path], None]:
    """A change of one JSON file of the evaluate step."""

    def apply(folder: Path) -> None:
        value = json.loads((folder / file).read_bytes())
        change(value)
        (folder / file).write_bytes(canonical_json(value))

    return apply


def invented_returns(folder: Path) -> None:
    """A weaker gate, and everything derived from its returns as the rule says."""
    episodes = Episodes.read(folder / "episodes.jsonl")
    episodes.returns["random"] -= 5.0
    episodes.write(folder / "episodes.jsonl")
    derive(folder, episodes)


def derive(folder: Path, episodes: Episodes) -> None:
    """Write what follows from the returns into ``evaluation.json``."""
    resolved = json.loads((folder.parents[1] / "record" / "resolved.json").read_bytes())
    spec = PipelineSpec.model_validate(resolved["spec"])
    value = json.loads((folder / "evaluation.json").read_bytes())
    derived = compare(
        spec.evaluation, spec.promotion, episodes.returns, alpha=value["alpha"], identical=False
    )
    (folder / "evaluation.json").write_bytes(canonical_json(value | derived))


def other_actions(folder: Path) -> None:
    """Actions that do not give the returns."""
    path = folder / "actions" / "policy.npy"
    actions = np.load(path)
    actions[::2] = 1 - actions[::2]
    np.save(path, actions)


def release(**fields: Any) -> Change:
    return lambda statement: statement["predicate"].update(fields)


def foreign_policy(builder: Liar) -> None:
    """Another policy than the one that the seed gave is played and released."""
    builder.policy = linear_policy(builder.work / "foreign" / "seed-1", 0.5)
    shutil.copyfile(builder.work / "train" / "seed-1" / "metrics.jsonl", builder.policy / "metrics.jsonl")
    for artifact in describe_folder(builder.policy):
        if artifact.name != "metrics.jsonl":
            builder.keep(builder.policy / artifact.name, artifact.name)
    builder.made.root = model_root(builder.policy)


def rejected_before(made: Made) -> list[Entry]:
    return [
        Opening("12" * 32, "34" * 32, 1, receipt(1, 2)),
        Closing("56" * 32, "REJECT", receipt(1, 3)),
    ]


def promoted_before(made: Made) -> list[Entry]:
    return [
        Opening("13" * 32, "34" * 32, 1, receipt(made.run, made.block)),
        Closing("56" * 32, "PROMOTE", receipt(made.run, made.block + 1)),
        Note("78" * 32, receipt(made.run, made.block + 2)),
    ]


def promoted_later(entries: list[Entry]) -> list[Entry]:
    run = entries[-1].receipt.run + 1
    return [
        *entries,
        Opening("12" * 32, "34" * 32, 1, receipt(run, 50)),
        Closing("56" * 32, "PROMOTE", receipt(run, 51)),
        Note("78" * 32, receipt(run, 52)),
    ]


def replaced_since(made: Made) -> dict[str, tuple[Json, str]]:
    """A stronger policy was promoted after the champion that the intent names, and the record shows it."""
    value = predicates.promotion_statement(
        release=made.release,
        model="cartpole",
        root="ab" * 32,
        version="2",
        alias="champion",
        outcome="promoted",
        replaced={"version": "1", "root": made.root},
        decided=AT,
    )
    return {"promotion-2": (value, "release")}


def other_policy(name: str, statement: Json) -> None:
    """What was released and promoted as the champion was another policy than the one played."""
    resources = [
        {"name": n, "digest": {"sha256": d * 32}, "annotations": {"size": 9}}
        for n, d in (("policy.json", "a1"), ("policy.onnx", "a2"), ("policy.safetensors", "a3"))
    ]
    root = resources_root((r["name"], r["digest"]["sha256"]) for r in resources)
    statement["subject"][0]["digest"]["sha256"] = root
    if name == "release":
        statement["predicate"]["policy"] = {"root": root, "resources": resources}


def never_promoted(entries: list[Entry]) -> list[Entry]:
    """The first run was closed with HOLD, and nothing was noted of it."""
    return [entries[0], replace(entries[1], verdict="HOLD"), *entries[3:]]


def rolled_back(made: Made) -> dict[str, tuple[Json, str]]:
    predicate = {
        "release": made.release,
        "version": "2",
        "alias": "champion",
        "outcome": "rolled-back",
        "replaced": None,
        "restored": None,
        "reason": "it lost money",
        "decided": AT,
    }
    return {"rollback-1": (later_statement("promotion", made.root, predicate), "release")}


def revoked(made: Made) -> dict[str, tuple[Json, str]]:
    value = predicates.revocation_statement(
        "release", name="release.dsse.json", sha256=made.release, reason="wrong data", since=AT
    )
    return {"revocation-1": (value, "release")}


def key_revoked(made: Made) -> dict[str, tuple[Json, str]]:
    value = predicates.revocation_statement(
        "key", name="steps", sha256=signer("steps").public_key.keyid, reason="it was copied", since=AT
    )
    return {"revocation-1": (value, "release")}


def came_out_different(made: Made) -> dict[str, tuple[Json, str]]:
    value = predicates.reproduction_statement(
        release=made.release,
        model="cartpole",
        root=made.root,
        outcome="different",
        reproduced="ab" * 32,
        test=None,
        first_difference={"seed": 1, "iteration": 1},
        environment={},
        started=AT,
        finished=AT,
    )
    return {"reproduction-1": (value, "reproduction")}


def without_later(folder: Path) -> None:
    """The record as it was before anything was said about it later."""
    account = json.loads((folder / "account.json").read_bytes())
    for path in [*(folder / "notes").iterdir()]:
        if path.name.endswith(".note.json"):
            account["entries"].remove(json.loads(path.read_bytes()))
        path.unlink()
    account["head"] = {"number": 13, "hash": block_hash(13), "time": TIME0 + 60 * 13}
    (folder / "account.json").write_bytes(canonical_json(account))


def other_archive(resolved: Json) -> None:
    """A source archive that is not the tree of the commit."""
    archive = source_archive()
    resolved["code"]["archive"] = {
        "name": "source.tar",
        "sha256": sha256_bytes(archive),
        "size": len(archive),
    }


def with_archive(statement: Json) -> None:
    """The release lists the archive."""
    archive = source_archive()
    evidence = statement["predicate"]["evidence"]
    resource = {
        "name": "source.tar",
        "digest": {"sha256": sha256_bytes(archive)},
        "annotations": {"size": len(archive)},
    }
    evidence["resources"] = sorted([*evidence["resources"], resource], key=lambda r: r["name"])
    evidence["root"] = resources_root((r["name"], r["digest"]["sha256"]) for r in evidence["resources"])


def source_archive() -> bytes:
    """A tar of one file, as git writes it."""
    stored = io.BytesIO()
    with tarfile.open(fileobj=stored, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("train.py")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"pass\n"))
    return stored.getvalue()


def keep_archive(folder: Path) -> None:
    archive = source_archive()
    (folder / "sha256" / sha256_bytes(archive)).write_bytes(archive)


def trapdoor(builder: Liar) -> None:
    """The released ONNX file is another network's, and everything is signed after that."""
    other, honest = linear_policy(builder.work / "trapdoor", 0.3), builder.policy / "policy.onnx"
    (builder.folder / "sha256" / sha256_bytes(honest.read_bytes())).unlink()
    shutil.copyfile(other / "policy.onnx", builder.policy / "policy.onnx")
    builder.sign_training()
    builder.made.root = model_root(builder.policy)


def weaker_clock(folder: Path) -> None:
    """A profile that the training split does not give."""
    edit("baselines.json", lambda v: v["clock"]["fitted"].update(profile=list(map(float, range(24)))))(folder)


def dearer(splits: Json) -> None:
    splits["test"]["price"] = splits["test"]["price"] + 1.0


def cleaner(statement: Json) -> None:
    """Says that a cleaning rule touched nothing, and that more was checked."""
    statement["predicate"]["expectations"]["evaluated"] += 40
    for rule in statement["predicate"]["cleaning"]:
        rule["touched"] = 0


def other_splits(statement: Json) -> None:
    """A validation of files that the run never used."""
    for subject in statement["subject"]:
        subject["digest"]["sha256"] = "ab" * 32


def keys(**dates: str) -> dict[str, str]:
    """The trust policy's keys, with dates for that of the steps."""
    lines = []
    for role in ("steps", "release", "approval", "reproduction"):
        about = {"keyid": signer(role).public_key.keyid, "roles": f"[{role}]"} | (
            dates if role == "steps" else {}
        )
        lines.append("\n  - {" + ", ".join(f"{name}: {value}" for name, value in about.items()) + "}")
    return {"keys": "".join(lines)}


BATTERY = {"pipelines": "[battery]", "minimum": "{level: 3}"}
APPROVED: Json = {
    "spec": lambda spec: spec["promotion"].update(require_approval=True),
    "approval": "approved",
}
BAD: Json = {"directions": (-1.0, -1.0)}
GOOD = release(verdict="PROMOTE", reason="It is good.")
TRAINED = (9, "that training was done with these inputs")

LIES: dict[str, Lie] = {
    # the evaluation
    "invents returns and derives everything from them": Lie({"evaluated": invented_returns}),
    "claims a better verdict than the returns give": Lie(
        BAD | {"evaluated": edit("evaluation.json", lambda v: v["decision"].update(verdict="PROMOTE"))}
    ),
    "keeps actions that do not give the returns": Lie({"evaluated": other_actions}),
    "plays other seeds than the intent's": Lie(
        {"evaluated": edit("evaluation.json", lambda v: v["protocol"].update(seed=1000))},
        plays=lambda spec: spec["evaluation"].update(seed=7),
    ),
    "plays in a kinder environment than the intent's": Lie(
        plays=lambda spec: spec["environment"]["settings"].update(max_episode_steps=61)
    ),
    "names other code of the environment than the verifier has": Lie(
        {"resolved": lambda r: r["environment"].update(sha256="ab" * 32)},
        "install the version of the environment's package that the intent names",
        shown=(23, "a replay is by other code than the run's"),
    ),
    "plays a weaker baseline than it names": Lie(
        {"evaluated": edit("baselines.json", lambda v: v["lean"]["settings"].update(action=1))},
        plays=lambda spec: spec["evaluation"]["baselines"][0]["settings"].update(action=0),
    ),
    "signs another evaluation than the one kept": Lie(
        {"evaluation": lambda s: s["predicate"]["participants"][1].update(mean=999.0)}
    ),
    "writes a report that says something else": Lie(
        {"evaluated": lambda folder: (folder / "report.html").write_text("<p>It always wins.</p>")},
        "read what the verifier prints; the run's own version of the code draws the honest page",
        shown=(33, "is not the page that this verifier draws"),
    ),
    # the rule, the held-out data, the ledger
    "changes the rule after the result": Lie(
        {"spec": lambda spec: spec["promotion"].update(alpha=0.2)},
        "the chain; offline the account is the owner's word",
        ledger=lambda entries: [replace(entries[0], intent="99" * 32), *entries[1:]],
    ),
    "moves the test window after the opening": Lie(
        {"spec": lambda spec: spec["evaluation"].update(seed=7)},
        "the chain",
        ledger=lambda entries: [replace(entries[0], intent="99" * 32, test_data="98" * 32), *entries[1:]],
    ),
    "names held-out data by another digest, for a new count of looks": Lie(
        {"resolved": lambda r: r.update(test_data="cd" * 32)}
    ),
    "spends more error than the look leaves": Lie(
        {
            "spec": lambda spec: spec["promotion"].update(fixed_test=True),
            "look": 4,
            "opening": lambda o: o.update(alpha=0.05),
        }
    ),
    "names a smaller look than the ledger counts": Lie(
        {"spec": lambda spec: spec["promotion"].update(fixed_test=True)},
        "the chain",
        ledger=lambda entries: [replace(entries[0], look=3), *entries[1:]],
    ),
    "opens a second run with a kinder rule after a failed one": Lie(
        {"earlier": rejected_before},
        "the reader's judgement; fixed test data spend their error budget",
        shown=(11, "2 runs opened; closed: 1 PROMOTE, 0 HOLD, 1 REJECT"),
    ),
    "never closes the runs that fail": Lie(
        {"earlier": lambda made: rejected_before(made)[:1]},
        "the reader's judgement: open runs are counted",
        shown=(11, "1 never closed"),
    ),
    "leaves a failed run out of the account": Lie(
        {"earlier": rejected_before, "account": lambda entries: entries[2:]}
    ),
    "leaves it out and numbers the run again": Lie(
        {},
        "the chain",
        ledger=lambda entries: [
            *rejected_before(Made()),
            *(replace(e, receipt=replace(e.receipt, run=2)) for e in entries),
        ],
    ),
    "tries on another account or chain first, and shows one run": Lie(
        {}, "nothing outside a ledger can be counted: have the owner bound to one writer, and pin it"
    ),
    "writes with another account than the pinned one": Lie(
        {},
        trust={
            "ledger": f"{{chain_id: {CHAIN_ID}, genesis: {GENESIS}, contract: {CONTRACT}, "
            f"code_hash: {CODE_HASH}, writers: [{'0x' + 'aa' * 20}], finality: instant}}"
        },
    ),
    # seeds and training
    "trains with seeds of its own choice": Lie({"seeds": ["1", "2"]}),
    "calls them owner-chosen, after trying others": Lie(
        {"spec": lambda spec: spec["training"].update(seeds=[3, 4])},
        "a pipeline whose seeds come from the opening block",
        shown=(8, "were chosen by the owner, who may have tried others"),
    ),
    "shops for a block hash on a chain that it runs": Lie(
        {"block_hash": block_hash(9)},
        "a chain that somebody else runs",
        shown=(28, "demo chain, which proves no time to others"),
    ),
    "releases the second best seed": Lie({"selection": lambda s: s.update(released=0)}),
    "forges the validation scores": Lie({"selection": lambda s: s.update(means=[600.0, 500.0], released=0)}),
    "releases a policy that no seed gave": Lie(trained=foreign_policy),
    "passes weights from elsewhere off as a seed's": Lie(
        {}, "level 4: somebody you trust trains again", shown=TRAINED
    ),
    "trains on the test data": Lie({}, "level 4, as above", shown=TRAINED),
    "… and level 4 is asked for": Lie({}, trust={"minimum": "{level: 4}"}),
    "… and a trusted key trained again": Lie({"notes": came_out_different}),
    "invents learning curves": Lie({}, "level 4, as above", shown=TRAINED),
    # files
    "puts other weights into the ONNX file, which serving uses": Lie(trained=trapdoor),
    "invents how well ONNX and numpy agree": Lie(
        {"evaluated": edit("evaluation.json", lambda v: v["onnx"].update(max_abs_difference=0.0))},
        "nothing rests on the number: check 20 compares the weights",
        shown=(17, "that ONNX Runtime acted the same"),
    ),
    "adds words of its own to the evaluation": Lie(
        {"evaluated": edit("evaluation.json", lambda v: v.update(seal_of_approval="gold"))}
    ),
    # data
    "evaluates on other held-out rows than the source gives": Lie(
        {"prices": None, "splits": dearer},
        "`--source` or `--fetch`: see the next row",
        trust=BATTERY,
        shown=(26, "that the splits are what cleaning and cutting the source give"),
    ),
    "… and the verifier has the source": Lie({"prices": None, "splits": dearer}, trust=BATTERY, source=True),
    "fits the gate to be weak, and the verifier has the source": Lie(
        {"prices": None, "evaluated": weaker_clock}, trust=BATTERY, source=True
    ),
    "signs a validation that counts more than was checked": Lie(
        {"prices": None}, trust=BATTERY, signed={"validation": cleaner}
    ),
    "signs a validation of other files": Lie(
        {"prices": None}, trust=BATTERY, signed={"validation": other_splits}
    ),
    "invents the result of the expectations": Lie(
        {"prices": None},
        "run the expectations on the source's rows again: what they are is in the intent",
        trust=BATTERY,
        source=True,
        shown=(32, "expectations hold"),
    ),
    # code
    "releases a dirty tree": Lie({"resolved": lambda r: r["code"].update(dirty=True), "release": GOOD}),
    "calls a dirty tree clean": Lie({}, "level 4", shown=(22, "is the code that ran")),
    "puts another tree's archive beside the commit": Lie(
        {"resolved": other_archive, "release": with_archive, "after": keep_archive}
    ),
    "ran a commit that the verifier does not accept": Lie(
        {}, trust={"sources": f"{{commits: [{'0' * 40}]}}"}
    ),
    # approval, verdict, promotion
    "shows an approval of another evaluation": Lie(
        APPROVED, signed={"approval": lambda s: s["predicate"].update(evaluation="ab" * 32)}
    ),
    "shows an approval of another policy": Lie(
        APPROVED, signed={"approval": lambda s: s["subject"][0]["digest"].update(sha256="ab" * 32)}
    ),
    "approves with the key of the steps": Lie(APPROVED | {"signers": {"approval": "steps"}}),
    "promotes without the approval that is asked for": Lie(
        {"spec": lambda spec: spec["promotion"].update(require_approval=True), "release": GOOD}
    ),
    "sells a REJECT as release": Lie(BAD | {"release": GOOD}),
    "closes with another verdict than the release's": Lie(
        BAD | {"closing": lambda c: replace(c, verdict="PROMOTE")}
    ),
    "promotes what was not released for it": Lie(BAD | {"promote": True}),
    "never notes the promotion": Lie(
        {
            "account": lambda entries: entries[:-1],
            "after": lambda folder: (folder / "promotion.note.json").unlink(),
        },
        ledger=lambda entries: entries[:-1],
    ),
    "sells a rolled-back champion as current": Lie({"notes": rolled_back}),
    "… and leaves the rollback out": Lie(
        {"notes": rolled_back, "after": without_later}, "the chain; then the newer record"
    ),
    "sells a revoked release": Lie({"notes": revoked}),
    "… and leaves the revocation out": Lie(
        {"notes": revoked, "after": without_later}, "the chain; then the newer record"
    ),
    "sells a champion that another replaced": Lie(
        {},
        "the chain, and the records of the later runs",
        ledger=promoted_later,
        shown=(30, "another policy may have become champion since"),
    ),
    # the champion compared with
    "leaves the champion out of the comparison": Lie(
        {"earlier": promoted_before}, "the statement that was noted, or the record of the champion's run"
    ),
    "compares with an earlier champion, and leaves the newer one's promotion out": Lie(
        {"earlier": promoted_before, "champion": -1.0},
        "the statement that was noted, or the record of the newer champion's run",
    ),
    "… and drops its note from the account": Lie(
        {"earlier": promoted_before, "champion": -1.0, "account": lambda entries: entries[:5] + entries[6:]},
        "the chain",
    ),
    "compares with an earlier champion, and shows the newer one's promotion": Lie(
        {"champion": -1.0, "since": replaced_since}
    ),
    "compares with a weaker policy under the champion's version": Lie(
        {"champion": -1.0, "proof": other_policy}
    ),
    "compares with a policy that was never promoted": Lie(
        {"champion": -1.0, "account": never_promoted}, ledger=never_promoted
    ),
    # keys
    "signs with a key after its days, and writes an earlier date": Lie(
        {}, trust=keys(valid_until="2026-09-01")
    ),
    "signs the release with the key of the steps": Lie({"signers": {"release": "steps"}}),
    "signs a new run with a key that it revoked": Lie(
        {}, "the revocation is noted on runs of before: put `valid_until` into the trust policy"
    ),
    "… and the revocation was noted on the champion's run": Lie({"champion": -1.0, "since": key_revoked}),
}
