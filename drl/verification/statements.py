"""Checks 3, 4, 5, 8, 9, 13, 22 and 27: do the statements of the run and the files fit together?"""

from __future__ import annotations

from datetime import date
from typing import Any

from drl.artifact import Artifact
from drl.data.splits import resolve_spans
from drl.digest import sha256_bytes, sha256_json
from drl.envs.identity import test_identity
from drl.errors import Falsified, Undetermined
from drl.record.files import sha256_of
from drl.record.git_tree import tree_of_tar
from drl.record.ledger import Opening
from drl.record.promotions import FOLDER, NOTES
from drl.record.roots import artifacts_root, resources_root
from drl.record.seeds import SCHEME, derive_seeds
from drl.record.statement import build_type
from drl.verification.findings import Findings, Label
from drl.verification.ledger_view import read_entry
from drl.verification.record import (
    DATA_FILES,
    ENVELOPE,
    KINDS,
    NOTE,
    POLICY_FILES,
    RELEASE,
    RUN_STATEMENTS,
    STEPS,
    Envelope,
    Record,
    named_digests,
    same_json,
)
from drl.verification.trust import TrustPolicy

_FIXED_NAMES = frozenset(
    {"resolved.json", RELEASE, "opening.json", "closing.json", "account.json"}
    | {"promotion.dsse.json", "promotion.note.json"}
    | {f"{name}{ENVELOPE}" for name in RUN_STATEMENTS}
)


def check_intent(record: Record, findings: Findings) -> None:
    """Check 3: the intent is about ``resolved.json``, which it embeds."""
    with findings.guard(3):
        intent = record.statement("intent")
        predicate, resolved = intent.predicate, record.resolved
        digest = sha256_json(resolved)
        seeds = resolved["spec"]["training"]["seeds"]
        wanted = (
            {"origin": "owner-chosen", "values": seeds}
            if isinstance(seeds, list)
            else {"origin": "opening-block", "scheme": SCHEME, "count": seeds}
        )
        holds = findings.require(
            3,
            intent.subjects == {"resolved.json": digest},
            "the intent's subject is not the digest of the resolved run that it embeds",
        )
        kept = sha256_bytes(record.files.read("resolved.json", limit=64 << 20))
        holds &= findings.require(3, kept == digest, "resolved.json is not what the intent embeds")
        for field, value in (
            ("pipeline", record.spec.pipeline),
            ("run", resolved["run"]),
            ("test_data", resolved["test_data"]),
            ("seeds", wanted),
        ):
            holds &= findings.require(
                3, same_json(predicate[field], value), f"the intent's {field} is not the resolved run's"
            )
        if holds:
            findings.recomputed(3, f"the intent is about {resolved['run']}, frozen as {digest[:12]}")


def check_run(record: Record, findings: Findings) -> None:
    """Check 4: one run, each statement of its kind, and the release lists them all."""
    with findings.guard(4):
        for name in ("intent", "release"):
            file = f"{name}{ENVELOPE}"
            findings.require(4, file in record.names, f"{file} is missing")
            if file in record.envelopes:
                right = record.envelopes[file].kind == KINDS[name]
                findings.require(4, right, f"{file} holds a statement of another kind")
        release, intent = record.statement("release"), record.statement("intent")
        listed = named_digests(release.predicate["statements"], where="release, statements")
        needed = {"intent", "train", "evaluate", "evaluation", "model"}
        needed |= {"prepare", "validation"} if record.spec.data else set()
        present = {
            n: record.envelopes[n].sha256
            for n in record.envelopes
            if n.removesuffix(ENVELOPE) in RUN_STATEMENTS
        }
        holds = findings.require(
            4,
            listed == present,
            f"the release lists {sorted(listed)}; there are, and hold, {sorted(present)}"
            if set(listed) != set(present)
            else "the release lists other digests than the statements in the record have",
        )
        lacking = sorted(n for n in needed if f"{n}{ENVELOPE}" not in listed)
        holds &= findings.require(4, not lacking, f"statements of the run are missing: {lacking}")
        for name in present:
            holds &= _fits(record.envelopes[name], intent.sha256, findings)
        holds &= findings.require(
            4, release.predicate["intent"] == intent.sha256, "the release names another intent"
        )
        if holds:
            findings.recomputed(4, f"the release lists the run's {len(listed)} statements, all of one intent")


def _fits(envelope: Envelope, intent: str, findings: Findings) -> bool:
    """Whether a statement is of the kind that its file name says, and names the intent."""
    name, predicate = envelope.name.removesuffix(ENVELOPE), envelope.predicate
    if name in STEPS:
        definition = predicate.get("buildDefinition", {})
        kind, named = definition.get("buildType"), definition.get("externalParameters", {}).get("intent")
        right = kind == build_type(name)
    else:
        right, named = envelope.kind == KINDS[name], predicate.get("intent", intent)
    holds = findings.require(4, right, f"{envelope.name} holds a statement of another kind")
    return holds & findings.require(4, named == intent, f"{envelope.name} names another intent")


def check_files(record: Record, findings: Findings) -> None:
    """Check 5: every named file with its digest and size, nothing else, and roots that follow."""
    with findings.guard(5):
        release = record.statement("release").predicate
        for part, listed in (("policy", record.policy), ("evidence", record.evidence)):
            findings.require(
                5,
                artifacts_root(listed.values()) == release[part]["root"],
                f"the {part} root does not follow from the files listed",
            )
        findings.require(
            5, sorted(record.policy) == sorted(POLICY_FILES), f"policy files {sorted(record.policy)}"
        )
        champions = len(record.champion["files"]) if record.champion else 0
        findings.require(5, champions == len(record.champion_files), "the champion's files: a name twice")
        _one_model(record, findings)
    with findings.guard(5):
        named = record.named()
        absent = _check_present(record, findings, named)
        _check_nothing_else(record, findings, named)
        sizes = sum(record.files.size(f"sha256/{d}") for d in named if f"sha256/{d}" in record.names)
        if not findings.having(5, Label.FALSE):
            findings.recomputed(
                5,
                f"{len(named) - len(absent)} files ({sizes / 1e6:,.1f} MB) have their digests and sizes; "
                f"model root {release['policy']['root']}",
            )
        if absent:
            findings.not_checked(
                5,
                f"data that did not travel: {', '.join(sorted(absent))}",
                remedy="give --source FILE or --fetch to make them again from the source",
            )


def _one_model(record: Record, findings: Findings) -> None:
    """Whatever speaks of this run's policy speaks of one model root."""
    root = record.statement("release").predicate["policy"]["root"]
    model = record.spec.registration.model
    for name in ("release", "evaluation", "approval", "model", "promotion"):
        if record.has(name):
            findings.require(
                5,
                record.statement(name).subjects == {model: root},
                f"{name}{ENVELOPE}: its subject is not the model root of {model}",
            )
    if record.has("model"):
        listed = [{"name": a.name, "algorithm": "sha256", "digest": a.sha256} for a in record.policy.values()]
        findings.require(
            5,
            same_json(record.statement("model").predicate["resources"], listed),
            f"model{ENVELOPE} signs other files than the release names",
        )


def _check_present(record: Record, findings: Findings, named: dict[str, list[str]]) -> list[str]:
    """Hash every named file; returns the names of data that did not travel and need not."""
    sizes: dict[str, set[int]] = {}
    listed = (record.policy, record.evidence, record.champion_files)
    for artifact in (a for files in listed for a in files.values()):
        sizes.setdefault(artifact.sha256, set()).add(artifact.size)
    absent = []
    for digest, names in named.items():
        file = f"sha256/{digest}"
        if file in record.names:
            with findings.guard(5):
                findings.require(
                    5,
                    sizes[digest] == {record.files.size(file)} and sha256_of(record.files, file) == digest,
                    f"{names[0]}: the bytes are not those of its digest and size",
                )
        elif all(_may_stay(record, name) for name in names):
            absent += names
        else:
            findings.false(5, f"{names[0]} is missing", remedy="ask for a complete record")
    return absent


def _may_stay(record: Record, name: str) -> bool:
    data = record.spec.data
    folder, _, plain = name.rpartition("/")
    if data is None or folder != "prepare" or plain not in DATA_FILES:
        return False
    return plain != "test.npy" or not data.redistributable


def _check_nothing_else(record: Record, findings: Findings, named: dict[str, list[str]]) -> None:
    used = {key for envelope in record.envelopes.values() for key in envelope.keys}
    for name in sorted(record.names - _FIXED_NAMES - _champion_names(record)):
        folder, _, plain = name.partition("/")
        known = (
            (folder == "sha256" and plain in named)
            or (name.startswith(NOTES) and plain.endswith((ENVELOPE, NOTE)))
            or (folder == "keys" and plain.removesuffix(".pem") in used)
            or (folder == "notes" and plain.endswith((ENVELOPE, NOTE)))
        )
        findings.require(5, known, f"{name}: nothing names this file")


def _champion_names(record: Record) -> set[str]:
    """Files that show the champion's promotion, where the intent names one."""
    if record.champion is None or record.champion["promotion"] is None:
        return set()
    return {f"{FOLDER}{name}" for name in (RELEASE, f"promotion{ENVELOPE}", f"promotion{NOTE}")}


def check_seeds(record: Record, findings: Findings) -> None:
    """Check 8: seeds follow from intent and opening block, or are marked owner-chosen."""
    with findings.guard(8):
        opening = record.document("opening.json")
        entry = read_entry(opening["entry"], Opening)
        intent, train = record.statement("intent"), record.statement("train")
        wanted = record.spec.training.seeds
        owner_chosen = isinstance(wanted, list)
        seeds = (
            wanted
            if isinstance(wanted, list)
            else derive_seeds(intent.sha256, entry.receipt.block_hash, _count(wanted))
        )
        expected = [str(seed) for seed in seeds]
        given = train.predicate["buildDefinition"]["externalParameters"]["parameters"]
        holds = findings.require(
            8, given == {"seeds": expected}, f"training was asked for {given}, not the seeds {expected}"
        )
        holds &= findings.require(8, opening["seeds"] == expected, "opening.json holds other seeds")
        origin = "owner-chosen" if owner_chosen else SCHEME
        holds &= findings.require(
            8, opening["seeds_from"] == origin, f"opening.json says seeds from {opening['seeds_from']!r}"
        )
        members = {"entry", "seeds", "seeds_from", "alpha"}
        holds &= findings.require(8, set(opening) == members, f"opening.json has members {sorted(opening)}")
        if not holds:
            return
        if owner_chosen:
            findings.claimed(
                8,
                f"seeds {', '.join(expected)} were chosen by the owner, who may have tried others",
                key=intent.key,
            )
        else:
            findings.recomputed(
                8, f"seeds {', '.join(expected)} follow from the intent and the hash of the opening block"
            )


_SEEDS_LIMIT = 100_000


def _count(wanted: int) -> int:
    if wanted > _SEEDS_LIMIT:
        raise Undetermined(f"{wanted} seeds", remedy=f"this verifier derives {_SEEDS_LIMIT} at most")
    return wanted


def check_steps(record: Record, findings: Findings) -> None:
    """Check 9: inputs come from earlier steps or named sources; the release lists all that steps made."""
    with findings.guard(9):
        resolved = Artifact("resolved.json", sha256_json(record.resolved), 0)
        known = {resolved.name: resolved.sha256}
        if record.spec.data is not None:
            known["source"] = record.spec.data.source.sha256
        made: dict[str, str] = {}
        for step in STEPS:
            if step == "evaluate":
                known |= {f"champion/{n}": a.sha256 for n, a in record.champion_files.items()}
            if record.has(step) or step != "prepare":
                _check_inputs(record.statement(step), known, findings)
                outputs = _outputs(record.statement(step))
                known |= outputs
                made |= {f"{step}/{name}": digest for name, digest in outputs.items()}
        listed = {n: a.sha256 for n, a in record.evidence.items()}
        if record.resolved["code"].get("archive") is not None:
            listed.pop("source.tar", None)  # check 22 looks at it
        differing = sorted(n for n in made.keys() | listed.keys() if made.get(n) != listed.get(n))
        holds = findings.require(
            9, not differing, f"the release and the steps differ about what was made: {differing[:5]}"
        )
        if holds and not findings.having(9, Label.FALSE):
            findings.recomputed(
                9, f"{len(made)} files made by the steps; every input is one of them, or named"
            )
            train = record.statement("train")
            findings.claimed(
                9, "that training was done with these inputs, this code and these seeds", key=train.key
            )


def _check_inputs(step: Envelope, known: dict[str, str], findings: Findings) -> None:
    for dependency in step.predicate["buildDefinition"]["resolvedDependencies"]:
        name, digest = dependency["name"], dependency["digest"].get("sha256")
        if name != "code":
            findings.require(
                9,
                digest is not None and known.get(name) == digest,
                f"{step.name}: its input {name} is no output of an earlier step, and no named source",
            )


def _outputs(step: Envelope) -> dict[str, str]:
    byproducts = step.predicate["runDetails"]["byproducts"]
    if not byproducts or byproducts[-1].get("name") != "observed":
        raise Falsified(
            f"{step.name}: the last byproduct is not `observed`", remedy="ask for the record again"
        )
    beside = named_digests(byproducts[:-1], where=step.name)
    if beside.keys() & step.subjects.keys():
        raise Falsified(f"{step.name}: a file is subject and byproduct", remedy="ask for the record again")
    return step.subjects | beside


def check_scope(record: Record, findings: Findings, trust: TrustPolicy | None) -> None:
    """Check 13: the pipeline, its rule and its source are among those that the trust policy accepts."""
    if trust is None:
        findings.not_checked(
            13, "no trust policy says which pipelines and rules are accepted", remedy="give --trust FILE"
        )
        return
    with findings.guard(13):
        spec, rule, bounds = record.spec, record.spec.promotion, trust.rule
        commit = record.resolved["code"].get("commit")
        accepted = [
            (trust.pipelines is None or spec.pipeline in trust.pipelines, f"pipeline {spec.pipeline}"),
            (bounds.alpha_at_most is None or rule.alpha <= bounds.alpha_at_most, f"alpha {rule.alpha}"),
            (
                bounds.margin_at_least is None or rule.margin >= bounds.margin_at_least,
                f"margin {rule.margin}",
            ),
            (
                bounds.guard_margin_at_most is None or rule.guard.margin <= bounds.guard_margin_at_most,
                f"the guard's margin {rule.guard.margin}",
            ),
            (bounds.gates is None or rule.gate in bounds.gates, f"gate {rule.gate}"),
            (trust.sources is None or commit in trust.sources.commits, f"commit {commit}"),
        ]
        refused = [what for holds, what in accepted if not holds]
        if findings.require(13, not refused, f"the trust policy does not accept {', '.join(refused)}"):
            findings.recomputed(
                13, f"pipeline {spec.pipeline} and its promotion rule are within the trust policy"
            )


def check_code(record: Record, findings: Findings) -> None:
    """Check 22: which source code the run says it was, and that the archive is that tree."""
    with findings.guard(22):
        code, intent = record.resolved["code"], record.statement("intent")
        for step in STEPS:
            if record.has(step):
                _check_step_code(record.statement(step), code, findings)
        if code.get("dirty") is not False:
            findings.not_checked(
                22,
                "the source tree had uncommitted changes"
                if code.get("dirty")
                else "nobody knows which source code ran",
                remedy="nothing can: the code that ran was not kept",
            )
            return
        archive = code.get("archive")
        if archive is None:
            findings.not_checked(
                22, "the record holds no source archive", remedy=f"look at commit {code.get('commit')}"
            )
        else:
            _check_archive(record, code, archive, findings)
        findings.claimed(22, f"that commit {code.get('commit')} is the code that ran", key=intent.key)


def _check_step_code(step: Envelope, code: dict[str, Any], findings: Findings) -> None:
    definition = step.predicate["buildDefinition"]
    named = [d["digest"].get("gitCommit") for d in definition["resolvedDependencies"] if d["name"] == "code"]
    dirty = definition["internalParameters"]["code_dirty"]
    findings.require(
        22,
        named == ([code["commit"]] if code.get("commit") else []) and dirty == code.get("dirty"),
        f"{step.name} names other source code than the intent",
    )


def _check_archive(record: Record, code: dict[str, Any], archive: dict[str, Any], findings: Findings) -> None:
    listed = record.evidence.get("source.tar")
    wanted = Artifact.from_json(archive)
    if listed is None or (listed.sha256, listed.size) != (wanted.sha256, wanted.size):
        findings.false(22, "the release does not list the source archive that the intent names")
        return
    with record.files.open(f"sha256/{wanted.sha256}") as stream:
        tree = tree_of_tar(stream, where="source.tar")
    if findings.require(
        22, tree == code.get("tree"), f"source.tar is the git tree {tree}, not {code.get('tree')}"
    ):
        findings.recomputed(22, f"source.tar is the git tree {tree}")


def check_test_identity(record: Record, findings: Findings) -> None:
    """Check 27: what is spent by looking follows from source and window, or environment and seeds."""
    with findings.guard(27):
        wanted = test_identity(record.resolved["spec"])
        holds = findings.require(
            27,
            record.resolved["test_data"] == wanted,
            "test_data does not follow from source and test window",
        )
        if record.has("evaluation"):
            said = record.statement("evaluation").predicate["test_data"]
            holds &= findings.require(27, said == wanted, "the evaluation is about other held-out data")
        if record.spec.data is not None:
            resolve_spans(record.spec.data.splits, date.fromisoformat(record.resolved["run_date"]))
        if holds:
            findings.recomputed(27, f"the held-out data are {wanted[:12]}, by source and window or by seeds")


def champion_root(record: Record) -> str | None:
    """The champion's model root; Falsified unless its files make it."""
    champion = record.champion
    if champion is None:
        return None
    files = record.champion_files
    root = resources_root((a.name, a.sha256) for a in files.values())
    if sorted(files) != sorted(POLICY_FILES) or root != champion["model_root"]:
        raise Falsified(
            "the champion's files do not make the model root that the intent names",
            remedy="ask for the record again",
        )
    return root
