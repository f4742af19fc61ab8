"""Access control in k8s/: network policies, pod security, service accounts, Secrets; and dangling references."""

import re

import pytest

from tests.support.manifests import BUILDS, K8S, build, containers, matches, may_reach, of_kind, pods_of, references
from tests.support.paths import ROOT

README = (K8S / "README.md").read_text()
OVERLAYS = BUILDS[:3]  # builds of a complete service
INGRESS = "nginx.ingress.kubernetes.io/"
OF_KUBERAY = {  # services that KubeRay makes -> one of their ports
    "raysift-serve-svc": "serve",
    "raysift-head-svc": "dashboard",
}

each = pytest.mark.parametrize("where", OVERLAYS)


# ---- network


@each
def test_parts_reach_each_other_as_they_must_and_nobody_else_does(where):
    documents = build(where)
    policies = of_kind(documents, "NetworkPolicy")
    pods = {pod.name: pod.labels for pod in pods_of(documents)}
    outside = ["traefik", "ingress-nginx", "kuberay", "monitoring"]
    targets = {pod.name: port for pod in pods_of(documents) for port in pod.ports.values()} | {"head": 8265}
    targets |= {name: 8000 for name, labels in pods.items() if labels.get("ray.io/node-type") == "worker"}
    ray = {name for name, labels in pods.items() if "ray.io/is-ray-node" in labels}
    workers = ray - {"head"}
    stores = set(targets) & {"redis", "chroma", "seaweedfs"}
    expected = {(source, target) for source in ray for target in ray | stores}
    expected |= {("app", worker) for worker in workers} | {("kuberay", "head")}
    expected |= {(proxy, target) for proxy in ("traefik", "ingress-nginx") for target in {*workers, "app"}}
    allowed = {
        (source, target)
        for source in [*pods, *outside]
        for target, port in targets.items()
        if may_reach(policies, pods.get(source, source), pods[target], port)
    }
    assert allowed == expected
    assert may_reach(policies, pods["decode"], pods["head"], 12345)  # Ray's workers listen on random ports
    assert not may_reach(policies, "traefik", pods["decode"], 12345)


@each
def test_ports_of_policies_are_ports_of_the_pods_that_they_lead_to(where):
    documents = build(where)
    pods = pods_of(documents)
    for policy in of_kind(documents, "NetworkPolicy"):
        spec = policy["spec"]
        assert any(matches(spec["podSelector"], pod.labels) for pod in pods)
        rules = [(spec["podSelector"], rule) for rule in spec.get("ingress", [])]
        rules += [
            (peer["podSelector"], rule)
            for rule in spec.get("egress", [])
            for peer in rule["to"]
            if "podSelector" in peer
        ]
        for selector, rule in rules:
            open_ports = {port for pod in pods if matches(selector, pod.labels) for port in pod.ports.values()}
            assert {entry["port"] for entry in rule.get("ports", [])} <= open_ports, policy["metadata"]["name"]


@each
def test_services_and_ingresses_lead_somewhere(where):
    documents = build(where)
    services = {}
    for service in of_kind(documents, "Service"):
        (pod,) = [
            pod for pod in pods_of(documents) if matches({"matchLabels": service["spec"]["selector"]}, pod.labels)
        ]
        services[service["metadata"]["name"]] = {port["name"] for port in service["spec"]["ports"]}
        for port in service["spec"]["ports"]:
            assert pod.ports[port["targetPort"]] == port["port"]
    (head,) = [pod for pod in pods_of(documents) if pod.name == "head"]
    assert set(OF_KUBERAY.values()) <= set(head.ports)
    services |= {name: {port} for name, port in OF_KUBERAY.items()}
    for ingress in of_kind(documents, "Ingress"):
        for path in ingress["spec"]["rules"][0]["http"]["paths"]:
            backend = path["backend"]["service"]
            assert backend["port"]["name"] in services[backend["name"]]


def test_nobody_comes_in_without_tls():
    ingresses = of_kind(build("base"), "Ingress")
    assert len(ingresses) == 2
    for ingress in ingresses:
        annotations = ingress["metadata"]["annotations"]
        assert not any("auth" in key for key in annotations)  # a password there would take the place of the key
        assert annotations[f"{INGRESS}force-ssl-redirect"] == "true"
        (tls,) = ingress["spec"]["tls"]
        assert tls["secretName"] in _secrets_of_the_readme()
        assert tls["hosts"] == [rule["host"] for rule in ingress["spec"]["rules"]]


# ---- pods


@pytest.mark.parametrize("where", BUILDS)
def test_no_pod_may_do_more_than_it_must(where):
    documents = build(where)
    for pod in pods_of(documents):
        assert pod.spec["securityContext"]["runAsNonRoot"] is True
        assert pod.spec["securityContext"]["runAsUser"] > 0
        assert pod.spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        # Raysift and Chroma would read the variables of services as settings: RAYSIFT_SERVE_SVC_PORT, CHROMA_PORT
        assert pod.spec["enableServiceLinks"] is False, pod.name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod.spec)
    for pod, container in containers(documents):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, pod.name
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert pod.name == "redis" or "/tmp" in mounts
        assert set(mounts.values()) <= _volumes(pod, documents), pod.name


@pytest.mark.parametrize("where", BUILDS)
def test_every_container_has_sizes_and_probes(where):
    for pod, container in containers(build(where)):
        resources = container["resources"]
        assert {"cpu", "memory"} <= set(resources["requests"]) & set(resources["limits"]), pod.name
        if container["name"] != "autoscaler":  # KubeRay adds it, without probes
            assert {"livenessProbe", "readinessProbe"} <= set(container), pod.name


@each
def test_probes_ask_under_a_name_that_is_answered(where):
    for pod, container in containers(build(where)):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            request = container.get(probe, {}).get("httpGet", {})
            if request.get("path", "").startswith(("/v1/", "/_stcore/")):
                assert request["httpHeaders"] == [{"name": "Host", "value": "localhost"}], pod.name
            if request:
                assert request["port"] in {port["name"] for port in container["ports"]}


@each
def test_only_the_autoscaler_may_ask_kubernetes(where):
    documents = build(where)
    accounts = {account["metadata"]["name"]: account for account in of_kind(documents, "ServiceAccount")}
    assert {pod.spec["serviceAccountName"] for pod in pods_of(documents)} == set(accounts)
    without_token = {name for name, account in accounts.items() if account.get("automountServiceAccountToken") is False}
    assert set(accounts) - without_token == {"ray-head"}
    (namespace,) = of_kind(documents, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {document["metadata"]["namespace"] for document in documents if document is not namespace} == {
        namespace["metadata"]["name"]
    }


@each
def test_drains_take_a_pod_at_a_time_and_ask_first_for_what_there_is_one_of(where):
    documents = build(where)
    pods = {pod.name: pod.labels for pod in pods_of(documents)}
    guarded = {}
    for budget in of_kind(documents, "PodDisruptionBudget"):
        names = [name for name, labels in pods.items() if matches(budget["spec"]["selector"], labels)]
        assert names, budget["metadata"]["name"]
        guarded |= dict.fromkeys(names, budget["spec"])
    assert set(pods) - set(guarded) <= {"seaweedfs"}
    for name, labels in pods.items():
        if "ray.io/is-ray-node" in labels:  # maxUnavailable needs a scale subresource, which a RayCluster has not
            assert isinstance(guarded[name]["minAvailable"], int)


@pytest.mark.parametrize("where", BUILDS)
def test_only_the_head_has_the_operators_key(where):
    pods = {pod.name: pod for pod in pods_of(build(where))}
    having = {
        name
        for name, pod in pods.items()
        if any(volume.get("secret", {}).get("secretName") == "raysift-key" for volume in pod.spec.get("volumes", []))
    }
    assert having == {"head"}
    for name, pod in pods.items():
        variables = {variable["name"] for container in pod.spec["containers"] for variable in container.get("env", [])}
        mounted = {mount["name"] for container in pod.spec["containers"] for mount in container["volumeMounts"]}
        assert ("RAYSIFT_KEY_FILE" in variables, "key" in mounted) == (
            (True, True) if name == "head" else (False, False)
        )


@each
def test_keys_users_and_jobs_outlive_the_head_and_one_head_at_a_time_has_them(where):
    documents = build(where)
    (claim,) = of_kind(documents, "PersistentVolumeClaim")
    claims = {
        pod.name: volume["persistentVolumeClaim"]["claimName"]
        for pod in pods_of(documents)
        for volume in pod.spec.get("volumes", [])
        if "persistentVolumeClaim" in volume
    }
    assert claims == {"head": claim["metadata"]["name"]}
    (settings,) = of_kind(documents, "ConfigMap")
    (head,) = [container for pod, container in containers(documents) if container["name"] == "ray-head"]
    assert {"name": "state", "mountPath": settings["data"]["RAYSIFT_STATE_DIR"]} in head["volumeMounts"]
    (service,) = of_kind(documents, "RayService")
    assert service["spec"]["upgradeStrategy"] == {"type": "None"}  # a second head would wait for the volume for ever
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_a_scans_own_cluster_leaves_the_services_volume_alone():
    assert of_kind(build("scan"), "PersistentVolumeClaim") == []
    for pod in pods_of(build("scan")):
        (state,) = [volume for volume in pod.spec["volumes"] if volume["name"] == "state"]
        assert "emptyDir" in state, pod.name


# ---- references


@each
def test_what_is_named_is_made_or_told_how_to_make(where):
    documents = build(where)
    config_maps = {document["metadata"]["name"] for document in of_kind(documents, "ConfigMap")}
    assert {name for name, _ in references(documents, "ConfigMap")} == config_maps
    documented = _secrets_of_the_readme()
    for name, key in references(documents, "Secret"):
        assert name in documented and (not key or key in documented[name]), (name, key)
    assert "auth_token" in documented[_ray(documents)["authOptions"]["secretName"]]  # the key that KubeRay reads
    assert {re.sub(r"-[a-z0-9]{10}$", "", name) for name in config_maps} == {"raysift-settings"}


def _ray(documents):
    (service,) = of_kind(documents, "RayService")
    return service["spec"]["rayClusterConfig"]


@pytest.mark.parametrize("where", BUILDS)
def test_no_secret_is_written_down(where):
    documents = build(where)
    assert of_kind(documents, "Secret") == []
    for _, container in containers(documents):
        for variable in container.get("env", []):
            if re.search("PASSWORD|SECRET|TOKEN|AUTH|KEY(?!_FILE)", variable["name"]):
                assert "secretKeyRef" in variable["valueFrom"]
    for settings in of_kind(documents, "ConfigMap"):
        assert not re.search("password|secret|token", " ".join(settings["data"]), re.IGNORECASE)


@pytest.mark.parametrize("where", BUILDS)
def test_every_image_has_a_version(where):
    for _, container in containers(build(where)):
        name, _, tag = container["image"].partition(":")
        assert tag and tag != "latest", name
    compose = (ROOT / "compose.yaml").read_text()
    images = {container["image"] for _, container in containers(build(where))}
    assert all(f"image: {image}\n" in compose for image in images if not image.startswith("raysift:"))


def test_the_readmes_commands_name_what_is_there():
    for folder in re.findall(r"kubectl \w+ -k (\S+)", README):
        assert (ROOT / folder / "kustomization.yaml").exists(), folder
    for file in re.findall(r"sh (\S+\.sh)", README):
        assert (ROOT / file).exists()
    assert {f"k8s/{where}" for where in BUILDS[1:]} <= set(re.findall(r"kubectl \w+ -k (\S+)", README))


def _secrets_of_the_readme():
    """Secret name -> its keys, from the README's `kubectl create secret` commands."""
    commands = README.replace("\\\n", " ")
    secrets = {}
    for kind, name, rest in re.findall(r"kubectl create secret (\w+) ([\w-]+)(.*)", commands):
        keys = re.findall(r"--from-(?:literal|file)=([\w.]+)=", rest)
        secrets[name] = {*keys} if kind == "generic" else {"tls.crt", "tls.key"}
    return secrets


def _volumes(pod, documents):
    claims = [
        claim["metadata"]["name"]
        for document in of_kind(documents, "StatefulSet")
        if document["metadata"]["name"] == pod.name
        for claim in document["spec"]["volumeClaimTemplates"]
    ]
    return {volume["name"] for volume in pod.spec.get("volumes", [])} | set(claims)
