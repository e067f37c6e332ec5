"""The lineage of a run up to its release, derived from what its operators wrote down.

What is signed later (the promotion) is left out, so that it is the same whenever it is derived.
"""

from __future__ import annotations

from typing import Any

from drl.artifact import Artifact
from drl.record.dsse import read_unverified
from drl.steps.journal import RunJournal
from drl.steps.request import AcceptedStep
from drl.stores.lineage import Activity, Agent, Entity, Relation, RunLineage

STEPS = ("prepare", "train", "evaluate")


def run_lineage(journal: RunJournal) -> RunLineage:
    """Entities (files, the model, statements), the steps that made them, and the keys that signed."""
    resolved = journal.read_json("resolved.json")
    entities: dict[str, Entity] = {}
    activities: list[Activity] = []
    relations: set[Relation] = set()

    def entity(sha256: str, kind: str, name: str) -> str:
        entities.setdefault(sha256, Entity(sha256=sha256, kind=kind, name=name))
        return sha256

    data = resolved["spec"]["data"]
    source = entity(data["source"]["sha256"], "source", _source_name(data["source"])) if data else None
    names = [name for name in STEPS if journal.has(f"{name}.json")]
    accepted = {name: AcceptedStep.from_json(journal.read_json(f"{name}.json")) for name in names}
    for name, step in accepted.items():
        key = f"{journal.run}/{name}"
        activities.append(
            Activity(key=key, kind=name, started=step.result.started, ended=step.result.finished)
        )
        inputs = [step.request.resolved, *step.request.inputs]
        used = [entity(a.sha256, _kind(a), a.name) for a in inputs]
        used += [source] if source and name == "prepare" else []
        relations |= {Relation("USED", key, sha256) for sha256 in used}
        made = [entity(a.sha256, _kind(a), a.name) for a in step.result.outputs]
        relations |= {Relation("WAS_GENERATED_BY", sha256, key) for sha256 in made}
    _add_model(journal, resolved, accepted["train"], entity, relations)
    agents = _add_statements(journal, names, entity, relations)
    return RunLineage(
        run=journal.run,
        entities=tuple(sorted(entities.values(), key=lambda e: e.sha256)),
        activities=tuple(activities),
        agents=tuple(agents),
        relations=tuple(sorted(relations)),
    )


def _add_model(
    journal: RunJournal,
    resolved: dict[str, Any],
    trained: AcceptedStep,
    entity: Any,
    relations: set[Relation],
) -> None:
    """The model is its root: derived from its three files, its training data, and the champion before it."""
    summary = trained.result.summary
    model = resolved["spec"]["registration"]["model"]
    root = entity(summary["model_root"], "model", model)
    relations.add(Relation("WAS_GENERATED_BY", root, f"{journal.run}/train"))
    released = f"seed-{summary['released']}"
    for artifact in trained.result.below(released):
        if artifact.name.startswith(f"{released}/policy."):
            relations.add(Relation("WAS_DERIVED_FROM", root, artifact.sha256))
    for artifact in trained.request.inputs:
        relations.add(Relation("WAS_DERIVED_FROM", root, artifact.sha256))


def _add_statements(
    journal: RunJournal, steps: list[str], entity: Any, relations: set[Relation]
) -> list[Agent]:
    """Each signed statement is an entity, attributed to the key that signed it."""
    agents: dict[str, Agent] = {}
    release = read_unverified(journal.read("release.dsse.json"))
    listed = {"release.dsse.json", *(s["name"] for s in release["predicate"]["statements"])}
    for envelope in journal.envelopes():
        if envelope.name not in listed:
            continue
        name = envelope.name.removesuffix(".dsse.json")
        key = journal.key_of(name)
        agents.setdefault(key, Agent(key_id=key, kind="signing key"))
        statement = entity(envelope.sha256, f"{name} statement", envelope.name)
        relations.add(Relation("WAS_ATTRIBUTED_TO", statement, key))
        if name in steps:
            relations.add(Relation("WAS_ASSOCIATED_WITH", f"{journal.run}/{name}", key))
    return list(agents.values())


def _kind(artifact: Artifact) -> str:
    name = artifact.name.rsplit("/", 1)[-1]
    kinds = {
        "resolved.json": "resolved run",
        "report.html": "report",
        "episodes.jsonl": "episodes",
        "evaluation.json": "evaluation",
        "metrics.jsonl": "metrics",
        "checkpoints.jsonl": "checkpoints",
    }
    if name.startswith("policy."):
        return "policy file"
    if name.endswith((".parquet", ".npy")):
        return "data"
    return kinds.get(name, "file")


def _source_name(source: dict[str, Any]) -> str:
    return str(source.get("member") or source.get("path") or source.get("uri") or source.get("url"))
