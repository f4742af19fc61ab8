"""`raysift doctor` on a running cluster with real servers, working and broken; and the API's answers to probes."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from redis import Redis

from cluster.processes import FAMILY
from deployments.detector import names
from tests.chaos.conftest import until
from tests.support.browser import free_port
from tests.support.cluster import Cluster
from tests.support.servers.redis import RedisServer
from tests.support.servers.seaweed import Seaweed

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

BUCKET = "doctor"


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer("s3cr3t") as server:
        yield server


@pytest.fixture(scope="module")
def whole(cluster: Cluster, s3: Seaweed, redis: RedisServer) -> Cluster:
    """The cluster with its results in a bucket and its cache in a Redis."""
    s3.client().create_bucket(Bucket=BUCKET)
    return with_settings(cluster, RAYSIFT_RESULTS_URI=f"s3://{BUCKET}/results", RAYSIFT_CACHE__REDIS_URL=redis.url)


def with_settings(cluster: Cluster, **more: str) -> Cluster:
    return Cluster(cluster.environment | more)


def checked(cluster: Cluster) -> tuple[int, dict[str, tuple[str, str]]]:
    """The exit code, and the state and message of each check."""
    done = cluster.raysift("doctor", "--json")
    assert done.stdout, done.stderr
    checks: list[dict[str, Any]] = json.loads(done.stdout)["checks"]
    return done.returncode, {check["what"]: (check["state"], check["said"]) for check in checks}


def failing(cluster: Cluster) -> dict[str, str]:
    code, checks = checked(cluster)
    assert code == 1
    return {what: said for what, (state, said) in checks.items() if state == "fails"}


def test_every_part_of_a_working_cluster_is_ok(whole, s3):
    code, checks = checked(whole)
    assert code == 0, checks
    parts = (
        "settings",
        "Ray's token",
        "Ray",
        "node 127.0.0.1, the head",
        "API",
        "results_uri",
        "Redis",
        "Chroma",
        "app",
    )
    assert {part: checks[part][0] for part in parts} == dict.fromkeys(parts, "ok")
    detectors = {what: said for what, said in checks.items() if what.startswith("detector ")}
    assert len(detectors) == len(names()) and {state for state, _ in detectors.values()} == {"ok"}
    assert not s3.client().list_objects_v2(Bucket=BUCKET).get("Contents"), "it has deleted what it wrote"
    assert "clock" not in checks


def test_the_checks_are_printed_as_a_table(whole):
    done = with_settings(whole, COLUMNS="200").raysift("doctor")
    assert done.returncode == 0 and "an object was written, read and deleted" in done.stdout


def test_every_detector_finds_something_in_its_own_example(whole):
    done = whole.raysift("doctor", "--deep", "--json")
    checks = json.loads(done.stdout)["checks"]
    examples = {check["what"]: check["said"] for check in checks if check["what"].startswith("example ")}
    assert done.returncode == 0 and len(examples) == len(names()), examples
    assert all(said.startswith("found ") and said.endswith(" ms") for said in examples.values()), examples


@pytest.mark.chaos
def test_a_port_of_chroma_on_which_nothing_listens(whole):
    port = str(free_port())
    (said,) = failing(with_settings(whole, RAYSIFT_CHROMA__PORT=port)).values()
    assert said.startswith(f"nothing answers at http://127.0.0.1:{port} (ConnectError): no search, all else works.")
    assert "Start it (`raysift up`, or its service), or correct chroma.host and chroma.port." in said


@pytest.mark.chaos
def test_a_bucket_that_does_not_exist(whole, s3):
    (said,) = failing(with_settings(whole, RAYSIFT_RESULTS_URI="s3://no-such-bucket/results")).values()
    assert (
        f"there is no bucket 'no-such-bucket' at {s3.endpoint}. Check its name and s3_endpoint_url. Or create it"
        in said
    )
    assert "no-such-bucket" not in {found["Name"] for found in s3.client().list_buckets()["Buckets"]}


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("key", "secret", "advice"),
    [
        ("raysift-test", "wrong", "refuses the credentials (SignatureDoesNotMatch). Correct AWS_ACCESS_KEY_ID and its"),
        ("nobody", "wrong", "refuses the credentials (InvalidAccessKeyId). Correct AWS_ACCESS_KEY_ID and its secret."),
        (
            "raysift-stranger",
            "raysift-stranger-secret",
            "Allow these credentials s3:ListBucket, s3:GetObject, s3:PutOb",
        ),
    ],
)
def test_a_bucket_that_refuses_the_credentials(whole, key, secret, advice):
    (said,) = failing(with_settings(whole, AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY=secret)).values()
    assert advice in said and "stranger-secret" not in said


@pytest.mark.chaos
def test_a_bucket_whose_server_is_down(whole):
    away = f"http://127.0.0.1:{free_port()}"
    (said,) = failing(with_settings(whole, AWS_ENDPOINT_URL=away)).values()
    assert f"{away} does not answer" in said and "Check s3_endpoint_url and the network." in said


@pytest.mark.chaos
def test_a_redis_that_refuses_the_password(whole, redis):
    url = f"redis://:wrong@127.0.0.1:{redis.port}/0"
    (said,) = failing(with_settings(whole, RAYSIFT_CACHE__REDIS_URL=url)).values()
    assert said.startswith(f"Redis at 127.0.0.1:{redis.port} refuses the password")
    assert "Correct it in cache.redis_url: redis://:PASSWORD@host:port/0." in said and "wrong" not in said


@pytest.mark.chaos
def test_a_redis_that_is_down_or_hangs(whole, redis):
    away = free_port()
    (said,) = failing(with_settings(whole, RAYSIFT_CACHE__REDIS_URL=f"redis://127.0.0.1:{away}")).values()
    assert said == (
        f"Redis at 127.0.0.1:{away} does not answer (ConnectionError): no answer is cached. Start it, or correct "
        "cache.redis_url."
    )
    redis.hang()
    try:
        assert "does not answer (TimeoutError)" in failing(whole)["Redis"]
    finally:
        redis.go_on()


@pytest.mark.chaos
def test_a_redis_that_would_evict_rays_state(whole):
    with RedisServer() as server, Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        both = with_settings(whole, RAYSIFT_CACHE__REDIS_URL=server.url, RAY_REDIS_ADDRESS=f"127.0.0.1:{server.port}")
        assert "Set maxmemory-policy volatile-lru" in failing(both)["Redis's memory"]
        client.config_set("maxmemory-policy", "volatile-lru")
        code, checks = checked(both)
        assert code == 0 and checks["Redis"][1].endswith("keeps the cache and Ray's state")
        assert checks["Redis's disk"][0] == "note" and "Set appendonly yes." in checks["Redis's disk"][1]


@pytest.mark.chaos
def test_a_token_that_is_not_the_heads(whole, tmp_path):
    """As on a machine whose Ray another launcher has started: its state folder has no token."""
    token = tmp_path / "token"
    there = with_settings(whole, RAYSIFT_STATE_DIR=str(tmp_path), RAY_AUTH_TOKEN_PATH=str(token))
    assert failing(there)["Ray's token"].startswith(
        f"Ray requires a token, and there is none here ({token}: No such file"
    )
    token.write_text("0" * 64)
    token.chmod(0o600)
    said = failing(there)["Ray's token"]
    assert (
        f"refuses the token of {token}: its head was started with another. Set RAY_AUTH_TOKEN_PATH to the head's"
        in said
    )
    token.write_text((Path(whole.environment["RAYSIFT_STATE_DIR"]) / "ray_token").read_text())
    code, checks = checked(there)
    assert code == 0, checks


def replicas(cluster: Cluster, name: str = "") -> list[psutil.Process]:
    """The processes of the cluster's detectors, or of one."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get(FAMILY) == cluster.environment["RAYSIFT_STATE_DIR"]
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue
        _, is_replica, deployment = title.partition("ray::ServeReplica:raysift:")
        if (
            ours
            and is_replica
            and deployment.startswith(name)
            and not deployment.startswith(("access", "api", "catalog", "jobs"))
        ):
            found.append(process)
    return found


def timed(api: httpx.Client, route: str) -> tuple[float, httpx.Response]:
    began = time.monotonic()
    answer = api.get(route)
    return time.monotonic() - began, answer


@pytest.mark.chaos
def test_while_every_detector_hangs_the_api_is_alive_and_reports_them_as_busy_in_time(whole):
    with whole.api() as api:
        assert api.get("/v1/ready").status_code == 200
        hung = replicas(whole)
        assert hung
        for process in hung:
            os.kill(process.pid, signal.SIGSTOP)
        try:
            time.sleep(5.1)  # the API keeps an answer for 5 s
            seconds, ready = timed(api, "/v1/ready")
            detectors = ready.json()["detectors"].values()
            assert seconds < 9 and {detector["state"] for detector in detectors} == {"busy"}
            seconds, health = timed(api, "/v1/health")
            assert health.json() == {"status": "ok"} and seconds < 2
        finally:
            for process in hung:
                os.kill(process.pid, signal.SIGCONT)
        deadline = time.monotonic() + 60
        while {detector["state"] for detector in api.get("/v1/ready").json()["detectors"].values()} != {"ok"}:
            assert time.monotonic() < deadline
            time.sleep(0.5)


@pytest.mark.chaos
def test_a_detector_that_has_died_is_named_until_serve_has_replaced_it(whole):
    (whisper,) = replicas(whole, "whisper")

    def loading() -> list[psutil.Process]:
        return [process for process in replicas(whole, "whisper") if process != whisper]

    def is_ready(api: httpx.Client) -> tuple[int, str]:
        ready = api.get("/v1/ready")
        return ready.status_code, ready.json()["detectors"]["whisper"]["state"]

    with whole.api() as api:
        whisper.kill()
        (replacement,) = until(loading, "the replica was not replaced")
        replacement.suspend()  # the API keeps an answer for longer than the models may take to load
        try:
            until(lambda: is_ready(api) in [(503, "down"), (503, "failing")], "it was not named")
        finally:
            replacement.resume()
        until(lambda: is_ready(api) == (200, "ok"), "it did not recover")
