"""Whether NetworkPolicies let a connection through, worked out without a cluster.

As Kubernetes defines it: a pod that no policy selects for a direction is open in it; else some rule of some
policy that selects it has to match. A connection needs the sender's egress and the receiver's ingress.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Peer:
    """A pod, or, without a namespace, an address outside the cluster."""

    address: str
    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Network:
    """The policies of a cluster; namespaces have the one label that Kubernetes gives them."""

    policies: tuple[Manifest, ...]

    def allows(self, source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
        """Whether the connection is let through at both ends."""
        return self._passes("Egress", source, target, port, protocol) and self._passes(
            "Ingress", target, source, port, protocol
        )

    def covers(self, pod: Peer) -> set[str]:
        """The directions in which at least one policy selects the pod."""
        return {
            way for policy in self.policies if _selects(policy, pod) for way in policy["spec"]["policyTypes"]
        }

    def _passes(self, way: str, pod: Peer, other: Peer, port: int, protocol: str) -> bool:
        if not pod.namespace or way not in self.covers(pod):
            return True
        selecting = [p for p in self.policies if _selects(p, pod) and way in p["spec"]["policyTypes"]]
        rules = [rule for policy in selecting for rule in policy["spec"].get(way.lower(), [])]
        key = "to" if way == "Egress" else "from"
        return any(
            _matches_port(rule.get("ports"), port, protocol)
            and _matches_peer(rule.get(key), other, pod.namespace)
            for rule in rules
        )


def _selects(policy: Manifest, pod: Peer) -> bool:
    same = policy["metadata"]["namespace"] == pod.namespace
    return same and _matches_labels(policy["spec"]["podSelector"], dict(pod.labels))


def _matches_labels(selector: Manifest, labels: Mapping[str, str]) -> bool:
    if unknown := set(selector) - {"matchLabels"}:
        raise NotImplementedError(f"selectors with {unknown} are not worked out here")
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())


def _matches_port(ports: Iterable[Manifest] | None, port: int, protocol: str) -> bool:
    return ports is None or any(p["port"] == port and p.get("protocol", "TCP") == protocol for p in ports)


def _matches_peer(peers: Iterable[Manifest] | None, other: Peer, home: str) -> bool:
    return peers is None or any(_is_peer(peer, other, home) for peer in peers)


def _is_peer(peer: Manifest, other: Peer, home: str) -> bool:
    if "ipBlock" in peer:
        address = ip_address(other.address)
        inside = address in ip_network(peer["ipBlock"]["cidr"])
        return inside and not any(address in ip_network(part) for part in peer["ipBlock"].get("except", ()))
    if not other.namespace:
        return False
    if "namespaceSelector" in peer:
        name = {"kubernetes.io/metadata.name": other.namespace}
        if not _matches_labels(peer["namespaceSelector"], name):
            return False
    elif other.namespace != home:
        return False
    return _matches_labels(peer.get("podSelector", {}), dict(other.labels))
