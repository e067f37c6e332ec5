"""Lineage as PROV-JSON and as OpenLineage events, read by the packages that define them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lineage_runs import JournalRun, write_run
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    DatasetFacet,
    JobFacet,
    RunFacet,
    dataset_version_dataset,
    job_type_job,
    parent_run,
)
from openlineage.client.serde import Serde
from prov.model import (
    ProvActivity,
    ProvAgent,
    ProvAssociation,
    ProvAttribution,
    ProvDerivation,
    ProvDocument,
    ProvEntity,
    ProvGeneration,
    ProvUsage,
)

from drl.steps.exchange import FolderExchange
from drl.steps.lineage import run_lineage
from drl.stores.export_openlineage import run_events, run_id
from drl.stores.export_prov import prov_json
from drl.stores.lineage import RunLineage

RUN = JournalRun("battery", 2)
PROV = {
    "USED": ProvUsage,
    "WAS_GENERATED_BY": ProvGeneration,
    "WAS_DERIVED_FROM": ProvDerivation,
    "WAS_ASSOCIATED_WITH": ProvAssociation,
    "WAS_ATTRIBUTED_TO": ProvAttribution,
}


@pytest.fixture(scope="module")
def lineage(tmp_path_factory: pytest.TempPathFactory) -> RunLineage:
    folder: Path = tmp_path_factory.mktemp("sealed")
    return run_lineage(write_run(FolderExchange(folder), RUN))


# ------------------------------------------------------------------------------------------------ PROV


def test_the_prov_package_reads_every_node_and_relation(lineage: RunLineage) -> None:
    document = ProvDocument.deserialize(content=json.dumps(prov_json(lineage)), format="json")
    for kind, wanted in (
        (ProvEntity, lineage.entities),
        (ProvActivity, lineage.activities),
        (ProvAgent, lineage.agents),
    ):
        assert len(list(document.get_records(kind))) == len(wanted)
    for kind, record in PROV.items():
        wanted = [r for r in lineage.relations if r.kind == kind]
        assert len(list(document.get_records(record))) == len(wanted), kind


def test_prov_keeps_times_roles_and_numbers(lineage: RunLineage) -> None:
    document = ProvDocument.deserialize(content=json.dumps(prov_json(lineage)), format="json")
    train = next(a for a in document.get_records(ProvActivity) if str(a.identifier).endswith("/train"))
    assert train.get_startTime() == RUN.at(3)
    model = next(e for e in document.get_records(ProvEntity) if str(e.identifier) == f"sha256:{RUN.root}")
    assert model.label == RUN.pipeline
    roles = {str(value) for u in document.get_records(ProvUsage) for value in u.get_attribute("prov:role")}
    assert {"code", "settings", "train", "policy"} <= roles
    opening = next(e for e in lineage.entities if e.kind == "ledger opening")
    written = prov_json(lineage)["entity"][f"sha256:{opening.sha256}"]["drl:block_time"]
    assert written == {"$": str(opening.attributes["block_time"]), "type": "xsd:long"}


def test_prov_survives_a_round_trip(lineage: RunLineage) -> None:
    document = ProvDocument.deserialize(content=json.dumps(prov_json(lineage)), format="json")
    assert ProvDocument.deserialize(content=document.serialize(format="json"), format="json") == document
    assert "wasDerivedFrom(sha256:" in document.get_provn()


# ----------------------------------------------------------------------------------------- OpenLineage


def rebuilt(event: dict[str, Any]) -> RunEvent:
    """The event made of the client's own classes, which check identifiers, times and facets."""

    def facet(kind: Any, value: dict[str, Any], **nested: Any) -> Any:
        fields = {k: v for k, v in value.items() if not k.startswith("_")}
        made = kind(**{**fields, **nested})
        assert made._get_schema() == value["_schemaURL"]
        made._producer = value["_producer"]
        return made

    def dataset(kind: Any, value: dict[str, Any]) -> Any:
        version = facet(dataset_version_dataset.DatasetVersionDatasetFacet, value["facets"]["version"])
        assert isinstance(version, DatasetFacet)
        return kind(namespace=value["namespace"], name=value["name"], facets={"version": version})

    parent = event["run"]["facets"]["parent"]
    run = parent_run.Run(**parent["run"])
    job = parent_run.Job(**parent["job"])
    job_type = facet(job_type_job.JobTypeJobFacet, event["job"]["facets"]["jobType"])
    assert isinstance(job_type, JobFacet)
    parent_facet = facet(parent_run.ParentRunFacet, parent, run=run, job=job)
    assert isinstance(parent_facet, RunFacet)
    return RunEvent(
        eventType=RunState[event["eventType"]],
        eventTime=event["eventTime"],
        run=Run(event["run"]["runId"], {"parent": parent_facet}),
        job=Job(event["job"]["namespace"], event["job"]["name"], {"jobType": job_type}),
        producer=event["producer"],
        inputs=[dataset(InputDataset, d) for d in event["inputs"]],
        outputs=[dataset(OutputDataset, d) for d in event["outputs"]],
    )


def without_empty(value: Any) -> Any:
    """The client writes members without content, which its specification lets one leave out."""
    if isinstance(value, dict):
        return {k: without_empty(v) for k, v in value.items() if v not in ({}, [])}
    return [without_empty(v) for v in value] if isinstance(value, list) else value


def standard_facets(event: dict[str, Any]) -> dict[str, Any]:
    def standard(value: dict[str, Any]) -> dict[str, Any]:
        return {**value, "facets": {k: v for k, v in value["facets"].items() if not k.startswith("drl_")}}

    return {
        **event,
        "run": standard(event["run"]),
        "inputs": [standard(d) for d in event["inputs"]],
        "outputs": [standard(d) for d in event["outputs"]],
    }


def test_the_openlineage_client_makes_the_same_events(lineage: RunLineage) -> None:
    events = run_events(lineage)
    assert len(events) == 2 * len([a for a in lineage.activities if a.kind != "run"])
    for event in events:
        assert without_empty(json.loads(Serde.to_json(rebuilt(event)))) == without_empty(
            standard_facets(event)
        )


def test_openlineage_ties_steps_to_the_run_and_the_model_to_its_data(lineage: RunLineage) -> None:
    events = run_events(lineage)
    assert [e["eventTime"] for e in events] == sorted(e["eventTime"] for e in events)
    assert {e["run"]["facets"]["parent"]["run"]["runId"] for e in events} == {run_id(RUN.key)}
    train = next(e for e in events if e["job"]["name"] == "battery.train" and e["eventType"] == "COMPLETE")
    assert RUN.content("train") in [d["name"] for d in train["inputs"]]
    [model] = [d for d in train["outputs"] if d["facets"]["drl_entity"]["kind"] == "model"]
    assert (model["name"], model["facets"]["version"]["datasetVersion"]) == (RUN.root, RUN.root)
    assert train["run"]["runId"] != run_id(RUN.key)
