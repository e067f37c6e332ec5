"""Lineage as OpenLineage run events (schema 2-0-2), for data catalogs.

OpenLineage knows runs of jobs that read and write datasets, and no models: every entity is a dataset here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from drl import __version__
from drl.stores.lineage import Activity, Entity, RunLineage

PRODUCER = f"urn:drl:version:{__version__}"
_SPECIFICATION = "https://openlineage.io/spec"
_EVENT = f"{_SPECIFICATION}/2-0-2/OpenLineage.json#/$defs/RunEvent"
_PARENT = f"{_SPECIFICATION}/facets/1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet"
_VERSION = f"{_SPECIFICATION}/facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet"
_TYPE = f"{_SPECIFICATION}/facets/2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet"
_IDENTIFIERS = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562's namespace of identifiers
_NAMESPACE = "drl"


def run_events(lineage: RunLineage) -> list[dict[str, Any]]:
    """START and COMPLETE of every activity whose times are known, ordered by time.

    A run's own activity has no end: its events are those of its steps, whose parent it is.
    """
    entities = {e.sha256: e for e in lineage.entities}
    events = [
        event
        for activity in lineage.activities
        if activity.started and activity.ended
        for event in _events(lineage, activity, entities)
    ]
    return sorted(events, key=lambda e: (e["eventTime"], e["job"]["name"], e["eventType"] == "COMPLETE"))


def run_id(activity: str) -> str:
    """The UUID by which OpenLineage knows an activity; it follows from the key."""
    return str(uuid.uuid5(_IDENTIFIERS, f"urn:drl:lineage:{activity}"))


def _events(lineage: RunLineage, activity: Activity, entities: dict[str, Entity]) -> Iterable[dict[str, Any]]:
    pipeline = str(activity.run).partition("/")[0]
    inputs = {r.target for r in lineage.relations if r.kind == "USED" and r.source == activity.key}
    outputs = {
        r.source for r in lineage.relations if r.kind == "WAS_GENERATED_BY" and r.target == activity.key
    }
    event = {
        "producer": PRODUCER,
        "schemaURL": _EVENT,
        "run": {"runId": run_id(activity.key), "facets": _run_facets(activity, pipeline)},
        "job": {
            "namespace": _NAMESPACE,
            "name": f"{pipeline}.{activity.kind}",
            "facets": {
                "jobType": _facet(_TYPE, processingType="BATCH", integration="DRL", jobType=activity.kind)
            },
        },
        "inputs": [_dataset(entities[digest]) for digest in sorted(inputs)],
    }
    yield {**event, "eventType": "START", "eventTime": activity.started, "outputs": []}
    made = [_dataset(entities[digest]) for digest in sorted(outputs)]
    yield {**event, "eventType": "COMPLETE", "eventTime": activity.ended, "outputs": made}


def _run_facets(activity: Activity, pipeline: str) -> dict[str, Any]:
    own = _facet(_own("activity"), key=activity.key, kind=activity.kind, attributes=dict(activity.attributes))
    if activity.run == activity.key:
        return {"drl_activity": own}
    parent = _facet(
        _PARENT,
        run={"runId": run_id(str(activity.run))},
        job={"namespace": _NAMESPACE, "name": pipeline},
    )
    return {"parent": parent, "drl_activity": own}


def _dataset(entity: Entity) -> dict[str, Any]:
    own = _facet(_own("entity"), kind=entity.kind, name=entity.name, attributes=dict(entity.attributes))
    version = _facet(_VERSION, datasetVersion=entity.sha256)
    return {
        "namespace": "sha256",
        "name": entity.sha256,
        "facets": {"version": version, "drl_entity": own},
    }


def _facet(schema: str, **values: Any) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": schema, **values}


def _own(name: str) -> str:
    return f"urn:drl:openlineage:{name}:v1"
