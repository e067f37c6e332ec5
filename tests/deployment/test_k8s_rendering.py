"""Every component and combination renders, and is valid Kubernetes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from checkov_findings import findings
from k8s_manifests import COMPONENTS, ROOT, SOURCE, every_object, folder, of_kind, render, tool, workloads

# Components that change what another one brings.
AFTER = {"gpu-timeslicing": ["gpu"]}


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_component_renders_over_the_base_alone(component: str) -> None:
    place = folder() / "tests" / f"only-{component}"
    place.mkdir(exist_ok=True)
    parts = [f"../../components/{name}" for name in [*AFTER.get(component, []), component]]
    (place / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["../../base"], "components": parts, "kind": "Kustomization"})
    )
    made = render(f"tests/only-{component}")
    shutil.rmtree(place)
    assert made != render("base")


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_component_says_what_it_does_and_is_in_a_combination(component: str) -> None:
    assert f"components/{component}" in (SOURCE / "components" / component / "README.md").read_text()
    assert f"components/{component}\n" in (SOURCE / "tests/all-components/kustomization.yaml").read_text()


def test_one_object_a_file() -> None:
    for path in SOURCE.rglob("*.yaml"):
        documents = list(yaml.safe_load_all(path.read_text()))
        assert len(documents) == 1, f"{path.relative_to(ROOT)} has {len(documents)} documents"


def test_every_file_is_used_by_a_kustomization() -> None:
    """A manifest that no kustomization names is never applied."""
    for path in SOURCE.rglob("kustomization.yaml"):
        text = path.read_text()
        for file in path.parent.glob("*.yaml"):
            if file.name not in ("kustomization.yaml", "loader-pod.yaml"):  # restore.sh applies that one
                assert re.search(rf"(?<![\w-]){re.escape(file.name)}", text), (
                    f"{path}: {file.name} is not used"
                )


def test_all_objects_are_valid_by_the_schemas_of_kubernetes(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(yaml.dump_all(every_object(), Dumper=yaml.CSafeDumper))
    done = subprocess.run(
        [tool("kubernetes-validate"), "-k", "1.36", "--strict", str(file)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    checked = len(re.findall(r" passed ", done.stdout + done.stderr))
    own = [m for m in every_object() if "kueue" in m["apiVersion"]]  # custom resources have no schema there
    assert checked == len(every_object()) - len(own)


def test_checkov_finds_nothing_but_what_is_meant() -> None:
    found = findings()["kubernetes"]
    assert found.passed > 1000, "it looked at everything"
    assert found.unexplained() == set()
    assert found.idle() == []


def test_root_applies_the_base_closed_to_the_network() -> None:
    names = {w.name for w in workloads(render("."))}
    assert {w.name for w in workloads(render("base"))} == names
    assert len(of_kind("NetworkPolicy", render("."))) > len(of_kind("NetworkPolicy", render("base")))
