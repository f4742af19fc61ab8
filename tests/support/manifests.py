"""What k8s/ builds, read: its documents, checked; its pods, as KubeRay makes them; who may reach whom."""

import copy
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from tests.support.paths import ROOT, SHARED

K8S = ROOT / "k8s"
BUILDS = ("base", "overlays/dev", "overlays/gpu", "scan")
CRDS = SHARED / "kuberay_crds"
VERSION = "1.37"  # of Kubernetes

Document = dict[str, Any]


@cache
def _built(where: str) -> str:
    command = [str(Path(sys.executable).parent / "kubectl"), "kustomize", str(K8S / where)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def build(where: str) -> list[Document]:
    """The documents that `kubectl apply -k` would send, fresh ones each time."""
    return list(yaml.load_all(_built(where), yaml.CSafeLoader))


def of(documents: list[Document], *kinds: str) -> list[Document]:
    return [document for document in documents if document["kind"] in kinds]


@cache
def _schemas() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "tests" / "kuberay_schema.yaml").read_text()))


def complaints(document: Document) -> list[str]:
    """What Kubernetes or KubeRay would not take, or would take no notice of: a misspelt key."""
    if not document["apiVersion"].startswith("ray.io/"):
        return _not_kubernetes(document)
    schema = jsonschema.Draft202012Validator(_schemas()[document["kind"]])
    if found := [
        f"{'.'.join(map(str, error.path))}: {error.message}" for error in schema.iter_errors(document["spec"])
    ]:
        return found
    pods = pods_of([document])
    kinds = ({"apiVersion": "v1", "kind": "Pod", "metadata": pod.metadata, "spec": pod.spec} for pod in pods)
    return [words for kind in kinds for words in _not_kubernetes(kind)]


@cache
def kuberays_own() -> dict[str, Any]:
    """The schemas of KubeRay's kinds, complete and strict; none where they do not lie beside the repository."""
    found = {}
    for file in CRDS.glob("*.yaml"):
        definition = yaml.load(file.read_text(), yaml.CSafeLoader)["spec"]
        (version,) = [one for one in definition["versions"] if one["name"] == "v1"]
        schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        found[definition["names"]["kind"]] = _strict(schema)
    return found


def _strict(schema: Any) -> Any:
    """What Kubernetes says in words of its own, in those of JSON schema; and what it would drop, refused."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-") and key != "format"}
    if schema.get("x-kubernetes-int-or-string"):
        kept.pop("type", None)
        kept["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if schema.get("type") == "object" and "properties" in schema and "additionalProperties" not in schema:
        kept["additionalProperties"] = False
    plain = ("enum", "default", "required")
    strict = {key: value if key in plain else _strict(value) for key, value in kept.items() if key != "properties"}
    if "properties" in kept:
        strict["properties"] = {key: _strict(value) for key, value in kept["properties"].items()}
    return strict


def _not_kubernetes(document: Document) -> list[str]:
    try:
        kubernetes_validate.validate(document, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    return []


def cluster(documents: list[Document]) -> Document:
    """The specification of the Ray cluster among them."""
    (document,) = of(documents, "RayService", "RayJob")
    return dict(document["spec"].get("rayClusterConfig") or document["spec"]["rayClusterSpec"])


@dataclass(frozen=True)
class Pod:
    """One of each kind that there will be."""

    name: str
    metadata: Document
    spec: Document

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.metadata.get("labels", {}))

    @property
    def ports(self) -> dict[str, int]:
        containers = self.spec["containers"]
        return {port["name"]: port["containerPort"] for one in containers for port in one.get("ports", [])}


def pods_of(documents: list[Document]) -> list[Pod]:
    """Their pods. Ray's have the labels and the autoscaler that KubeRay adds (controllers/ray/common/pod.go)."""
    found = []
    for document in of(documents, "Deployment", "StatefulSet"):
        template = document["spec"]["template"]
        found.append(Pod(document["metadata"]["name"], template["metadata"], template["spec"]))
    if of(documents, "RayService", "RayJob"):
        ray = cluster(documents)
        found.append(_ray_pod("head", ray["headGroupSpec"]))
        found += [_ray_pod(group["groupName"], group) for group in ray["workerGroupSpecs"]]
        options = {
            key: value
            for key, value in ray["autoscalerOptions"].items()
            if key in ("env", "resources", "securityContext", "volumeMounts")
        }
        (head,) = [pod for pod in found if pod.name == "head"]
        head.spec["containers"].append({"name": "autoscaler", "image": "raysift:cpu", **options})
    return found


def _ray_pod(name: str, group: Document) -> Pod:
    template = copy.deepcopy(group["template"])
    kind = "head" if name == "head" else "worker"
    given = {"ray.io/is-ray-node": "yes", "ray.io/node-type": kind, "ray.io/group": name}
    labels = {**template.get("metadata", {}).get("labels", {}), **group.get("labels", {}), **given}
    return Pod(name, {"labels": labels}, template["spec"])


def containers(documents: list[Document]) -> Iterator[tuple[Pod, Document]]:
    for pod in pods_of(documents):
        for container in pod.spec["containers"]:
            yield pod, container


def references(documents: list[Document], kind: str) -> set[tuple[str, str]]:
    """The Secrets or ConfigMaps that are named, each with the key that is wanted, empty for all of it."""
    # where a name stands, and what the key beside it is called; of an Ingress' annotation see the test of it
    where = {
        "Secret": {"secretKeyRef": "name", "secretRef": "name", "secret": "secretName"},
        "ConfigMap": {"configMapKeyRef": "name", "configMapRef": "name", "configMap": "name"},
    }[kind]
    found: set[tuple[str, str]] = set()

    def look(node: Any) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                if key in where and isinstance(value, dict):
                    found.add((value[where[key]], value.get("key", "")))
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    look(documents)
    return found


def number(quantity: str | int) -> float:
    """Kubernetes' quantity: 500m, 2, 16Gi."""
    units = {"m": 1e-3, "Mi": 2**20, "Gi": 2**30}
    text = str(quantity)
    unit = next((unit for unit in units if text.endswith(unit)), "")
    return float(text.removesuffix(unit)) * units.get(unit, 1)


def matches(selector: Document, labels: Mapping[str, str]) -> bool:
    plain = selector.get("matchLabels", {})
    listed = selector.get("matchExpressions", [])
    return all(labels.get(key) == value for key, value in plain.items()) and all(
        one["operator"] == "In" and labels.get(one["key"]) in one["values"] for one in listed
    )


def may_reach(policies: list[Document], source: Mapping[str, str] | str, target: Mapping[str, str], port: int) -> bool:
    """Whether the policies let a pod of these labels, or the pods of another namespace, reach one of these."""

    def lets(direction: str, selected: Mapping[str, str], side: str, other: Mapping[str, str] | str) -> bool:
        ours = [
            policy["spec"]
            for policy in policies
            if direction in policy["spec"]["policyTypes"] and matches(policy["spec"]["podSelector"], selected)
        ]
        rules = [rule for spec in ours for rule in spec.get(direction.lower(), [])]
        return not ours or any(
            any(_is(peer, other) for peer in rule[side])
            and any(one.get("port") == port for one in rule.get("ports", [{"port": port}]))
            for rule in rules
        )

    leaves = isinstance(source, str) or lets("Egress", source, "to", target)
    return leaves and lets("Ingress", target, "from", source)


def _is(peer: Document, who: Mapping[str, str] | str) -> bool:
    if isinstance(who, str):
        return "namespaceSelector" in peer and matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": who})
    return "namespaceSelector" not in peer and "podSelector" in peer and matches(peer["podSelector"], who)
