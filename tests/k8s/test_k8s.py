"""The manifests that kustomize builds from k8s/: valid keys, versions, existing commands."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import redis
import yaml
from ray.serve.schema import ServeDeploySchema
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from cluster.settings import Settings
from tests.support.manifests import (
    BUILDS,
    build,
    cluster,
    complaints,
    containers,
    kuberays_own,
    of_kind,
    pods_of,
)
from tests.support.paths import ROOT
from tests.support.servers.redis import RedisServer

# ---- schemas


@pytest.mark.parametrize("where", BUILDS)
def test_kubernetes_and_kuberay_know_every_key(where):
    assert {document["kind"]: errors for document in build(where) if (errors := complaints(document))} == {}


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
    document = of_kind(build("overlays/dev"), kind)[0]
    place = document
    for key in path:
        place = place[key]
    place[misspelt] = place.pop(word)
    assert complaints(document)


def test_kuberays_own_schemas_say_the_same():
    """KubeRay's full schemas are too large for the repository. Without them only our excerpt is checked, above."""
    for where in ("overlays/dev", "overlays/gpu", "scan"):
        (document,) = of_kind(build(where), "RayService", "RayJob")
        own = kuberays_own().get(document["kind"], {})
        assert [error.message for error in jsonschema.Draft202012Validator(own).iter_errors(document["spec"])] == []
    ours = yaml.safe_load((ROOT / "tests" / "kuberay_schema.yaml").read_text())
    for kind, own in kuberays_own().items():
        assert _beyond(ours.get(kind, {}), own, kind) == []


def _beyond(ours, own, path):
    """The fields and enum values that our schema accepts and KubeRay's does not know."""
    unknown = [f"{path}.{key}" for key in ours.get("properties", {}) if key not in own.get("properties", {key: {}})]
    if own.get("enum") and set(ours.get("enum", own["enum"])) - set(own["enum"]):
        unknown.append(f"{path}: {ours['enum']}")
    for key in set(ours.get("properties", {})) & set(own.get("properties", {})):
        unknown += _beyond(ours["properties"][key], own["properties"][key], f"{path}.{key}")
    return unknown + (_beyond(ours["items"], own["items"], f"{path}[]") if "items" in ours else [])


def test_serve_runs_what_it_runs_everywhere():
    (service,) = of_kind(build("base"), "RayService")
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
    assert f"useradd --uid {user} --create-home raysift" in dockerfile  # the pods mount a volume at its home
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
    for pod in pods_of([job]):  # a RayJob starts when all pods are ready, before its entrypoint deploys the API
        assert pod.spec["containers"][0]["readinessProbe"]["httpGet"]["port"] == "agent"


def test_redis_starts_as_it_is_written_and_its_probe_knows_the_password(tmp_path):
    (container,) = [container for pod, container in containers(build("base")) if pod.name == "redis"]
    server = RedisServer("s3cr3t")
    local = {"redis-server": f"redis-server --port {server.port} --bind 127.0.0.1", "/data": str(tmp_path)}
    script = re.sub("|".join(local), lambda match: local[match[0]], container["args"][0])
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
