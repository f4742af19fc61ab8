"""Read the manifests that kustomize builds from k8s/: validation, pods as KubeRay makes them, network reachability."""

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
    """The documents that `kubectl apply -k k8s/WHERE` would send, as new objects on each call."""
    return list(yaml.load_all(_built(where), yaml.CSafeLoader))


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    """The documents of the given kinds."""
    return [document for document in documents if document["kind"] in kinds]


@cache
def _schemas() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "tests" / "kuberay_schema.yaml").read_text()))


def complaints(document: Document) -> list[str]:
    """Validation errors of a document: values that Kubernetes or KubeRay rejects, and keys that it ignores."""
    if not document["apiVersion"].startswith("ray.io/"):
        return _not_kubernetes(document)
    schema = jsonschema.Draft202012Validator(_schemas()[document["kind"]])
    if errors := [
        f"{'.'.join(map(str, error.path))}: {error.message}" for error in schema.iter_errors(document["spec"])
    ]:
        return errors
    pods = pods_of([document])
    pod_documents = ({"apiVersion": "v1", "kind": "Pod", "metadata": pod.metadata, "spec": pod.spec} for pod in pods)
    return [error for pod_document in pod_documents for error in _not_kubernetes(pod_document)]


@cache
def kuberays_own() -> dict[str, Any]:
    """Kind -> complete schema of its spec, from KubeRay's CRDs. Empty if CRDS does not exist."""
    schemas = {}
    for file in CRDS.glob("*.yaml"):
        definition = yaml.load(file.read_text(), yaml.CSafeLoader)["spec"]
        (version,) = [version for version in definition["versions"] if version["name"] == "v1"]
        schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        schemas[definition["names"]["kind"]] = _strict(schema)
    return schemas


def _strict(schema: Any) -> Any:
    """Translate Kubernetes' extensions into JSON Schema, and forbid unknown keys, which Kubernetes would drop."""
    if isinstance(schema, list):
        return [_strict(element) for element in schema]
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
    """The Ray cluster specification of the only RayService or RayJob."""
    (document,) = of_kind(documents, "RayService", "RayJob")
    return dict(document["spec"].get("rayClusterConfig") or document["spec"]["rayClusterSpec"])


@dataclass(frozen=True)
class Pod:
    """A kind of pod: a Deployment, a StatefulSet, Ray's head or a Ray worker group (`name`)."""

    name: str
    metadata: Document
    spec: Document

    @property
    def labels(self) -> dict[str, str]:
        """The pod's labels, with those that KubeRay adds."""
        return dict(self.metadata.get("labels", {}))

    @property
    def ports(self) -> dict[str, int]:
        """Port name -> number, over all containers."""
        containers = self.spec["containers"]
        return {port["name"]: port["containerPort"] for container in containers for port in container.get("ports", [])}


def pods_of(documents: list[Document]) -> list[Pod]:
    """The pods of the documents. Ray's have the labels and autoscaler that KubeRay adds (its controllers/ray/common/
    pod.go).
    """
    pods = []
    for document in of_kind(documents, "Deployment", "StatefulSet"):
        template = document["spec"]["template"]
        pods.append(Pod(document["metadata"]["name"], template["metadata"], template["spec"]))
    if of_kind(documents, "RayService", "RayJob"):
        ray = cluster(documents)
        pods.append(_ray_pod("head", ray["headGroupSpec"]))
        pods += [_ray_pod(group["groupName"], group) for group in ray["workerGroupSpecs"]]
        options = {
            key: value
            for key, value in ray["autoscalerOptions"].items()
            if key in ("env", "resources", "securityContext", "volumeMounts")
        }
        (head,) = [pod for pod in pods if pod.name == "head"]
        head.spec["containers"].append({"name": "autoscaler", "image": "raysift:cpu", **options})
    return pods


def _ray_pod(name: str, group: Document) -> Pod:
    template = copy.deepcopy(group["template"])
    kind = "head" if name == "head" else "worker"
    added = {"ray.io/is-ray-node": "yes", "ray.io/node-type": kind, "ray.io/group": name}
    labels = {**template.get("metadata", {}).get("labels", {}), **group.get("labels", {}), **added}
    return Pod(name, {"labels": labels}, template["spec"])


def containers(documents: list[Document]) -> Iterator[tuple[Pod, Document]]:
    """Yield every container with its pod."""
    for pod in pods_of(documents):
        for container in pod.spec["containers"]:
            yield pod, container


def references(documents: list[Document], kind: str) -> set[tuple[str, str]]:
    """The Secrets or ConfigMaps that documents refer to, as (name, key); the key is empty for the whole object."""
    # field of a reference -> its field with the name. A separate test checks the annotations of Ingresses.
    where = {
        "Secret": {"secretKeyRef": "name", "secretRef": "name", "secret": "secretName"},
        "ConfigMap": {"configMapKeyRef": "name", "configMapRef": "name", "configMap": "name"},
    }[kind]
    referenced: set[tuple[str, str]] = set()

    def collect(node: Any) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                if key in where and isinstance(value, dict):
                    referenced.add((value[where[key]], value.get("key", "")))
                collect(value)
        elif isinstance(node, list):
            for value in node:
                collect(value)

    collect(documents)
    return referenced


def number(quantity: str | int) -> float:
    """Parse a Kubernetes quantity (500m, 2, 16Gi) into a number of units or bytes."""
    units = {"m": 1e-3, "Mi": 2**20, "Gi": 2**30}
    text = str(quantity)
    unit = next((unit for unit in units if text.endswith(unit)), "")
    return float(text.removesuffix(unit)) * units.get(unit, 1)


def matches(selector: Document, labels: Mapping[str, str]) -> bool:
    """Whether a label selector, of matchLabels and matchExpressions with the operator In, selects these labels."""
    plain = selector.get("matchLabels", {})
    expressions = selector.get("matchExpressions", [])
    return all(labels.get(key) == value for key, value in plain.items()) and all(
        expression["operator"] == "In" and labels.get(expression["key"]) in expression["values"]
        for expression in expressions
    )


def may_reach(policies: list[Document], source: Mapping[str, str] | str, target: Mapping[str, str], port: int) -> bool:
    """Whether the NetworkPolicies allow traffic from `source`, the labels of a pod or the name of another namespace,
    to a port of pods with the labels `target`.
    """

    def allows(direction: str, selected: Mapping[str, str], side: str, other: Mapping[str, str] | str) -> bool:
        applying = [
            policy["spec"]
            for policy in policies
            if direction in policy["spec"]["policyTypes"] and matches(policy["spec"]["podSelector"], selected)
        ]
        rules = [rule for spec in applying for rule in spec.get(direction.lower(), [])]
        return not applying or any(
            any(_selects(peer, other) for peer in rule[side])
            and any(allowed.get("port") == port for allowed in rule.get("ports", [{"port": port}]))
            for rule in rules
        )

    leaves = isinstance(source, str) or allows("Egress", source, "to", target)
    return leaves and allows("Ingress", target, "from", source)


def _selects(peer: Document, pod: Mapping[str, str] | str) -> bool:
    """Whether a peer of a rule selects a pod by its labels, or all pods of the namespace with this name."""
    if isinstance(pod, str):
        return "namespaceSelector" in peer and matches(peer["namespaceSelector"], {"kubernetes.io/metadata.name": pod})
    return "namespaceSelector" not in peer and "podSelector" in peer and matches(peer["podSelector"], pod)
