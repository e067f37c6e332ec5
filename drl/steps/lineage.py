"""The lineage of a run, derived from what its operators wrote down.

It only grows: what is written later (a promotion, a reproduction, their notes on the ledger) adds nodes and
relations, and changes none. So a run may be recorded as often as one likes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from drl.artifact import Artifact
from drl.digest import canonical_json, sha256_bytes, sha256_json
from drl.record.roots import artifacts_root
from drl.record.seeds import SCHEME
from drl.steps.inputs import POLICY_FILES, renamed
from drl.steps.journal import RunJournal
from drl.steps.lineage_draft import Draft
from drl.steps.lineage_statements import add_statements
from drl.steps.request import AcceptedStep
from drl.stores.lineage import RunLineage

STEPS = ("prepare", "train", "evaluate")

# Words for people and the place on a machine decide no result.
_BESIDE = ("description", "owner", "tags", "orchestration", "registration")
_COMMON = ("code", "source archive", "packages", "settings")
_INGREDIENTS = {
    "prepare": ("source", *_COMMON),
    "train": ("environment", "seeds", *_COMMON),
    "evaluate": ("environment", *_COMMON),
}
_IMAGE = re.compile(r"sha256:([0-9a-f]{64})")
_KINDS = {
    "resolved.json": "resolved run",
    "report.html": "report",
    "episodes.jsonl": "episodes",
    "evaluation.json": "evaluation",
    "metrics.jsonl": "metrics",
    "checkpoints.jsonl": "checkpoint chain",
}


def run_lineage(journal: RunJournal) -> RunLineage:
    """Data, code and settings, the steps and what they made, the model, statements and ledger entries."""
    draft = Draft(journal.run)
    resolved = journal.read_json("resolved.json")
    names = set(journal.names())
    accepted = {
        step: AcceptedStep.from_json(journal.read_json(f"{step}.json"))
        for step in STEPS
        if f"{step}.json" in names
    }
    _add_run(draft, journal, names, resolved)
    for step in accepted.values():
        _add_step(draft, step)
    ingredients = _add_ingredients(draft, journal, resolved, accepted)
    _add_datasets(draft, accepted)
    _add_policies(draft, journal, resolved, accepted["train"], ingredients)
    _add_champion(draft, resolved)
    add_statements(draft, journal, names)
    return draft.lineage()


def _add_run(draft: Draft, journal: RunJournal, names: set[str], resolved: Mapping[str, Any]) -> None:
    started = None
    if "started.json" in names:
        milliseconds = journal.read_json("started.json")["ms"]
        started = datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()
    run = draft.activity(
        draft.run, "run", started, None, pipeline=resolved["spec"]["pipeline"], run_date=resolved["run_date"]
    )
    reference = Artifact.from_json(journal.read_json("resolved.ref.json"))
    draft.generated(draft.entity(reference.sha256, "resolved run", reference.name), run)


def _add_step(draft: Draft, accepted: AcceptedStep) -> None:
    request, result = accepted.request, accepted.result
    key = draft.activity(
        f"{draft.run}/{request.step}",
        request.step,
        result.started,
        result.finished,
        placement=accepted.placement,
        attempt=request.attempt,
    )
    for artifact in (request.resolved, *request.inputs):
        draft.used(key, _file(draft, artifact))
    for artifact in result.outputs:
        draft.generated(_file(draft, artifact), key)
    for name, value in accepted.observed.items():
        found = _IMAGE.search(value) if "image" in name and isinstance(value, str) else None
        if found:
            draft.used(key, draft.entity(found[1], "image", found[1][:12]), "image")


def _add_ingredients(
    draft: Draft, journal: RunJournal, resolved: Mapping[str, Any], accepted: Mapping[str, AcceptedStep]
) -> dict[str, str]:
    """What is not a step's file, by role: source, code, environment, packages, settings, seeds."""
    spec = resolved["spec"]
    found: dict[str, str] = {}
    if spec["data"]:
        source = spec["data"]["source"]
        found["source"] = draft.entity(source["sha256"], "source", _source_name(source))
    code = {name: resolved["code"].get(name) for name in ("commit", "tree", "dirty")}
    if code["commit"]:
        found["code"] = draft.entity(sha256_json({"code": code}), "code", code["commit"][:12], **code)
    if archive := resolved["code"].get("archive"):
        found["source archive"] = draft.entity(archive["sha256"], "source archive", archive["name"])
    environment = resolved["environment"]
    found["environment"] = draft.entity(environment["sha256"], "environment", environment["package"])
    found["packages"] = _add_content(draft, "packages", resolved["packages"], "requirements.lock")
    found["settings"] = _add_content(draft, "settings", _settings(spec), spec["pipeline"])
    opening = journal.read_json("opening.json")
    seeds = {"seeds": opening["seeds"], "from": opening["seeds_from"]}
    found["seeds"] = _add_content(draft, "seeds", seeds, opening["seeds_from"])
    if opening["seeds_from"] == SCHEME:
        draft.derived(found["seeds"], [sha256_json(opening["entry"])], "opening block")
    for step in accepted:
        for role in _INGREDIENTS[step]:
            if role in found:
                draft.used(f"{draft.run}/{step}", found[role], role)
    return found


def _add_content(draft: Draft, kind: str, value: Any, name: str) -> str:
    """A fact without a file: its canonical JSON is kept in the graph."""
    return draft.entity(sha256_json({kind: value}), kind, name, content=canonical_json(value).decode())


def _settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a run beside bytes, code and seeds; a source is its digest, wherever it lies."""
    settings = {name: value for name, value in spec.items() if name not in _BESIDE}
    if settings["data"]:
        settings["data"] = {**settings["data"], "source": settings["data"]["source"]["sha256"]}
    return settings


def _add_datasets(draft: Draft, accepted: Mapping[str, AcceptedStep]) -> None:
    """Splits by content, whatever the file format: prepare made them, the later steps used them."""
    if "prepare" not in accepted:
        return
    result = accepted["prepare"].result
    users = {"train": ("train",), "validation": ("train",), "test": ("evaluate",)}
    for name, sha256 in result.summary["contents"].items():
        dataset = draft.entity(sha256, "dataset", name)
        draft.generated(dataset, f"{draft.run}/prepare")
        for file in result.outputs:
            if file.name == f"{name}.parquet":
                draft.derived(file.sha256, [dataset], "content")
        for step in users.get(name, ()):
            if step in accepted:
                draft.used(f"{draft.run}/{step}", dataset, name)
        if "train" in users.get(name, ()):
            draft.derived(accepted["train"].result.summary["model_root"], [dataset], name)


def _add_policies(
    draft: Draft,
    journal: RunJournal,
    resolved: Mapping[str, Any],
    trained: AcceptedStep,
    ingredients: Mapping[str, str],
) -> None:
    """Each seed's policy is its root; the released one is the model, tied to what it was learned from."""
    train, summary = f"{draft.run}/train", trained.result.summary
    checkpoints = _add_checkpoints(draft, journal, trained)
    seeds = journal.read_json("opening.json")["seeds"]
    for index, seed in enumerate(seeds):
        files = [renamed(trained.result.output(f"seed-{index}/{name}"), name) for name in POLICY_FILES]
        root = draft.entity(artifacts_root(files), "policy", f"seed {seed}")
        draft.generated(root, train)
        draft.derived(root, [a.sha256 for a in files])
        if str(seed) in checkpoints:
            draft.derived(root, [checkpoints[str(seed)]], "checkpoint")
    model = draft.entity(summary["model_root"], "model", resolved["spec"]["registration"]["model"])
    draft.generated(model, train)
    draft.derived(model, [a.sha256 for a in trained.request.inputs])
    for role in ("source", "code", "environment"):
        if role in ingredients:
            draft.derived(model, [ingredients[role]], role)
    draft.used(f"{draft.run}/evaluate", model, "policy")


def _add_checkpoints(draft: Draft, journal: RunJournal, trained: AcceptedStep) -> dict[str, str]:
    """The chain of each seed; returns the last checkpoint by seed, from which its policy was exported."""
    chain = next((a for a in trained.result.outputs if a.name == "checkpoints.jsonl"), None)
    last: dict[str, str] = {}
    if chain is None:
        return last
    for line in journal.file(chain).splitlines():
        link = json.loads(line)
        seed = str(link["seed"])
        facts = {k: v for k, v in link.items() if isinstance(v, str | int | float) and k != "parent"}
        name = f"seed {seed} iteration {link['iteration']}"
        checkpoint = draft.entity(sha256_bytes(line), "checkpoint", name, **facts)
        draft.generated(checkpoint, f"{draft.run}/train")
        if seed in last and last[seed] != checkpoint:
            draft.derived(checkpoint, [last[seed]], "parent")
        last[seed] = checkpoint
    return last


def _add_champion(draft: Draft, resolved: Mapping[str, Any]) -> None:
    if champion := resolved["champion"]:
        root = draft.entity(champion["model_root"], "model", resolved["spec"]["registration"]["model"])
        draft.used(f"{draft.run}/evaluate", root, "champion")


def _file(draft: Draft, artifact: Artifact) -> str:
    return draft.entity(artifact.sha256, _kind(artifact), artifact.name)


def _kind(artifact: Artifact) -> str:
    name = artifact.name.rsplit("/", 1)[-1]
    if name.startswith("policy."):
        return "policy file"
    if name.endswith((".parquet", ".npy")):
        return "data"
    return _KINDS.get(name, "file")


def _source_name(source: Mapping[str, Any]) -> str:
    return str(source.get("member") or source.get("path") or source.get("uri") or source.get("url"))
