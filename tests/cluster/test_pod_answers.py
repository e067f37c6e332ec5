"""What becomes of a step's pod that ended well, by what is thought of its answer, on a real cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from cluster.kubernetes_api import Kubectl, eventually
from k8s_manifests import SOURCE

from drl.artifact import Artifact
from drl.errors import Falsified, StoreError
from drl.spec import load_pipeline
from drl.steps.exchange import FolderExchange
from drl.steps.journal import RunJournal
from drl.steps.request import StepRequest
from operators import pod_step
from operators.base import Run
from operators.pod import PodStepOperator

# Any image with `true` that is on the node, or can be had: what a step does is not the matter here.
IMAGE = next(
    f"{image['newName']}:{image['newTag']}"
    for image in yaml.safe_load((SOURCE / "base/kustomization.yaml").read_text())["images"]
    if image["name"] == "postgres"
)
SMALL = {"image": IMAGE, "cpu": 0.05, "memory": "32Mi", "shared_memory": "8Mi", "scratch": "16Mi"}


class Store(FolderExchange):
    """Steps' answers, which are not to be had for a while."""

    away = False

    def read(self, key: str) -> bytes:
        if self.away and key.endswith("/result.json"):
            raise StoreError("the store is away", remedy="wait")
        return super().read(key)


class TaskStore(dict[str, Any]):
    """What Airflow keeps of a task between its tries."""

    def set(self, name: str, value: Any) -> None:
        self[name] = value


class Tries:
    """The tries of one step whose pods end well at once: of ``prepare``, which asks others for nothing."""

    def __init__(self, folder: Path, kubectl: Kubectl) -> None:
        self.kubectl, self.store, self.kept = kubectl, Store(folder), TaskStore()

    def __call__(self, number: int) -> Any:
        """What the operator makes of try ``number``."""
        return PodStepOperator(task_id="prepare", step="prepare", pipeline="cartpole").work(self._run(number))

    def answer(self, attempt: str, data: bytes) -> None:
        """Put the answer where the step of that attempt would have put it."""
        resolved = Artifact("resolved.json", "0" * 64, 2)
        self.store.write_once(StepRequest("prepare", "cartpole/r", attempt, resolved).result_key, data)

    @property
    def pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.kubectl.json("get", "pods")["items"]
        return found

    def _run(self, number: int) -> Run:
        ti = SimpleNamespace(
            dag_id="cartpole", task_id="prepare", run_id="r", map_index=-1, try_number=number
        )
        ti.get_task_states = lambda dag_id, run_ids: {"r": {"prepare": "running"}}
        ti.get_dagrun_state = lambda dag_id, run_id: "running"
        ti.xcom_push = lambda key, value: None
        context = {"ti": ti, "run_id": "r", "dag": SimpleNamespace(), "task_state_store": self.kept}
        run = Run("cartpole", "cartpole/r", context)
        journal = RunJournal(self.store, run.key)
        journal.once("resolved.ref.json", Artifact("resolved.json", "0" * 64, 2).to_json)
        vars(run).update(store=self.store, records=self.store, journal=journal)
        vars(run).update(
            spec=load_pipeline(SOURCE.parents[1] / "dags" / "cartpole.yaml"), resolved={"champion": None}
        )
        return run


@pytest.fixture
def tries(
    kubectl: Kubectl, namespace: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Tries:
    here = kubectl.within(namespace("answers"))
    here.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "step"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "step-store"}},
    )
    extra = {"kube_config_path": os.environ["KUBECONFIG"], "namespace": here.namespace}
    connection = {"conn_type": "kubernetes", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("DRL_POD", json.dumps(SMALL))
    asked = pod_step.pod_arguments
    monkeypatch.setattr(pod_step, "pod_arguments", lambda *of: {**asked(*of), "cmds": ["true"]})
    return Tries(tmp_path, here)


def test_a_pod_is_kept_for_a_later_try_until_its_answer_is_refused(tries: Tries) -> None:
    tries.store.away = True
    with pytest.raises(StoreError, match="the store is away"):
        tries(1)
    (pod,) = tries.pods
    assert pod["status"]["phase"] == "Succeeded"

    tries.store.away = False
    tries.answer(pod["metadata"]["annotations"]["drl/attempt"], b'{"outputs": "none"}')
    with pytest.raises(Falsified, match="is no result of a step"):
        tries(2)  # took the first try's pod up: only that has this answer
    eventually(lambda: tries.pods == [], 60)

    tries.store.away = True
    with pytest.raises(StoreError, match="the store is away"):
        tries(3)
    (anew,) = tries.pods
    assert anew["metadata"]["annotations"]["drl/attempt"].startswith("3-")
