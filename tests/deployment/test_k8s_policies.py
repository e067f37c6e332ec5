"""What every object that anybody may apply has to keep to; the exceptions are here, with their reason."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from k8s_manifests import (
    RENDERED,
    SOURCE,
    Manifest,
    Workload,
    every_object,
    of_kind,
    render,
    secret_values,
    workloads,
)

from drl.spec import PodSettings

NAMESPACES = ("drl-system", "drl-data", "drl-jobs")
# Registers GPUs with the kubelet: a folder of the node, as root, in kube-system.
OUTSIDE_THE_PROFILE = {"DaemonSet/nvidia-device-plugin"}
LAUNCHER = "StatefulSet/airflow-scheduler"


def containers(*, inside: bool = True) -> Iterator[tuple[str, Workload, Manifest]]:
    for workload in workloads():
        if not inside or workload.name not in OUTSIDE_THE_PROFILE:
            for container in workload.containers:
                yield f"{workload.name}:{container['name']}", workload, container


# --- the restricted profile


def test_namespaces_enforce_the_restricted_profile() -> None:
    found = {m["metadata"]["name"]: m["metadata"]["labels"] for m in of_kind("Namespace")}
    assert set(found) == set(NAMESPACES)
    for labels in found.values():
        for mode in ("enforce", "audit", "warn"):
            assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"


def test_pods_run_as_somebody_who_is_not_root() -> None:
    for workload in workloads():
        if workload.name not in OUTSIDE_THE_PROFILE:
            context = workload.pod["securityContext"]
            assert context["runAsNonRoot"] is True, workload.name
            assert context["runAsUser"] > 0, workload.name
            assert context["runAsGroup"] > 0, workload.name
            assert all("runAsUser" not in c["securityContext"] for c in workload.containers)


def test_our_own_images_run_as_their_user() -> None:
    for name, workload, container in containers():
        if container["image"].startswith("localhost/drl-"):
            assert workload.pod["securityContext"]["runAsUser"] == 10001, name


def test_pods_have_the_default_system_call_filter() -> None:
    for workload in workloads():
        assert workload.pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, workload.name


def test_containers_gain_and_keep_no_privilege() -> None:
    for name, _, container in containers(inside=False):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False, name
        assert context["capabilities"] == {"drop": ["ALL"]}, name
        assert not context.get("privileged"), name


def test_roots_are_read_only() -> None:
    for name, _, container in containers(inside=False):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, name


def test_pods_share_nothing_with_their_node() -> None:
    for workload in workloads():
        if workload.name not in OUTSIDE_THE_PROFILE:
            assert not any(workload.pod.get(k) for k in ("hostNetwork", "hostPID", "hostIPC")), workload.name
            for volume in workload.pod.get("volumes", []):
                kind = (set(volume) - {"name"}).pop()
                assert kind in ("configMap", "secret", "emptyDir", "persistentVolumeClaim"), workload.name
        assert all("hostPort" not in p for c in workload.containers for p in c.get("ports", []))


# --- tokens and rights


def test_only_the_launcher_has_a_service_account_token() -> None:
    for workload in workloads():
        mounted = workload.pod["automountServiceAccountToken"]
        assert mounted is (workload.name == LAUNCHER), workload.name
    for account in of_kind("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_rights_are_few_and_named() -> None:
    """What the operators call, in the namespace of jobs; no pods/exec, which an XCom sidecar would want."""
    assert not of_kind("ClusterRole")
    assert not of_kind("ClusterRoleBinding")
    roles = {role["metadata"]["name"]: role for role in of_kind("Role")}
    assert {role["metadata"]["namespace"] for role in roles.values()} == {"drl-jobs"}
    granted = {
        name: {
            (group, resource): set(rule["verbs"])
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
        }
        for name, role in roles.items()
    }
    assert granted == {
        "launcher": {
            ("", "pods"): {"create", "get", "list", "watch", "patch", "delete"},
            ("", "pods/log"): {"get"},
            ("", "events"): {"get", "list", "watch"},
        },
        "ray-launcher": {("ray.io", "rayjobs"): {"create", "get", "list", "delete"}},
    }


def test_rights_are_bound_to_the_launcher_alone() -> None:
    bound = {binding["roleRef"]["name"]: binding for binding in of_kind("RoleBinding")}
    assert set(bound) == {"launcher", "ray-launcher"}
    for binding in bound.values():
        assert binding["metadata"]["namespace"] == "drl-jobs"
        assert binding["roleRef"]["kind"] == "Role"
        (subject,) = binding["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": "airflow-launcher", "namespace": "drl-system"}
    users = {w.name for w in workloads() if w.pod.get("serviceAccountName") == "airflow-launcher"}
    assert users == {LAUNCHER}


def test_service_addresses_are_not_put_into_variables() -> None:
    """A Service called neo4j would give its pods NEO4J_* variables, which the image takes for settings."""
    for workload in workloads():
        assert workload.pod["enableServiceLinks"] is False, workload.name


# --- images


def test_images_have_a_registry_and_a_fixed_tag() -> None:
    for name, _, container in containers(inside=False):
        match = re.fullmatch(r"[a-z0-9.-]+(/[a-z0-9-]+)+:(?P<tag>[A-Za-z0-9._-]+)", container["image"])
        assert match, f"{name}: {container['image']}"
        assert match["tag"] != "latest", name
        assert container["imagePullPolicy"] == "IfNotPresent", name


def test_an_image_has_one_version_everywhere() -> None:
    versions: dict[str, set[str]] = {}
    for _, _, container in containers(inside=False):
        image, tag = container["image"].rsplit(":", 1)
        versions.setdefault(image, set()).add(tag)
    assert {image: tags for image, tags in versions.items() if len(tags) > 1} == {}


def test_an_image_is_named_in_one_file() -> None:
    named = [
        entry["name"]
        for path in SOURCE.rglob("kustomization.yaml")
        for entry in yaml.safe_load(path.read_text()).get("images", [])
    ]
    assert len(named) == len(set(named)) > 5


# --- resources and probes


def test_containers_say_what_they_need_and_may_take() -> None:
    for name, _, container in containers(inside=False):
        for side in ("requests", "limits"):
            assert set(container["resources"][side]) >= {"cpu", "memory"}, f"{name}: {side}"


def test_scratch_space_has_a_bound() -> None:
    for workload in workloads():
        for volume in workload.pod.get("volumes", []):
            assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"], workload.name


def test_servers_are_probed() -> None:
    for workload in workloads():
        if workload.serves and workload.name not in OUTSIDE_THE_PROFILE:
            for container in workload.pod["containers"]:
                wanted = {"readinessProbe", "livenessProbe"}
                wanted |= (
                    {"startupProbe"} if container["name"] != "setup" else set()
                )  # that one waits for others
                assert wanted <= set(container), f"{workload.name}:{container['name']}"


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_namespaces_have_a_quota(namespace: str) -> None:
    quotas = [q for q in of_kind("ResourceQuota", render(".")) if q["metadata"]["namespace"] == namespace]
    assert len(quotas) == 1
    assert "limits.memory" in quotas[0]["spec"]["hard"]


@pytest.mark.parametrize("path", RENDERED)
def test_what_runs_fits_into_its_quota(path: str) -> None:
    """All servers at once, and the largest job beside them."""
    for namespace in ("drl-system", "drl-data"):
        own = [w for w in workloads(render(path)) if w.namespace == namespace]
        hard = next(
            q for q in of_kind("ResourceQuota", render(path)) if q["metadata"]["namespace"] == namespace
        )
        for resource in ("cpu", "memory"):
            serving = sum(_of_pod(w, "limits", resource) * _replicas(w) for w in own if w.serves)
            job = max((_of_pod(w, "limits", resource) for w in own if not w.serves), default=0)
            assert serving + job <= _amount(hard["spec"]["hard"][f"limits.{resource}"]), f"{path} {namespace}"


def test_the_small_cluster_needs_less_than_two_processors() -> None:
    """Servers, one nightly job and one training together request at most 1.3 processors; training 0.5."""
    objects = render("tests/small-cluster")
    assert step_settings("tests/small-cluster")["cpu"] == 0.5
    serving = sum(_of_pod(w, "requests", "cpu") * _replicas(w) for w in workloads(objects) if w.serves)
    job = max(_of_pod(w, "requests", "cpu") for w in workloads(objects) if not w.serves)
    (limits,) = of_kind("LimitRange", objects)
    training = _amount(limits["spec"]["limits"][0]["defaultRequest"]["cpu"])
    assert training == 0.5
    assert serving + job + training <= 1.3


def step_settings(path: str) -> dict[str, Any]:
    """What the deployment says of the pods in which steps run."""
    (settings,) = [
        m for m in of_kind("ConfigMap", render(path)) if m["metadata"]["name"].startswith("airflow-settings")
    ]
    value: dict[str, Any] = json.loads(settings["data"]["DRL_POD"])
    return value


@pytest.mark.parametrize("path", RENDERED)
def test_steps_run_in_pods_of_the_image_for_them(path: str) -> None:
    PodSettings.model_validate(step_settings(path))
    assert {step_settings(p)["image"] for p in RENDERED} == {"localhost/drl-executor:0.1.0"}


def _replicas(workload: Workload) -> int:
    return int(workload.manifest["spec"].get("replicas", 1))


def _of_pod(workload: Workload, side: str, resource: str) -> float:
    """As the scheduler counts: all containers together, or one that runs before them if that is more."""
    together = sum(_amount(c["resources"][side][resource]) for c in workload.pod["containers"])
    before = [_amount(c["resources"][side][resource]) for c in workload.pod.get("initContainers", [])]
    return max([together, *before])


def _amount(text: str | int) -> float:
    units = {"m": 1e-3, "Mi": 2.0**20, "Gi": 2.0**30, "": 1.0}
    match = re.fullmatch(r"([0-9.]+)(m|Mi|Gi|)", str(text))
    assert match, text
    return float(match[1]) * units[match[2]]


# --- things that refer to each other


@pytest.mark.parametrize("path", RENDERED)
def test_selectors_match_their_pods(path: str) -> None:
    for workload in workloads(render(path)):
        if workload.serves:
            wanted = workload.manifest["spec"]["selector"]["matchLabels"]
            assert wanted.items() <= workload.labels.items(), workload.name


@pytest.mark.parametrize("path", RENDERED)
def test_services_find_their_pods_and_ports(path: str) -> None:
    for service in of_kind("Service", render(path)):
        namespace, selector = service["metadata"]["namespace"], service["spec"]["selector"]
        found = [
            w
            for w in workloads(render(path))
            if w.namespace == namespace and selector.items() <= w.labels.items()
        ]
        assert len(found) == 1, f"{path}: {service['metadata']['name']} finds {[w.name for w in found]}"
        open_ports = {p["name"]: p["containerPort"] for c in found[0].containers for p in c.get("ports", [])}
        for port in service["spec"]["ports"]:
            assert open_ports[port["targetPort"]] == port["port"], service["metadata"]["name"]


def test_the_services_that_people_know_have_their_ports() -> None:
    ports = {
        (s["metadata"]["namespace"], s["metadata"]["name"]): sorted(p["port"] for p in s["spec"]["ports"])
        for s in of_kind("Service", render("."))
    }
    assert ports[("drl-data", "minio-service")] == [9000, 9001]
    assert ports[("drl-data", "postgres-service")] == [5432]
    assert ports[("drl-data", "neo4j-service")] == [7474, 7687]


@pytest.mark.parametrize("path", RENDERED)
def test_what_keeps_state_has_a_claim_and_a_service(path: str) -> None:
    services = {(s["metadata"]["namespace"], s["metadata"]["name"]) for s in of_kind("Service", render(path))}
    for workload in workloads(render(path)):
        if workload.kind == "StatefulSet":
            claims = {c["metadata"]["name"] for c in workload.manifest["spec"]["volumeClaimTemplates"]}
            mounted = {m["name"] for c in workload.pod["containers"] for m in c["volumeMounts"]}
            assert claims, workload.name
            assert claims <= mounted, workload.name
            assert (workload.namespace, workload.manifest["spec"]["serviceName"]) in services, workload.name


def test_postgres_keeps_its_data_where_version_18_looks() -> None:
    (database,) = {w.name: w for w in workloads(render(".")) if w.name == "StatefulSet/postgres"}.values()
    mounts = {m["name"]: m["mountPath"] for m in database.pod["containers"][0]["volumeMounts"]}
    assert mounts["data"] == "/var/lib/postgresql"


@pytest.mark.parametrize("path", RENDERED)
def test_mounted_volumes_and_their_sources_exist(path: str) -> None:
    objects = render(path)
    known = {(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in objects}
    for w in workloads(objects):
        volumes = {v["name"]: v for v in w.pod.get("volumes", [])}
        own = {c["metadata"]["name"] for c in w.manifest["spec"].get("volumeClaimTemplates", [])}
        for container in w.containers:
            assert {m["name"] for m in container.get("volumeMounts", [])} <= set(volumes) | own, w.name
        for volume in volumes.values():
            if "configMap" in volume:
                assert ("ConfigMap", w.namespace, volume["configMap"]["name"]) in known, w.name
            if "secret" in volume:
                assert ("Secret", w.namespace, volume["secret"]["secretName"]) in known, w.name


@pytest.mark.parametrize("path", RENDERED)
def test_scripts_that_are_run_are_in_their_config_map(path: str) -> None:
    maps = {
        (m["metadata"].get("namespace"), m["metadata"]["name"]): m for m in of_kind("ConfigMap", render(path))
    }
    for w in workloads(render(path)):
        volumes = {v["name"]: v["configMap"]["name"] for v in w.pod.get("volumes", []) if "configMap" in v}
        for container in w.containers:
            places = {m["mountPath"]: m["name"] for m in container.get("volumeMounts", [])}
            for word in container.get("command", []):
                folder, _, file = word.rpartition("/")
                if places.get(folder) in volumes:
                    assert file in maps[(w.namespace, volumes[places[folder]])]["data"], f"{w.name}: {word}"


# --- secrets


@pytest.mark.parametrize("path", RENDERED)
def test_every_secret_that_is_used_is_generated(path: str) -> None:
    secrets = {
        (s["metadata"]["namespace"], s["metadata"]["name"]): set(s["data"])
        for s in of_kind("Secret", render(path))
    }
    for w in workloads(render(path)):
        for container in w.containers:
            for source in container.get("envFrom", []):
                if "secretRef" in source:
                    assert (w.namespace, source["secretRef"]["name"]) in secrets, w.name
            for variable in container.get("env", []):
                ref = variable.get("valueFrom", {}).get("secretKeyRef")
                if ref:
                    assert ref["key"] in secrets[(w.namespace, ref["name"])], f"{w.name}: {variable['name']}"


def test_no_secret_is_outside_a_secret() -> None:
    """None of the drawn values, in any object that is not a Secret, and not in the repository."""
    values = secret_values().values()
    for manifest in every_object():
        if manifest["kind"] != "Secret":
            text = json.dumps(manifest)
            assert not any(value in text for value in values), manifest["metadata"]["name"]


def test_variables_that_sound_secret_come_from_a_secret() -> None:
    for name, _, container in containers(inside=False):
        for variable in container.get("env", []):
            if re.search(r"PASS|SECRET|(?<!ACCESS_)KEY|TOKEN|MNEMONIC|AUTH", variable["name"]):
                assert "secretKeyRef" in variable.get("valueFrom", {}), f"{name}: {variable['name']}"


def test_training_pods_are_given_the_store_of_steps_and_nothing_else() -> None:
    (secret,) = [s for s in of_kind("Secret", render(".")) if s["metadata"]["namespace"] == "drl-jobs"]
    values = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
    assert secret["metadata"]["name"] == "step-store"
    assert values == {
        "DRL_S3_ENDPOINT": "http://minio-service.drl-data.svc:9000",
        "DRL_S3_ACCESS_KEY": "step",
        "DRL_S3_SECRET_KEY": secret_values()["s3_step"],
    }


def test_only_the_scheduler_has_connections_and_the_chain_key() -> None:
    """The dag-processor and the triggerer run files of pipelines, the api-server shows reports: no keys."""
    for w in workloads(render(".")):
        sources = {
            s["secretRef"]["name"] for c in w.containers for s in c.get("envFrom", []) if "secretRef" in s
        }
        has_all = any(name.startswith("airflow-connections") for name in sources)
        assert has_all is (w.name == LAUNCHER), w.name


def test_nobody_is_let_in_without_a_password() -> None:
    (settings,) = [
        m for m in of_kind("ConfigMap", render(".")) if m["metadata"]["name"].startswith("airflow-settings")
    ]
    assert not [name for name in settings["data"] if "ALL_ADMINS" in name]
    assert settings["data"]["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] == "admin:admin"
