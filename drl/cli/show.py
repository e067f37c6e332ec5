"""``drl show``: the last screen. What a run did, in a dozen lines, from what its operators wrote down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from drl.artifact import Artifact
from drl.errors import InputError
from drl.local.home import Home
from drl.record.dsse import read_unverified
from drl.record.ledger import DEMO_CHAIN_IDS
from drl.steps.journal import RunJournal
from drl.stores.s3 import ArtifactStore
from drl.stores.settings import S3Settings

_TASKS = (
    "resolve",
    "open_run",
    "prepare",
    "train",
    "evaluate",
    "publish",
    "approve",
    "register_model",
    "seal",
    "close_run",
    "record_lineage",
    "verdict",
    "promote",
    "record_promotion",
)
_VERDICT_STYLE = {"PROMOTE": "bold green", "HOLD": "bold yellow", "REJECT": "bold red"}


def records() -> ArtifactStore:
    """Documents of the bucket that holds the journals."""
    settings = S3Settings.from_environment()
    return ArtifactStore(replace(settings, staging=settings.sealed))


def last_run() -> str:
    """Key of the run that was started last."""
    documents = records()
    newest = documents.list("index/", limit=1)
    if not newest:
        raise InputError("there is no run yet", remedy="start one: make run, or make run PIPELINE=cartpole")
    return documents.read(newest[0]).decode()


def summary(run: str) -> dict[str, Any]:
    """Everything worth knowing about a run, as JSON; parts it has not reached yet are absent."""
    journal = RunJournal(records(), run)
    names = set(journal.names())
    if "resolved.json" not in names:
        raise InputError(f"no run {run!r}", remedy="see `drl show` without a key, or Airflow's list of runs")
    found: dict[str, Any] = {"run": run, "resolved": journal.read_json("resolved.json")}
    for part in ("opening", "closing", "registration", "lineage", "promotion"):
        if f"{part}.json" in names:
            found[part] = journal.read_json(f"{part}.json")
    if "release.dsse.json" in names:
        release = read_unverified(journal.read("release.dsse.json"))["predicate"]
        found["release"] = {name: release[name] for name in ("verdict", "reason")}
    if "promotion.lineage.json" in names:
        found["lineage"] = journal.read_json("promotion.lineage.json")
    if "promotion.note.json" in names:
        found["note"] = journal.read_json("promotion.note.json")
    for step in ("train", "evaluate"):
        if f"{step}.json" in names:
            found[step] = journal.read_json(f"{step}.json")["result"]
    found["seconds"] = {
        task: journal.read_json(f"times/{task}.json")["seconds"]
        for task in _TASKS
        if f"times/{task}.json" in names
    }
    return found


def render(found: dict[str, Any]) -> None:
    """Print the summary for a person."""
    console = Console(highlight=False, soft_wrap=True)
    console.print()
    if "evaluate" not in found:
        console.print(f"{found['run']}: not evaluated yet; done so far: {', '.join(found['seconds'])}")
        return
    evaluation = found["evaluate"]["summary"]
    decision = found.get("release") or evaluation["decision"]
    console.print(f"[{_VERDICT_STYLE[decision['verdict']]}]{decision['verdict']}[/]  {found['run']}")
    console.print(decision["reason"], markup=False)
    console.print(_scores(evaluation))
    for name, value in _facts(found):
        console.print(f"[dim]{name:<12}[/dim]{value}")


def _scores(evaluation: dict[str, Any]) -> Table:
    unit = evaluation["unit"]
    level = f"{100 * (1 - evaluation['alpha']):.4g} %"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    table.add_column("")
    bounded = any(actor["score"] for actor in evaluation["actors"].values())
    table.add_column(f"{unit} per episode", justify="right")
    if bounded:
        table.add_column("of upper bound", justify="right")
    table.add_column(f"policy minus this, {level} interval", justify="right")
    actors = sorted(evaluation["actors"].items(), key=lambda item: -item[1]["mean"]["estimate"])
    for name, actor in actors:
        row = [f"[bold]{name}[/bold]" if name == "policy" else name, f"{actor['mean']['estimate']:,.1f}"]
        if bounded:
            row.append(f"{100 * actor['score']['estimate']:.1f} %" if actor["score"] else "")
        other = evaluation["comparisons"].get(name)
        row.append(_interval(other["difference"]) if other else "")
        table.add_row(*row)
    return table


def _interval(value: dict[str, Any]) -> str:
    return f"{value['estimate']:+,.1f}  [{value['lower']:+,.1f}, {value['upper']:+,.1f}]".replace("[", "\\[")


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    gap = found["evaluate"]["summary"]["gap"]
    rows.append(("gap", f"{_interval(gap['estimate'])} to the strongest baseline, {gap['baseline']}"))
    if registered := found.get("registration"):
        alias = "champion" if found.get("promotion", {}).get("outcome") == "promoted" else "no alias"
        rows.append(("model", f"{registered['model']} version {registered['version']} ({alias})"))
    rows.append(("model root", found["train"]["summary"]["model_root"]))
    rows += _ledger(found)
    if lineage := found.get("lineage"):
        rows.append(("lineage", f"{lineage['nodes']} nodes, {lineage['edges']} edges in the graph"))
    rows.append(("report", str(_report(found))))
    seconds = found["seconds"]
    parts = ", ".join(f"{name} {value:.0f}" for name, value in seconds.items() if value >= 0.5)
    rows.append(("seconds", f"{sum(seconds.values()):.0f}: {parts}"))
    model = found.get("registration", {}).get("model", "MODEL")
    rows.append(("next", f"drl lineage {model}, open the report, make ui"))
    return rows


def _ledger(found: dict[str, Any]) -> list[tuple[str, str]]:
    receipts = {
        "opened": found["opening"]["entry"]["receipt"],
        **({"closed": found["closing"]["receipt"]} if "closing" in found else {}),
        **({"promotion": found["note"]["receipt"]} if "note" in found else {}),
    }
    first = receipts["opened"]
    kind = "demo chain: proves no time to others" if first["chain_id"] in DEMO_CHAIN_IDS else "chain"
    rows = [("ledger", f"run {first['run']} of {first['contract']} ({kind})")]
    rows += [(f"  {name}", r["tx"]) for name, r in receipts.items()]
    return rows


def _report(found: dict[str, Any]) -> Path:
    """The report, fetched by its digest to a file that a browser can open."""
    written = next(a for a in found["evaluate"]["outputs"] if a["name"] == "report.html")
    artifact = Artifact.from_json(written | {"name": f"{found['run']}.html"})
    settings = S3Settings.from_environment()
    return ArtifactStore(settings).get(artifact, Home.at().path / "reports")
