"""The part of a run's lineage that was signed, registered or written on the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from drl.digest import sha256_bytes, sha256_json
from drl.record.dsse import read_unverified
from drl.record.statement import MODEL_SIGNATURE, SLSA_PROVENANCE
from drl.steps.journal import ENVELOPE, RunJournal
from drl.steps.lineage_draft import Draft

NOTE = ".note.json"
_RELEASE = "release"

# Facts of a predicate that questions ask for.
_FACTS: dict[str, tuple[str, ...]] = {
    "approval": ("answer", "approver", "answered"),
    "promotion": ("version", "alias", "outcome", "decided"),
    "release": ("verdict", "revision"),
    "reproduction": ("outcome",),
    "revocation": ("what", "reason", "since"),
    "validation": ("success",),
}
_ABOUT_MODEL = frozenset(
    {"approval", "evaluation", "model signature", "promotion", "release", "reproduction"}
)
# When a statement that came after the release was made.
_MOMENT = {"promotion": "decided", "reproduction": "finished", "revocation": "since"}


def add_statements(draft: Draft, journal: RunJournal, names: set[str]) -> None:
    """Every signed statement, the registered version, and the entries on the ledger."""
    found = {
        name.removesuffix(ENVELOPE): journal.read(name) for name in sorted(names) if name.endswith(ENVELOPE)
    }
    statements = {name: read_unverified(data) for name, data in found.items()}
    digests = {name: sha256_bytes(data) for name, data in found.items()}
    listed = {s["name"].removesuffix(ENVELOPE) for s in statements[_RELEASE]["predicate"]["statements"]}
    if "registration.json" in names:
        root = statements[_RELEASE]["subject"][0]["digest"]["sha256"]
        _add_version(draft, journal.read("registration.json"), root)
    for name, statement in statements.items():
        by = draft.run if name in listed | {_RELEASE} else _later(draft, name, statement)
        keys = [signature["keyid"] for signature in json.loads(found[name])["signatures"]]
        _add_statement(draft, name, digests[name], statement, by, keys)
    draft.derived(digests[_RELEASE], [digests[name] for name in listed], "statement")
    _add_entry(draft, journal.read_json("opening.json")["entry"], draft.run)
    if "closing.json" in names:
        _add_entry(draft, journal.read_json("closing.json"), draft.run)
    for name in sorted(names):
        if name.endswith(NOTE):
            stem = name.removesuffix(NOTE)
            by = f"{draft.run}/{stem}" if stem in statements else draft.run
            _add_entry(draft, journal.read_json(name), by)


def _add_version(draft: Draft, data: bytes, root: str) -> None:
    """What the registry calls the model: the bytes are those of ``registration.json``."""
    value = json.loads(data)
    version = draft.entity(
        sha256_bytes(data),
        "model version",
        f"{value['model']} version {value['version']}",
        model=value["model"],
        version=str(value["version"]),
        mlflow_run=value["mlflow_run"],
    )
    draft.generated(version, draft.run)
    draft.derived(version, [root], "model")


def _later(draft: Draft, name: str, statement: Mapping[str, Any]) -> str:
    """What was done after the release is an activity of its own, with the time that its statement gives."""
    kind = _short_kind(statement)
    moment = statement["predicate"].get(_MOMENT.get(kind, ""))
    return draft.activity(f"{draft.run}/{name}", kind, moment, moment)


def _add_statement(
    draft: Draft, name: str, sha256: str, statement: Mapping[str, Any], activity: str, keys: list[str]
) -> None:
    kind, predicate = _short_kind(statement), statement["predicate"]
    facts = {fact: predicate.get(fact) for fact in _FACTS.get(kind, ())}
    if kind == "evaluation":
        facts["verdict"] = predicate["decision"]["verdict"]
    about_model = kind in _ABOUT_MODEL
    subjects = statement["subject"]
    if about_model:
        facts["model"] = subjects[0]["name"]
    champion = _champion(statement)
    if champion:
        facts["champion"] = champion["version"]
    entity = draft.entity(sha256, f"{kind} statement", f"{name}{ENVELOPE}", **facts)
    draft.generated(entity, activity)
    known = [s["digest"]["sha256"] for s in subjects if draft.has(s["digest"]["sha256"])]
    if statement["predicateType"] != SLSA_PROVENANCE:
        draft.derived(entity, known, "model" if about_model else "subject")
    for key in keys:
        draft.attributed(entity, draft.agent(key, "signing key"))
        if activity != draft.run or statement["predicateType"] == SLSA_PROVENANCE:
            by = f"{draft.run}/{kind}" if activity == draft.run else activity
            draft.associated(by, key)
    if kind == "approval" and predicate.get("approver"):
        draft.attributed(entity, draft.agent(predicate["approver"], "person"), "approver")
    if champion:
        draft.derived(entity, [draft.entity(champion["root"], "model", facts["model"])], "champion")


def _champion(statement: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Version and root of what the alias points to because of this statement; None when it tells of none."""
    predicate = statement["predicate"]
    if _short_kind(statement) != "promotion" or predicate["outcome"] == "superseded":
        return None
    if predicate["outcome"] == "rolled-back":
        restored: Mapping[str, Any] | None = predicate["restored"]
        return restored
    return {"version": predicate["version"], "root": statement["subject"][0]["digest"]["sha256"]}


def _short_kind(statement: Mapping[str, Any]) -> str:
    """``train`` of a build type, ``promotion`` of a predicate type: ``urn:drl:predicate:promotion:v1``."""
    if statement["predicateType"] == SLSA_PROVENANCE:
        return str(statement["predicate"]["buildDefinition"]["buildType"].split(":")[-2])
    if statement["predicateType"] == MODEL_SIGNATURE:
        return "model signature"
    return str(statement["predicateType"].split(":")[-2])


def _add_entry(draft: Draft, entry: Mapping[str, Any], activity: str) -> None:
    """An entry on the ledger, derived from the statement whose digest it holds."""
    receipt = entry["receipt"]
    facts = {k: receipt[k] for k in ("chain_id", "tx", "block_number", "block_time", "log_index")}
    entity = draft.entity(
        sha256_json(dict(entry)),
        f"ledger {entry['entry']}",
        f"run {receipt['run']} {entry['entry']}",
        ledger_run=receipt["run"],
        contract=receipt["contract"],
        look=entry.get("look"),
        verdict=entry.get("verdict"),
        **facts,
    )
    draft.generated(entity, activity)
    named = entry.get("intent") or entry.get("record") or entry.get("statement")
    if draft.has(str(named)):
        draft.derived(entity, [str(named)], "statement")
    draft.attributed(entity, draft.agent(receipt["writer"], "ledger account"))
