"""What ``drl lineage`` prints: one function for each question."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from drl.cli.show import records, summary
from drl.errors import Falsified, InputError, Undetermined
from drl.stores.graph import LineageGraph, Relative, Version
from drl.stores.graph_questions import FACETS, Ingredient
from drl.stores.lineage import RunLineage
from drl.stores.settings import GraphSettings

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHOWN = 20
_PIPED_WIDTH = 1000  # cells are folded to a terminal's width, never for a program that reads them


def made_of(model: str, depth: int, *, as_json: bool) -> None:
    """Print everything that ``model`` (a registered name or a digest) was made of, nearest first."""
    digest = _digest(model)
    with _graph() as graph:
        ancestors = graph.ancestry(digest, depth=depth)
        _require_known(graph, digest, found=ancestors)
    _print_relatives(model, digest, ancestors, "back", as_json=as_json)


def made_with(thing: str, depth: int, *, as_json: bool) -> None:
    """Print everything that was made with ``thing``, nearest first."""
    digest = _digest(thing)
    with _graph() as graph:
        descendants = graph.descendants(digest, depth=depth)
        _require_known(graph, digest, found=descendants)
    _print_relatives(thing, digest, descendants, "on", as_json=as_json)


def trained_on(what: str, *, as_json: bool) -> None:
    """Print every champion made from a dataset or a commit."""
    with _graph() as graph:
        found = graph.champions_trained_on(what)
        _require_known(graph, what, found=found)
    rows = [(c.model, c.version, c.since, c.outcome, c.root[:16], c.run) for c in found]
    titles = ("model", "version", "champion since", "because", "model root", "run")
    _print([asdict(c) for c in found], titles, rows, "no champion was trained on it", as_json=as_json)


def difference(model: str, one: str, two: str, *, as_json: bool) -> None:
    """Print what differs between two versions of a model, facet by facet, settings field by field."""
    with _graph() as graph:
        left, right = graph.version(model, one), graph.version(model, two)
    rows = list(differing(left, right))
    same = [role for role in FACETS if role in left.ingredients and not _differ(left, right, role)]
    value = {
        "model": model,
        "versions": [one, two],
        "roots": [left.root, right.root],
        "runs": [left.run, right.run],
        "same": same,
        "different": [{"what": what, "values": [a, b]} for what, a, b in rows],
    }
    titles = ("what", f"version {one}", f"version {two}")
    nothing = "made from the same data, code, settings, environment, seeds and packages"
    _print(value, titles, rows, nothing, as_json=as_json)
    if not as_json and rows:
        typer.echo(f"the same: {', '.join(same) or 'nothing'}")


def champion(model: str, on: str | None, *, as_json: bool) -> None:
    """Print what was champion of a model at a moment."""
    moment = end_of(on) if on else datetime.now(UTC)
    with _graph() as graph:
        found = graph.champion_on(model, moment)
        if found is None and not graph.knows_model(model):
            raise InputError(
                f"model {model!r}: not in the lineage graph at {graph.settings.uri}",
                remedy="see the runs and their models: drl show; after a loss: drl lineage rebuild",
            )
    rows = [(found.model, found.version, found.since, found.root[:16], found.run)] if found else []
    titles = ("model", "version", "champion since", "model root", "run")
    nothing = f"{model} had no champion at {moment.isoformat(timespec='seconds')}"
    _print(found and asdict(found), titles, rows, nothing, as_json=as_json)


def failing(*, as_json: bool) -> None:
    """Print whose proof fails now; exit code 1 when there are any, Undetermined when nobody has looked."""
    with _graph() as graph:
        found = graph.failing()
        if not found and not graph.audited():
            raise Undetermined(
                f"no champion was audited yet, as far as the lineage graph at {graph.settings.uri} knows",
                remedy="let the DAG audit run, daily or now: drl airflow dags test audit",
            )
    rows = [(f.model, f.version, f.outcome, f.checked, f.problems) for f in found]
    titles = ("model", "version", "outcome", "checked", "problems")
    _print([asdict(f) for f in found], titles, rows, "no audited proof fails", as_json=as_json)
    if found:
        raise typer.Exit(Falsified.exit_code)


def rebuild(*, check: bool) -> None:
    """Write everything again unless ``check``, then compare; Falsified when the graph says something else."""
    from drl.steps.lineage_documents import compare
    from drl.steps.lineage_documents import rebuild as write_again

    with _graph() as graph:
        found = compare(records(), graph) if check else write_again(records(), graph)
        counts = graph.counts()
    for title in ("missing", "different", "superfluous", "unreadable"):
        lines = getattr(found, title)
        for line in lines[:_SHOWN]:
            typer.echo(f"{title:<12} {line}")
        if len(lines) > _SHOWN:
            typer.echo(f"{title:<12} and {len(lines) - _SHOWN} more")
    if not found.equal:
        raise Falsified(
            f"the graph is not what the sealed bucket says: {len(found.missing)} missing, "
            f"{len(found.different)} different, {len(found.superfluous)} superfluous, "
            f"{len(found.unreadable)} runs unreadable",
            remedy="for missing ones: drl lineage rebuild; else rebuild into an empty database",
        )
    nodes = sum(counts.get(label, 0) for label in ("Entity", "Activity", "Agent"))
    typer.echo(
        f"equal: {nodes:,} nodes and {sum(counts.values()) - nodes:,} relations, as in the sealed bucket"
    )


def export(thing: str | None, run: str | None, form: str, out: Path | None) -> None:
    """Write PROV-JSON or OpenLineage events of a thing's ancestry or of a run."""
    text = _exported(_exportable(thing, run), form)
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out}: {error.strerror}", remedy="name a file that can be written") from error
    typer.echo(f"wrote {out}")


def differing(left: Version, right: Version) -> Iterator[tuple[str, str, str]]:
    """What is not the same in two versions: ``(what, left, right)``; settings by field."""
    for role in FACETS:
        if not _differ(left, right, role):
            continue
        a, b = left.ingredients.get(role, ()), right.ingredients.get(role, ())
        fields = list(_fields_that_differ(role, a, b))
        yield from fields or [(role, _short(a), _short(b))]


def end_of(text: str) -> datetime:
    """The end of a day in UTC, or the moment that an ISO 8601 time with offset names.

    Raises:
        InputError: the text is neither.
    """
    try:
        if len(text) == len("2026-11-24"):
            return datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(), UTC) - timedelta(
                seconds=1
            )
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"--on {text!r} is no date", remedy="give YYYY-MM-DD, or a time with offset"
        ) from error
    if moment.tzinfo is None:
        raise InputError(f"--on {text!r} has no offset", remedy="append Z or an offset such as +01:00")
    return moment


@contextmanager
def _graph() -> Iterator[LineageGraph]:
    with LineageGraph(GraphSettings.from_environment()) as graph:
        yield graph


def _digest(model: str) -> str:
    return model if _DIGEST.fullmatch(model) else _newest_root(model)


def _newest_root(model: str) -> str:
    documents = records()
    for key in documents.list("index/"):
        found = summary(documents.read(key).decode())
        if found["resolved"]["spec"]["registration"]["model"] == model and "train" in found:
            return str(found["train"]["summary"]["model_root"])
    raise InputError(
        f"no run has made a model {model!r}",
        remedy="give the name of a model, or all 64 digits of a digest; see the runs: drl show",
    )


def _require_known(graph: LineageGraph, what: str, *, found: Sequence[object]) -> None:
    """An empty answer about what the graph has never heard of is no answer."""
    if not found and not graph.knows(what):
        raise InputError(
            f"{what}: not in the lineage graph at {graph.settings.uri}",
            remedy="give the SHA-256 of something, or a commit, that drl lineage MODEL or drl show names",
        )


def _exportable(thing: str | None, run: str | None) -> RunLineage:
    if (thing is None) == (run is None):
        raise InputError("nothing to export, or two things", remedy="give a MODEL, a digest, or --run KEY")
    with _graph() as graph:
        found = graph.run(run) if run else graph.ancestry_lineage(_digest(str(thing)))
    if not found.entities:
        raise InputError(f"{thing}: not in the lineage graph", remedy="give a digest that drl lineage shows")
    return found


def _exported(lineage: RunLineage, form: str) -> str:
    if form == "openlineage":
        from drl.stores.export_openlineage import run_events

        return "".join(f"{json.dumps(event, ensure_ascii=False)}\n" for event in run_events(lineage))
    from drl.stores.export_prov import prov_json

    return json.dumps(prov_json(lineage), indent=1, ensure_ascii=False) + "\n"


def _differ(left: Version, right: Version, role: str) -> bool:
    ids = [{i.id for i in v.ingredients.get(role, ())} for v in (left, right)]
    return ids[0] != ids[1]


def _short(ingredients: Sequence[Ingredient]) -> str:
    return ", ".join(f"{i.name} {i.id[:12]}" for i in ingredients) or "none"


def _fields_that_differ(
    role: str, left: Sequence[Ingredient], right: Sequence[Ingredient]
) -> Iterator[tuple[str, str, str]]:
    contents = [i.content for i in (*left, *right)]
    if len(contents) != 2 or None in contents:
        return
    a, b = (dict(_flat(json.loads(str(content)), "")) for content in contents)
    for name in sorted(a.keys() | b.keys()):
        if a.get(name) != b.get(name):
            yield f"{role}{name}", a.get(name, "none"), b.get(name, "none")


def _flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Leaves by dotted path; lists are leaves, so that a longer list is one difference."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}")
    else:
        yield path, json.dumps(value, ensure_ascii=False)


def _print(
    value: Any, titles: Sequence[str], rows: Sequence[Sequence[str]], nothing: str, *, as_json: bool
) -> None:
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    if as_json:
        console.print_json(json.dumps(value))
        return
    if not rows:
        typer.echo(nothing)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(cell.replace("[", "\\[") for cell in row))
    console.print(table)


def _print_relatives(
    name: str, digest: str, relatives: Sequence[Relative], direction: str, *, as_json: bool
) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        console.print_json(json.dumps([asdict(a) for a in relatives]))
        return
    tree = Tree(f"[bold]{name}[/bold] {digest}")
    for distance, group in groupby(sorted(relatives, key=_order), key=lambda relative: relative.distance):
        branch = tree.add(f"{distance} {'steps' if distance > 1 else 'step'} {direction}")
        for relative in group:
            short = relative.identifier[:16] if relative.label == "Entity" else ""
            branch.add(f"[dim]{relative.kind}[/dim] {relative.name} [dim]{short}[/dim]")
    console.print(tree)


def _order(relative: Relative) -> tuple[int, str, str]:
    return relative.distance, relative.kind, relative.name
