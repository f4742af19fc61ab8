"""The sizes in k8s/ fit the settings that its pods load: ports, names, CPUs, memory, GPUs."""

import os
import re
import tomllib
from pathlib import Path

import pytest

from cluster import gpus
from cluster.errors import SettingsError
from cluster.processes import Processes
from cluster.settings import PREFIX, Settings, load
from deployments.api.ingress import Ingress
from deployments.serving.placement import configs, grouped, most_replicas, replicas, shares
from pipelines.analysis import BATCHES_IN_FLIGHT
from pipelines.analyze import BLOCKS_IN_FLIGHT, TASK_CPUS
from tests.support.manifests import BUILDS, build, cluster, containers, number, of_kind, pods_of
from tests.support.paths import ROOT

OVERLAYS = BUILDS[:3]  # builds of a complete service


@pytest.fixture
def settings(tmp_path, monkeypatch, request):
    """The settings that a process in Ray's head pod of the overlay `where` loads from its environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    documents = build(request.getfixturevalue("where"))
    (settings,) = of_kind(documents, "ConfigMap")
    head = next(container for pod, container in containers(documents) if pod.name == "head")
    variables = {variable["name"]: variable.get("value", "of the pod") for variable in head["env"]}
    for name, value in {**settings["data"], **variables}.items():
        monkeypatch.setenv(name, value)
    return load()


each = pytest.mark.parametrize("where", OVERLAYS)


@each
def test_settings_have_the_keys_that_there_are(where, settings, monkeypatch):
    assert configs(settings)
    assert {settings.state_dir, settings.models.cache} <= {
        Path(mount["mountPath"])
        for pod, container in containers(build(where))
        for mount in container.get("volumeMounts", [])
    }
    monkeypatch.setenv("RAYSIFT_SCANNING__WORKER", "2")
    with pytest.raises(SettingsError, match="worker"):
        load()


@each
def test_ray_has_the_variables_that_raysift_up_gives_it(where, settings):
    (data,) = (document["data"] for document in of_kind(build(where), "ConfigMap"))
    ours = Processes(settings).environment()
    assert {name: ours[name] for name in data if name.startswith("RAY_")} == {
        name: value for name, value in data.items() if name.startswith("RAY_")
    }
    assert {"RAY_ENABLE_UV_RUN_RUNTIME_ENV", "RAY_USAGE_STATS_ENABLED"} <= set(data)


@each
def test_ports_and_names_are_those_of_the_settings(where, settings):
    documents = build(where)
    ports = {pod.name: pod.ports for pod in pods_of(documents)}
    assert ports["head"]["serve"] == ports["decode"]["serve"] == settings.api.port
    assert ports["head"]["dashboard"] == settings.ray.dashboard_port
    assert ports["head"]["gcs-server"] == settings.ray.gcs_port
    assert (ports["chroma"]["http"], ports["app"]["http"]) == (settings.chroma.port, settings.app.port)
    arguments = {pod.name: container["args"] for pod, container in containers(documents) if container.get("args")}
    assert {str(settings.app.port), settings.app.host} <= set(arguments["app"])
    assert str(settings.chroma.port) in arguments["chroma"]
    (service,) = of_kind(documents, "RayService")
    assert settings.api.host == f"{service['metadata']['name']}-serve-svc"
    services = {document["metadata"]["name"] for document in of_kind(documents, "Service")}
    redis_at = cluster(documents)["gcsFaultToleranceOptions"]["redisAddress"]
    assert {settings.chroma.host, redis_at.split(":")[0]} <= services
    assert settings.cache.redis_url.endswith(f"@{redis_at}/0")
    if settings.s3_endpoint_url:
        assert settings.s3_endpoint_url.split(":")[1].strip("/") in services
    for ingress in of_kind(documents, "Ingress"):
        hosts = {rule["host"] for rule in ingress["spec"]["rules"]}
        assert hosts <= set(settings.api.names) & set(settings.app.names)


@each
def test_jobs_and_detectors_fit_on_the_largest_cluster_and_the_service_on_the_smallest(where, settings):
    decode = next(group for group in cluster(build(where))["workerGroupSpecs"] if group["groupName"] == "decode")
    node_cpus = _limit(decode, "cpu")
    groups = grouped(settings)
    gpu_shares = shares(groups, settings.ray.card_gb or 0)
    detectors = [
        (group, max(config.cpus for config in group.values())) for name, group in groups.items() if not gpu_shares[name]
    ]
    api = settings.api.replicas * Ingress.ray_actor_options["num_cpus"]
    jobs = settings.scanning.workers * settings.scanning.worker_cpus  # all jobs share the replicas of `analysis`
    jobs += settings.scanning.max_jobs * BLOCKS_IN_FLIGHT * settings.scanning.workers * TASK_CPUS
    most = sum(most_replicas(group) * cpus for group, cpus in detectors)
    assert jobs + api + most <= decode["maxReplicas"] * node_cpus
    assert api + sum(replicas(group) * cpus for group, cpus in detectors) <= decode["minReplicas"] * node_cpus
    assert settings.api.replicas <= decode["minReplicas"] == decode["replicas"]


@each
def test_frames_in_flight_fit_in_the_memory_that_a_node_has_for_them(where, settings):
    ray = cluster(build(where))
    frame = settings.decoding.max_side_px**2 * 3
    for group in [ray["headGroupSpec"], *ray["workerGroupSpecs"]]:
        store = int(group["rayStartParams"]["object-store-memory"])
        assert store <= 0.3 * _limit(group, "memory")
    for group in ray["workerGroupSpecs"]:
        store = int(group["rayStartParams"]["object-store-memory"])
        assert store == settings.ray.object_store_mb * 1_000_000
        if group["groupName"] == "decode":
            on_node = min(settings.scanning.workers, _limit(group, "cpu") / settings.scanning.worker_cpus)
            assert on_node * BATCHES_IN_FLIGHT * settings.decoding.chunk_frames * frame <= store


@each
def test_files_fit_where_they_are_fetched_to_and_stores_in_their_memory(where, settings):
    for pod in pods_of(build(where)):
        volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
        if pod.labels.get("ray.io/node-type") == "worker":
            assert number(volumes["tmp"]["emptyDir"]["sizeLimit"]) >= 2 * settings.decoding.max_bytes
    for pod, container in containers(build(where)):
        if pod.name == "redis":
            gb = int(re.search(r"--maxmemory (\d+)gb", container["args"][0])[1])
            # Redis forks to save: the copy needs memory for the pages that change meanwhile
            assert gb * 2**30 <= 0.7 * number(container["resources"]["limits"]["memory"])


@pytest.mark.parametrize("where", ["overlays/gpu"])
def test_cards_are_enough_and_as_large_as_the_settings_say(where, settings):
    groups = [group for group in cluster(build(where))["workerGroupSpecs"] if group["groupName"] != "decode"]
    assert settings.profile == "gpu"
    assert settings.ray.card_gb == min(float(group["labels"]["raysift.io/card-gb"]) for group in groups)
    detectors = grouped(settings)
    gpu_shares = shares(detectors, settings.ray.card_gb)
    assert {name for name in detectors if not gpu_shares[name]} == {"barcode"}, "it has no network and needs no card"
    cards = gpus.cards_needed(
        gpu_shares[name] for name, group in detectors.items() for _ in range(most_replicas(group))
    )
    spot = [group for group in groups if group["groupName"].endswith("-spot")]
    for kind in (spot, [group for group in groups if group not in spot]):
        assert cards <= sum(group["maxReplicas"] * _limit(group, "nvidia.com/gpu") for group in kind)
    cpus_per_gpu = max(
        max(config.cpus for config in group.values()) / gpu_shares[name]
        for name, group in detectors.items()
        if gpu_shares[name]
    )
    assert all(cpus_per_gpu * _limit(group, "nvidia.com/gpu") <= _limit(group, "cpu") for group in groups)
    # scale to zero without requests
    assert {(group["replicas"], group["minReplicas"]) for group in groups} == {(0, 0)}
    assert not any(replicas(group) for group in detectors.values())


def test_spot_comes_first_and_each_size_is_also_to_be_had_without():
    groups = {group["groupName"]: group for group in cluster(build("overlays/gpu"))["workerGroupSpecs"]}
    spot = {name: group for name, group in groups.items() if name.endswith("-spot")}
    assert len({_limit(group, "nvidia.com/gpu") for group in spot.values()}) == 2
    for name, group in spot.items():
        on_demand = groups[name.removesuffix("-spot")]
        assert group["priority"] > on_demand["priority"]
        # Ray compares priorities only of groups that a demand fills alike
        assert _container(group)["resources"] == _container(on_demand)["resources"]
        pools = {kind["template"]["spec"]["nodeSelector"]["raysift.io/pool"] for kind in (group, on_demand)}
        assert pools == {name, on_demand["groupName"]}


def test_what_the_ingress_lets_through_is_what_the_parts_take():
    api, app = (
        {key.partition("/")[2]: value for key, value in document["metadata"]["annotations"].items()}
        for document in sorted(of_kind(build("base"), "Ingress"), key=lambda ingress: ingress["metadata"]["name"])
    )
    config = tomllib.loads((ROOT / "app" / ".streamlit" / "config.toml").read_text())
    assert app["proxy-body-size"] == f"{config['server']['maxUploadSize'] + 1}m"
    assert int(api["proxy-body-size"].removesuffix("g")) * 2**30 >= Settings().decoding.max_bytes
    nginx = (ROOT / "cluster" / "nginx" / "api.conf").read_text()
    assert f"client_max_body_size {api['proxy-body-size']};" in nginx
    assert api["proxy-request-buffering"] == app["proxy-request-buffering"] == "off"
    assert app["affinity"] == "cookie"


def _container(group):
    return group["template"]["spec"]["containers"][0]


def _limit(group, what):
    return number(_container(group)["resources"]["limits"][what])
