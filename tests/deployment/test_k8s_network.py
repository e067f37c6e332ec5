"""Who may talk to whom: every pair of parts and every port, against one table; no cluster is asked."""

from __future__ import annotations

from functools import cache

import pytest
from k8s_manifests import RENDERED, of_kind, render, workloads
from network_policies import Network, Peer

PORTS = {
    "api-server": (8080,),
    "scheduler": (8793, 8974),
    "triggerer": (8794,),
    "tracking": (5000,),
    "policy-server": (8770,),
    "database": (5432,),
    "object-store": (9000, 9001),
    "graph": (7474, 7687),
    "chain": (8545, 30303),
}
HOMES = {
    "drl-system": ("api-server", "scheduler", "dag-processor", "triggerer", "tracking", "policy-server"),
    "drl-data": ("database", "object-store", "graph", "chain", "backup"),
    "drl-jobs": ("step",),
}
EDGES = {
    ("scheduler", "api-server", 8080),
    ("scheduler", "database", 5432),
    ("scheduler", "object-store", 9000),
    ("scheduler", "graph", 7687),
    ("scheduler", "chain", 8545),
    ("scheduler", "tracking", 5000),
    ("api-server", "database", 5432),
    ("api-server", "object-store", 9000),
    ("api-server", "graph", 7687),
    ("api-server", "chain", 8545),
    ("api-server", "tracking", 5000),
    ("api-server", "scheduler", 8793),
    ("api-server", "triggerer", 8794),
    ("dag-processor", "database", 5432),
    ("triggerer", "database", 5432),
    ("tracking", "database", 5432),
    ("tracking", "object-store", 9000),
    ("step", "object-store", 9000),
}
MORE = {
    "tests/all-components": {
        ("backup", "database", 5432),
        ("backup", "graph", 7687),
        ("backup", "object-store", 9000),
        ("chain", "chain", 30303),
        ("policy-server", "chain", 8545),
        ("policy-server", "object-store", 9000),
        ("policy-server", "tracking", 5000),
        ("traefik", "api-server", 8080),
    }
}
NAMES = ("app.kubernetes.io/component", "app.kubernetes.io/name")
PARTS = {
    part: Peer(f"10.42.{n}.{m}", namespace, ((NAMES[0], part),))
    for n, (namespace, parts) in enumerate(HOMES.items())
    for m, part in enumerate(parts, start=10)
}
DNS = Peer("10.42.9.1", "kube-system", (("k8s-app", "kube-dns"),))
TRAEFIK = Peer("10.42.9.2", "kube-system", ((NAMES[1], "traefik"),))
STRANGER = Peer("10.42.9.3", "default", ((NAMES[0], "scheduler"),))  # the right label in another namespace
KUBERNETES = Peer("192.168.1.20")  # a node's address: what the Service's is translated to
INTERNET = Peer("151.101.0.223")
PRIVATE = Peer("192.168.1.30")
METADATA = Peer("169.254.169.254")


@cache
def network(path: str) -> Network:
    return Network(tuple(of_kind("NetworkPolicy", render(path))))


@pytest.mark.parametrize("path", [".", "tests/all-components"])
def test_only_the_edges_of_the_table_are_open(path: str) -> None:
    sources = PARTS | {"traefik": TRAEFIK, "stranger": STRANGER}
    open_edges = {
        (source, target, port)
        for source, pod in sources.items()
        for target, ports in PORTS.items()
        for port in ports
        if network(path).allows(pod, PARTS[target], port)
    }
    assert open_edges == EDGES | MORE.get(path, set())


@pytest.mark.parametrize("part", sorted(PARTS))
def test_what_each_part_may_reach_outside(part: str) -> None:
    wall, pod = network("."), PARTS[part]
    assert wall.allows(pod, DNS, 53, "UDP")
    assert wall.allows(pod, DNS, 53)
    assert not wall.allows(pod, DNS, 9153)
    assert wall.allows(pod, KUBERNETES, 6443) is (part == "scheduler")
    assert wall.allows(pod, INTERNET, 443) is (part in ("scheduler", "step"))
    assert not wall.allows(pod, INTERNET, 80)
    assert not wall.allows(pod, PRIVATE, 443)
    assert not wall.allows(pod, METADATA, 443)
    assert not wall.allows(pod, METADATA, 80)


@pytest.mark.parametrize("part", sorted(PORTS))
def test_nobody_outside_gets_in(part: str) -> None:
    for outside in (INTERNET, PRIVATE, TRAEFIK, STRANGER):
        for port in PORTS[part]:
            assert not network(".").allows(outside, PARTS[part], port)


def test_training_pods_do_not_reach_each_other() -> None:
    other = Peer("10.42.2.99", "drl-jobs", ())
    assert not any(network(".").allows(PARTS["step"], other, port) for port in (80, 6379, 8265, 10001))


def test_prometheus_reaches_the_numbers_and_nothing_else() -> None:
    wall = network("tests/all-components")
    prometheus = Peer("10.42.9.5", "monitoring", ((NAMES[1], "prometheus"),))
    reached = {
        (part, port)
        for part, pod in PARTS.items()
        for port in {9464, *PORTS.get(part, ())}
        if wall.allows(prometheus, pod, port)
    }
    assert reached == {("scheduler", 9464)}
    assert not network(".").allows(prometheus, PARTS["scheduler"], 9464)


def test_pods_of_ray_reach_each_other_and_are_asked_by_kuberay_alone() -> None:
    wall = network("tests/all-components")
    head, worker = (Peer(f"10.42.2.{n}", "drl-jobs", ((NAMES[0], "ray"),)) for n in (50, 51))
    operator = Peer("10.42.9.4", "kuberay-operator", ((NAMES[0], "kuberay-operator"),))
    for port in (6379, 8265, 10001):
        assert wall.allows(worker, head, port)
        assert not network(".").allows(worker, head, port)
        assert wall.allows(operator, head, port) is (port == 8265)
        for other in (PARTS["step"], PARTS["scheduler"], STRANGER, INTERNET):
            assert not wall.allows(other, head, port)
            assert not wall.allows(head, other, port)
    assert wall.allows(head, PARTS["object-store"], 9000)


@pytest.mark.parametrize("path", [p for p in RENDERED])
def test_every_pod_is_covered_both_ways(path: str) -> None:
    for workload in workloads(render(path)):
        if workload.namespace != "kube-system":
            pod = Peer("10.42.0.1", workload.namespace, tuple(workload.labels.items()))
            assert network(path).covers(pod) == {"Ingress", "Egress"}, f"{path}: {workload.name}"


def test_every_part_of_the_table_is_a_pod_that_exists() -> None:
    found = {w.labels[NAMES[0]] for w in workloads(render("tests/all-components"))}
    assert set(PARTS) - {"step"} <= found


def test_without_policies_everything_is_open() -> None:
    """The evaluator itself: what it says "no" to is said by a policy."""
    assert Network(()).allows(PARTS["step"], PARTS["chain"], 8545)
    closed = tuple(p for p in network(".").policies if p["metadata"]["name"] == "deny-all")
    assert not Network(closed).allows(PARTS["scheduler"], PARTS["database"], 5432)
