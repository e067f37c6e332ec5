"""``drl lineage``: what a model was made of, as a tree."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from itertools import groupby

from rich.console import Console
from rich.tree import Tree

from drl.cli.show import records, summary
from drl.errors import InputError
from drl.stores.graph import LineageGraph, Relative
from drl.stores.settings import GraphSettings


def show_lineage(model: str, depth: int, *, as_json: bool) -> None:
    """Print everything that ``model`` (a registered name or a digest) was made of, nearest first."""
    digest = model if re.fullmatch(r"[0-9a-f]{64}", model) else _newest_root(model)
    with LineageGraph(GraphSettings.from_environment()) as graph:
        ancestors = graph.ancestry(digest, depth=depth)
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        console.print_json(json.dumps([asdict(a) for a in ancestors]))
        return
    tree = Tree(f"[bold]{model}[/bold] {digest}")
    for distance, group in groupby(sorted(ancestors, key=_order), key=lambda relative: relative.distance):
        branch = tree.add(f"{distance} {'steps' if distance > 1 else 'step'} back")
        for relative in group:
            short = relative.identifier[:16] if relative.label == "Entity" else ""
            branch.add(f"[dim]{relative.kind}[/dim] {relative.name} [dim]{short}[/dim]")
    console.print(tree)


def _order(relative: Relative) -> tuple[int, str, str]:
    return relative.distance, relative.kind, relative.name


def _newest_root(model: str) -> str:
    documents = records()
    for key in documents.list("index/"):
        found = summary(documents.read(key).decode())
        if found["resolved"]["spec"]["registration"]["model"] == model and "train" in found:
            return str(found["train"]["summary"]["model_root"])
    raise InputError(f"no run has made a model {model!r}", remedy="see the runs: drl show")
