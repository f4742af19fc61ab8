"""The pods of k8s/overlays/dev, run on machines: user, read-only root, probes, and the RayJob's entrypoint."""

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pytest
import yaml
from PIL import Image

from cluster.access import tokens
from tests.launch.machines import Network
from tests.launch.pods import Pods
from tests.support.manifests import build, of_kind
from tests.support.servers.seaweed import Seaweed

pytestmark = [pytest.mark.launch, pytest.mark.chaos, pytest.mark.timeout(500)]

STORE = Seaweed("http://seaweedfs:8333")
KEYS = {"accessKey": STORE.access_key, "secretKey": STORE.secret_key}
SECRETS = {
    "raysift-ray-token": {"auth_token": "a-token-of-the-test"},
    "raysift-redis": {"password": "s3cr3t"},
    "raysift-app": {"cookie_secret": "s3cr3t"},
    "raysift-key": {"operator_key": str(tokens.new())},
    "raysift-s3": {
        "credentials": "[default]\n"
        f"aws_access_key_id = {STORE.access_key}\n"
        f"aws_secret_access_key = {STORE.secret_key}\n"
    },
    "seaweedfs": {"s3.json": json.dumps({"identities": [{"name": "x", "actions": ["Admin"], "credentials": [KEYS]}]})},
}
LIGHT = json.dumps(
    {name: {"enabled": False} for name in ("barcode", "clip", "face", "logo", "ocr", "restraint", "whisper")}
)


@pytest.fixture(scope="module")
def pods(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    """The running pods, before Serve's configuration is deployed."""
    made = Pods(network, tmp_path_factory.mktemp("pods"), "overlays/dev", SECRETS, {"RAYSIFT_DETECTORS": LIGHT})
    for name in ("redis", "chroma", "seaweedfs", "app"):
        made.start(name)
    made.wait_ready("redis")
    made.start("head")
    made.start("decode")
    for name in ("chroma", "seaweedfs", "app", "head"):
        made.wait_ready(name)
    yield made
    for machine in made.machines.values():
        machine.kill()


@pytest.fixture(scope="module")
def dashboard(pods: Pods) -> Iterator[httpx.Client]:
    """An HTTP client of Ray's dashboard, on another machine than the head, as KubeRay's operator is."""
    url = f"http://{pods.machines['head'].address}:8265"
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        yield client


def test_ray_runs_as_the_pods_user_with_a_read_only_root(pods: Pods):
    pods.wait(lambda: pods.probe("decode", "livenessProbe"), 120, "the worker's liveness probe fails")
    for name in ("head", "decode"):
        processes = pods.machines[name].processes("raylet/raylet")
        (raylet,) = [process for process in processes if "raylet" in process.name()]
        assert raylet.uids().real == pods.pods[name].spec["securityContext"]["runAsUser"]
        root = next(line for line in Path(f"/proc/{raylet.pid}/mounts").read_text().splitlines() if " / " in line)
        assert root.split()[3].split(",")[0] == "ro"


def test_a_worker_is_ready_when_the_api_answers_through_its_proxy(pods: Pods, dashboard: httpx.Client):
    assert not pods.probe("decode", "readinessProbe")
    (service,) = of_kind(pods.documents, "RayService")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    assert dashboard.put("/api/serve/applications/", json=config).status_code == 401
    dashboard.headers["Authorization"] = f"Bearer {pods.token}"
    dashboard.put("/api/serve/applications/", json=config).raise_for_status()
    pods.wait_ready("decode", 240)
    by_address = f"http://{pods.machines['decode'].address}:8000/v1/health"
    assert httpx.get(by_address, trust_env=False).status_code == 400  # hence the Host header of the probe


def test_the_rayjobs_entrypoint_deploys_scans_and_succeeds(pods: Pods, dashboard: httpx.Client):
    dashboard.headers["Authorization"] = f"Bearer {pods.token}"
    store = Seaweed(f"http://{pods.machines['seaweedfs'].address}:8333").client()
    store.create_bucket(Bucket="raysift")
    picture = BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    store.put_object(Bucket="raysift", Key="media/red.png", Body=picture.getvalue())
    store.put_object(Bucket="raysift", Key="media/broken.png", Body=b"no picture")
    (job,) = of_kind(build("scan"), "RayJob")
    name, entrypoint = job["metadata"]["name"], job["spec"]["entrypoint"].replace("your-bucket", "raysift")
    dashboard.post("/api/jobs/", json={"entrypoint": entrypoint, "submission_id": name}).raise_for_status()
    pods.wait(
        lambda: dashboard.get(f"/api/jobs/{name}").json()["status"] in ("SUCCEEDED", "FAILED"),
        240,
        "the job has not ended",
    )
    log = dashboard.get(f"/api/jobs/{name}/logs").json()["logs"]
    assert dashboard.get(f"/api/jobs/{name}").json()["status"] == "SUCCEEDED", log
    summary = json.loads(next(line for line in log.splitlines() if line.startswith("{")))
    # the entrypoint accepts exit code 3, finished with failed files
    assert (summary["job"], summary["units"], summary["done"], summary["failed"]) == (name, 2, 2, 1)
