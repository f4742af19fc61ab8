"""What kustomize builds of k8s/: Kubernetes and KubeRay take it, its commands are there, its sizes fit the settings."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
import redis
import yaml
from ray.serve.schema import ServeDeploySchema
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from cluster import gpus
from cluster.errors import SettingsError
from cluster.processes import Processes
from cluster.settings import PREFIX, Settings, load
from deployments.api.ingress import Ingress
from deployments.serving.placement import configs, grouped, most_replicas, replicas, shares
from pipelines.analyze import BATCHES_IN_FLIGHT
from tests.support.manifests import BUILDS, build, cluster, complaints, containers, kuberays_own, number, of, pods_of
from tests.support.paths import ROOT
from tests.support.servers.redis import RedisServer

OVERLAYS = BUILDS[:3]  # those with all parts


# ---- what it is written in


@pytest.mark.parametrize("where", BUILDS)
def test_kubernetes_and_kuberay_know_every_key(where):
    assert {document["kind"]: found for document in build(where) if (found := complaints(document))} == {}


@pytest.mark.parametrize(
    ("kind", "path", "word", "misspelt"),
    [
        ("Deployment", ("spec",), "replicas", "replica"),
        ("NetworkPolicy", ("spec",), "policyTypes", "policyType"),
        ("RayService", ("spec",), "upgradeStrategy", "upgradeStrateg"),
        ("RayService", ("spec", "rayClusterConfig", "workerGroupSpecs", 0), "minReplicas", "minReplica"),
        ("RayService", ("spec", "rayClusterConfig", "autoscalerOptions"), "idleTimeoutSeconds", "idleTimeoutSecond"),
        ("RayService", ("spec", "rayClusterConfig", "autoscalerOptions", "volumeMounts", 0), "mountPath", "path"),
        ("RayService", ("spec", "rayClusterConfig", "headGroupSpec", "template"), "spec", "specs"),
        (
            "RayService",
            ("spec", "rayClusterConfig", "workerGroupSpecs", 0, "template", "spec", "containers", 0),
            "readinessProbe",
            "readynessProbe",
        ),
    ],
)
def test_a_misspelt_key_is_found(kind, path, word, misspelt):
    document = of(build("overlays/dev"), kind)[0]
    place = document
    for key in path:
        place = place[key]
    place[misspelt] = place.pop(word)
    assert complaints(document)


def test_kuberays_own_schemas_say_the_same():
    """They are too large to be checked in: where they are not beside the repository, ours alone are asked, above."""
    for where in ("overlays/dev", "overlays/gpu", "scan"):
        (document,) = of(build(where), "RayService", "RayJob")
        own = kuberays_own().get(document["kind"], {})
        assert [error.message for error in jsonschema.Draft202012Validator(own).iter_errors(document["spec"])] == []
    ours = yaml.safe_load((ROOT / "tests" / "kuberay_schema.yaml").read_text())
    for kind, own in kuberays_own().items():
        assert _beyond(ours.get(kind, {}), own, kind) == []


def _beyond(ours, own, path):
    """The fields and values that our schema lets through and KubeRay's does not know."""
    found = [f"{path}.{key}" for key in ours.get("properties", {}) if key not in own.get("properties", {key: {}})]
    if own.get("enum") and set(ours.get("enum", own["enum"])) - set(own["enum"]):
        found.append(f"{path}: {ours['enum']}")
    for key in set(ours.get("properties", {})) & set(own.get("properties", {})):
        found += _beyond(ours["properties"][key], own["properties"][key], f"{path}.{key}")
    return found + (_beyond(ours["items"], own["items"], f"{path}[]") if "items" in ours else [])


def test_serve_runs_what_it_runs_everywhere():
    (service,) = of(build("base"), "RayService")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    assert config == yaml.safe_load((ROOT / "cluster" / "serve.yaml").read_text())
    (application,) = ServeDeploySchema.model_validate(config).applications
    module, function = application.import_path.split(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert Settings(**application.args)
    assert config["http_options"]["port"] == Settings().api.port


def test_the_image_runs_the_ray_that_is_asked_for_as_the_user_that_it_has():
    dockerfile = (ROOT / "Dockerfile").read_text()
    (user,) = set(re.findall(r"^USER (\d+)$", dockerfile, re.MULTILINE))
    assert f"useradd --uid {user} --create-home raysift" in dockerfile  # its home is where ours is mounted
    locked = (ROOT / "requirements.lock").read_text()
    for where in BUILDS:
        documents = build(where)
        assert f"\nray=={cluster(documents)['rayVersion']} " in locked
        for pod, container in containers(documents):
            if container["image"].startswith("raysift"):
                assert pod.spec["securityContext"]["runAsUser"] == int(user)


# ---- commands


@pytest.mark.parametrize("where", BUILDS)
def test_the_commands_are_there(where):
    programs = {
        (container.get("command") or container["args"])[0]
        for _, container in containers(build(where))
        if container.get("command") or container.get("args")
    }
    here = Path(sys.executable).parent
    assert {program for program in programs if not shutil.which(program, path=f"{here}:/bin")} == set()
    assert (ROOT / "app" / "serve.py").exists() and (ROOT / "cluster" / "serve.yaml").exists()


def test_the_scan_has_one_name_and_the_drivers_options():
    (job,) = build("scan")
    entrypoint = job["spec"]["entrypoint"]
    _, _, driver = entrypoint.partition("python -m ")
    module, *arguments = shlex.split(driver.partition("||")[0])
    shown = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True).stdout
    assert all(option in shown for option in arguments if option.startswith("--"))
    assert arguments[arguments.index("--job") + 1] == job["metadata"]["name"]
    assert subprocess.run(["sh", "-n", "-c", entrypoint], capture_output=True).returncode == 0
    for pod in pods_of([job]):  # it begins when all are ready, and it is what deploys the API
        assert pod.spec["containers"][0]["readinessProbe"]["httpGet"]["port"] == "agent"


def test_redis_starts_as_it_is_written_and_its_probe_knows_the_password(tmp_path):
    (container,) = [one for pod, one in containers(build("base")) if pod.name == "redis"]
    server = RedisServer("s3cr3t")
    here = {"redis-server": f"redis-server --port {server.port} --bind 127.0.0.1", "/data": str(tmp_path)}
    script = re.sub("|".join(here), lambda found: here[found[0]], container["args"][0])
    environment = {"REDISCLI_AUTH": server.password, "PATH": os.environ["PATH"]}
    server.process = subprocess.Popen([*container["command"], script], env=environment, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis.from_url(server.url, retry_on_error=[redis.ConnectionError]) as client:
            client.set_retry(Retry(ConstantBackoff(0.05), 200))
            client.ping()
        probe = [
            word.replace("redis-cli", f"redis-cli -p {server.port}")
            for word in container["readinessProbe"]["exec"]["command"]
        ]
        assert subprocess.run(probe, env=environment).returncode == 0
        guessed = environment | {"REDISCLI_AUTH": "guessed"}
        assert subprocess.run(probe, env=guessed, capture_output=True).returncode == 1
    finally:
        server.stop()


# ---- settings, and the sizes that follow from them


@pytest.fixture
def settings(tmp_path, monkeypatch, request):
    """As a process of Ray's pods has them, of the overlay that the test is asked about."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    documents = build(request.getfixturevalue("where"))
    (settings,) = of(documents, "ConfigMap")
    head = next(container for pod, container in containers(documents) if pod.name == "head")
    named = {one["name"]: one.get("value", "of the pod") for one in head["env"]}
    for name, value in {**settings["data"], **named}.items():
        monkeypatch.setenv(name, value)
    return load()


each = pytest.mark.parametrize("where", OVERLAYS)


@each
def test_settings_have_the_keys_that_there_are(where, settings, monkeypatch):
    assert configs(settings)
    assert {settings.state_dir, settings.models.cache} <= {
        Path(mount["mountPath"]) for pod, one in containers(build(where)) for mount in one.get("volumeMounts", [])
    }
    monkeypatch.setenv("RAYSIFT_SCANNING__WORKER", "2")
    with pytest.raises(SettingsError, match="worker"):
        load()


@each
def test_ray_has_the_variables_that_raysift_up_gives_it(where, settings):
    (data,) = (document["data"] for document in of(build(where), "ConfigMap"))
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
    arguments = {pod.name: one["args"] for pod, one in containers(documents) if one.get("args")}
    assert {str(settings.app.port), settings.app.host} <= set(arguments["app"])
    assert str(settings.chroma.port) in arguments["chroma"]
    (service,) = of(documents, "RayService")
    assert settings.api.host == f"{service['metadata']['name']}-serve-svc"
    services = {document["metadata"]["name"] for document in of(documents, "Service")}
    redis_at = cluster(documents)["gcsFaultToleranceOptions"]["redisAddress"]
    assert {settings.chroma.host, redis_at.split(":")[0]} <= services
    assert settings.cache.redis_url.endswith(f"@{redis_at}/0")
    if settings.s3_endpoint_url:
        assert settings.s3_endpoint_url.split(":")[1].strip("/") in services
    for ingress in of(documents, "Ingress"):
        hosts = {rule["host"] for rule in ingress["spec"]["rules"]}
        assert hosts <= set(settings.api.names) & set(settings.app.names)


@each
def test_jobs_and_detectors_fit_on_the_largest_cluster_and_the_service_on_the_smallest(where, settings):
    decode = next(group for group in cluster(build(where))["workerGroupSpecs"] if group["groupName"] == "decode")
    cpus = _limit(decode, "cpu")
    groups = grouped(settings)
    on_card = shares(groups, settings.ray.card_gb or 0)
    detectors = [
        (group, max(config.cpus for config in group.values())) for name, group in groups.items() if not on_card[name]
    ]
    api = settings.api.replicas * Ingress.ray_actor_options["num_cpus"]
    jobs = settings.scanning.max_jobs * settings.scanning.workers * settings.scanning.worker_cpus
    assert jobs + api + sum(most_replicas(one) * each for one, each in detectors) <= decode["maxReplicas"] * cpus
    assert api + sum(replicas(one) * each for one, each in detectors) <= decode["minReplicas"] * cpus
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
            assert gb * 2**30 <= 0.7 * number(container["resources"]["limits"]["memory"])  # it copies itself to save


@pytest.mark.parametrize("where", ["overlays/gpu"])
def test_cards_are_enough_and_as_large_as_the_settings_say(where, settings):
    groups = [group for group in cluster(build(where))["workerGroupSpecs"] if group["groupName"] != "decode"]
    assert settings.profile == "gpu"
    assert settings.ray.card_gb == min(float(group["labels"]["raysift.io/card-gb"]) for group in groups)
    detectors = grouped(settings)
    given = shares(detectors, settings.ray.card_gb)
    assert all(given.values())
    cards = gpus.cards_needed(given[name] for name, one in detectors.items() for _ in range(most_replicas(one)))
    spot = [group for group in groups if group["groupName"].endswith("-spot")]
    for kind in (spot, [group for group in groups if group not in spot]):
        assert cards <= sum(group["maxReplicas"] * _limit(group, "nvidia.com/gpu") for group in kind)
    most = max(max(config.cpus for config in one.values()) / given[name] for name, one in detectors.items())
    assert all(most * _limit(group, "nvidia.com/gpu") <= _limit(group, "cpu") for group in groups)
    # nodes that nobody asks for are not there
    assert {(group["replicas"], group["minReplicas"]) for group in groups} == {(0, 0)}
    assert not any(replicas(one) for one in detectors.values())


def test_spot_comes_first_and_each_size_is_also_to_be_had_without():
    groups = {group["groupName"]: group for group in cluster(build("overlays/gpu"))["workerGroupSpecs"]}
    spot = {name: group for name, group in groups.items() if name.endswith("-spot")}
    assert len({_limit(group, "nvidia.com/gpu") for group in spot.values()}) == 2
    for name, group in spot.items():
        other = groups[name.removesuffix("-spot")]
        assert group["priority"] > other["priority"]
        assert _container(group)["resources"] == _container(other)["resources"]  # else not the priority decides
        pools = {one["template"]["spec"]["nodeSelector"]["raysift.io/pool"] for one in (group, other)}
        assert pools == {name, other["groupName"]}


def test_what_the_ingress_lets_through_is_what_the_parts_take():
    api, app = (
        {key.partition("/")[2]: value for key, value in document["metadata"]["annotations"].items()}
        for document in sorted(of(build("base"), "Ingress"), key=lambda one: one["metadata"]["name"])
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
