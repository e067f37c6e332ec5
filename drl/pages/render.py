"""From what is known to HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from drl.errors import DrlError
from drl.evaluation.report.curves import learning_curves
from drl.evaluation.report.parts import SHAPES, comparison, learning_chart, style, templates
from drl.pages.champions import ChampionLine
from drl.pages.charts import sparkline
from drl.pages.graph_chart import graph_chart
from drl.pages.journals import Journals
from drl.pages.lineage import Placed, Surroundings
from drl.pages.overview import RunLine, ago, by_pipeline
from drl.pages.run import STEPS, RunFacts
from drl.record.ledger import Account
from drl.spec import PipelineSpec, parse_pipeline

PAGE = 25
"""Runs on a page of the list."""
DEPTHS = (2, 4, 8)
_SPARKS = 40
_TYPES = {"css": "text/css", "js": "text/javascript"}


@dataclass(frozen=True)
class Site:
    """What every page needs to know about where it is.

    Attributes:
        root: path below which the pages are, without a slash at its end.
        mlflow: address of MLflow for a person's browser, None when nobody says.
        explorer: address of a transaction with ``{tx}`` in it, None without a block explorer.
    """

    root: str
    mlflow: str | None = None
    explorer: str | None = None


@dataclass(frozen=True)
class Overview:
    """What the first page shows.

    Attributes:
        champions: or the error that says why they are not known.
        runs: the newest runs.
        page: which page of them, from 0.
    """

    champions: Sequence[ChampionLine] | DrlError
    runs: Sequence[RunLine]
    page: int = 0


def asset(name: str) -> tuple[bytes, str]:
    """A style sheet or script by its name, with its media type; KeyError when there is none."""
    if name == "report.css":
        return style().encode(), _TYPES["css"]
    folder = resources.files("drl.pages").joinpath("static")
    if name not in {file.name for file in folder.iterdir()}:
        raise KeyError(name)
    return folder.joinpath(name).read_bytes(), _TYPES[name.rpartition(".")[2]]


def overview_page(site: Site, view: Overview) -> str:
    """Champions, pipelines, recent runs."""
    failed = isinstance(view.champions, DrlError)
    first = view.page * PAGE
    return _render(
        "overview.html.j2",
        site,
        here="overview",
        champions=() if failed else view.champions,
        champions_problem=view.champions if failed else None,
        pipelines=[_card(name, runs) for name, runs in by_pipeline(view.runs).items()],
        runs=view.runs[first : first + PAGE],
        older=len(view.runs) > first + PAGE,
        page=view.page,
    )


def run_page(site: Site, run: RunFacts, journals: Journals, *, trust_words: str) -> str:
    """Everything about a run."""
    spec = _spec(run)
    trained, prepared = run.summary("train"), run.summary("prepare")
    registered = run.documents.get("registration.json")
    outputs = {step: run.outputs(step) for step in STEPS if run.outputs(step)}
    return _render(
        "run.html.j2",
        site,
        here="run",
        run=run,
        shape=SHAPES.get(run.verdict or "", ""),
        compared=run.evaluation is not None,
        data=prepared,
        docs=any(file.name == "data_docs.html" for file in run.outputs("prepare")),
        curves=_curves(run, spec, journals),
        selection=trained["selection"] if trained else None,
        files=outputs,
        registered=registered,
        root_digest=trained["model_root"] if trained else None,
        mlflow=f"{site.mlflow}/#/models/{registered['model']}/versions/{registered['version']}"
        if site.mlflow and registered
        else None,
        explorer=site.explorer,
        trust_words=trust_words,
        **(comparison(spec, run.evaluation) if run.evaluation is not None else {}),
    )


def lineage_page(site: Site, run: RunFacts, around: Surroundings | DrlError, depth: int) -> str:
    """The graph around a thing."""
    if isinstance(around, DrlError):
        return _render("lineage.html.j2", site, here="lineage", run=run, problem=around)

    def link(placed: Placed) -> str:
        if placed.run:
            return f"{site.root}/run/{placed.run}"
        return f"{site.root}/lineage/{run.key}?node={placed.id}&depth={depth}"

    return _render(
        "lineage.html.j2",
        site,
        here="lineage",
        run=run,
        problem=None,
        around=around,
        chart=graph_chart(around, link),
        link=link,
        depth=depth,
        depths=DEPTHS,
        outside=_outside(site, run, around),
    )


def account_part(site: Site, account: Account | DrlError, head: int) -> str:
    """What the chain says of a pipeline, as a part of a page."""
    problem = account if isinstance(account, DrlError) else None
    return _render("account.html.j2", site, problem=problem, account=account, head=head)


def message_page(site: Site, title: str, message: str, remedy: str | None = None) -> str:
    """A page with one sentence."""
    return _render("message.html.j2", site, here="", title=title, message=message, remedy=remedy)


def _card(name: str, runs: Sequence[RunLine]) -> dict[str, Any]:
    played = [run for run in runs if run.mean is not None][-_SPARKS:]
    spark = None
    if played:
        values = [run.mean for run in played if run.mean is not None]
        spark = sparkline(values, [run.verdict for run in played], unit=played[-1].unit)
    return {"name": name, "last": runs[-1], "runs": len(runs), "spark": spark}


def _spec(run: RunFacts) -> PipelineSpec:
    return parse_pipeline(dict(run.resolved["spec"]), path=Path(f"{run.key}/resolved.json"))


def _curves(run: RunFacts, spec: PipelineSpec, journals: Journals) -> str | None:
    """The chart of the learning curves, None before training has ended."""
    trained = run.summary("train")
    files = [file for file in run.outputs("train") if file.name.endswith("/metrics.jsonl")]
    if trained is None:
        return None
    texts = {file.name: journals.file(file).decode() for file in files}
    return learning_chart(spec, learning_curves(texts), released=int(trained["released"]))


def _outside(site: Site, run: RunFacts, around: Surroundings) -> list[tuple[str, str]]:
    """Where else the chosen thing can be seen: this run's files, MLflow, the chain."""
    chosen, found = around.chosen, []
    for step in STEPS:
        for file in run.outputs(step):
            if file.sha256 == chosen.sha256:
                found.append(
                    (f"S3: sha256/{file.sha256[:12]}…", f"{site.root}/file/{run.key}/{step}/{file.name}")
                )
    facts: Mapping[str, Any] = chosen.attributes
    if site.mlflow and chosen.kind == "model version":
        found.append(("MLflow", f"{site.mlflow}/#/models/{facts['model']}/versions/{facts['version']}"))
    if "tx" in facts:
        address = (
            site.explorer.format(tx=facts["tx"]) if site.explorer else f"{site.root}/run/{run.key}#ledger"
        )
        found.append((f"chain: transaction {str(facts['tx'])[:14]}…", address))
    return found


def _render(name: str, site: Site, **values: Any) -> str:
    return _templates().get_template(name).render(root=site.root, **values)


@cache
def _templates() -> jinja2.Environment:
    environment = templates(("drl.pages", "templates"))
    environment.filters["ago"] = ago
    return environment
