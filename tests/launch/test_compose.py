"""compose.yaml: valid and consistent with the settings; its services, once running, do what docs/launching.md says."""

import json
import re

import pytest
import yaml

from cluster.settings import ApiListener, AppListener, ChromaListener, Settings
from commands import demo
from tests.launch.compose import Compose
from tests.launch.compose_file import config, read
from tests.support.paths import ROOT

pytestmark = pytest.mark.timeout(300)


def test_docker_compose_accepts_the_files():
    assert set(config("compose.yaml")["services"]) == set(read()["services"])
    (card,) = config("compose.yaml", "compose.gpu.yaml")["services"]["worker"]["deploy"]["resources"]["reservations"][
        "devices"
    ]
    assert card == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


def test_only_nginx_publishes_ports():
    services = read()["services"]
    assert {name for name, service in services.items() if "ports" in service} == {"nginx"}
    assert "--dashboard-host=127.0.0.1" in services["head"]["command"]


def test_every_service_has_limits_a_restart_policy_and_a_healthcheck():
    for name, service in read()["services"].items():
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"], name
        if service["restart"] == "on-failure":
            continue
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"].keys() == {"test", "start_period", "interval", "timeout", "retries"}, name
        assert "memory" in service["deploy"]["resources"]["limits"], name


def test_ports_and_sizes_match_the_settings():
    services = read()["services"]
    serve = yaml.safe_load((ROOT / "cluster/serve.yaml").read_text())["http_options"]
    api, app, chroma = ApiListener().port, AppListener().port, ChromaListener().port
    assert serve["port"] == api
    assert f"http://127.0.0.1:{api}/v1/ready" in services["deploy"]["command"]
    assert f"--server.port {app}" in services["app"]["command"]
    assert f":{app}/" in services["app"]["healthcheck"]["test"]
    assert f"--port {chroma}" in services["chroma"]["command"]
    assert f":{chroma}/" in services["chroma"]["healthcheck"]["test"]
    environment = services["worker"]["environment"]
    assert f"--port={environment['RAYSIFT_RAY__GCS_PORT']} " in services["head"]["command"]
    assert services["worker"]["command"].startswith(f"ray start --address=head:{environment['RAYSIFT_RAY__GCS_PORT']} ")
    assert f":{Settings().ray.dashboard_port}/" in services["head"]["healthcheck"]["test"]
    assert int(environment["RAYSIFT_API__REPLICAS"]) <= services["worker"]["deploy"]["replicas"]
    for node in ("head", "worker"):
        (store,) = re.findall(r"--object-store-memory=(\d+)", services[node]["command"])
        assert int(store) < int(services[node]["shm_size"].removesuffix("gb")) * 10**9


def test_the_settings_in_the_file_are_valid(monkeypatch):
    for key, value in read()["services"]["head"]["environment"].items():
        monkeypatch.setenv(key, value)
    settings = Settings()
    assert settings.api.names == settings.app.names == ("localhost",)
    assert settings.api.url == "http://nginx:8000"


def test_every_service_is_healthy(compose: Compose):
    for name, machines in compose.machines.items():
        if "healthcheck" in compose.services[name]:
            assert all(compose.healthy(name, machine) for machine in machines), compose.logs()


def test_services_with_a_read_only_root_write_only_to_volumes_and_tmpfs(compose: Compose):
    for name, service in compose.services.items():
        if service.get("read_only"):
            assert compose.written(name) == [], f"{name} writes where its container could not"


@pytest.mark.chaos
def test_a_ray_job_scans_a_bucket(compose: Compose):
    media = demo.make(compose.volume("bucket") / "media")  # /data/media in SeaweedFS's container
    for left_out in (*media.glob("*.mp4"), *media.glob("broken*")):
        left_out.unlink()
    copy = "weed filer.copy /data/media http://seaweedfs:8888/buckets/raysift/"
    copied = compose.execute("seaweedfs", copy.split())
    assert copied.returncode == 0, copied.stderr
    command = "ray job submit -- python -m pipelines s3://raysift/media --out s3://raysift/results/first"
    done = compose.execute("head", command.split(), timeout=180)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{compose.logs()}"
    (job,) = json.loads(compose.execute("head", ["raysift", "jobs", "list", "--json"]).stdout)
    assert (job["state"], job["done"], job["failed"]) == ("finished", len(list(media.iterdir())), 0)
    exported = compose.execute("head", ["raysift", "export", "--from", "s3://raysift/results/first"])
    lines = {line["uri"]: line for line in map(json.loads, exported.stdout.splitlines())}
    assert lines.keys() == {f"s3://raysift/media/{file.name}" for file in media.iterdir()}
    assert any(line["detections"] for line in lines.values())
