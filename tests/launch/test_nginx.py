"""The configuration in cluster/nginx/, with the distribution's nginx: access, limits, headers, and fail-over between
Serve's proxies under load.
"""

import collections
import re
import socket
import threading
import time
import tomllib

import httpx
import pytest
import websocket
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from cluster.settings import ApiListener, AppListener, Decoding
from deployments.api.app import MAX_BODY_BYTES
from deployments.api.searches.routes import MOST_BYTES
from deployments.serving import wire
from tests.launch.compose import Compose
from tests.launch.machines import Machine
from tests.launch.traffic import NAME, Traffic, authorization, client, picture, session
from tests.support.paths import ROOT

pytestmark = pytest.mark.timeout(300)


def test_ports_and_sizes_match_the_settings():
    """nginx's limits leave room for the form around a file, so that the API or the app refuses it with a reason."""
    files = {file.name: file.read_text() for file in (ROOT / "cluster/nginx").iterdir()}
    assert set(re.findall(r"^server \w+:(\d+) ", files["machines.conf"], re.M)) == {str(ApiListener().port)}
    assert f"listen {ApiListener().port};" in files["nginx.conf"]
    assert f"server app:{AppListener().port} " in files["nginx.conf"]
    sizes = re.findall(r"client_max_body_size (\d+)[gm];", files["api.conf"])
    bodies, bodies_again, samples, videos, images, images_again = sizes
    assert (bodies, images) == (bodies_again, images_again)
    assert int(bodies) << 20 == MAX_BODY_BYTES
    assert int(videos) << 30 > Decoding().max_bytes > int(videos) * 10**9 - 1
    assert int(samples) << 20 == wire.MAX_BYTES
    assert int(images) == (MOST_BYTES >> 20) + 1
    page = tomllib.loads((ROOT / "app/.streamlit/config.toml").read_text())["server"]["maxUploadSize"]
    assert f"client_max_body_size {page + 1}m;" in files["nginx.conf"]


def test_http_is_redirected_to_https(compose: Compose):
    answer = httpx.get(f"http://{NAME}/v1/health?a=b", trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (308, f"https://{NAME}/v1/health?a=b")


def test_without_a_key_or_a_session_only_probes_and_the_sign_in_answer(compose: Compose):
    with client(compose, key="wrong") as stranger:
        nobody = {"Authorization": ""}
        assert stranger.get("/v1/health").json() == {"status": "ok"}
        assert stranger.get("/v1/ready", headers=nobody).json()["detectors"] == {}
        assert stranger.get("/sign-in").status_code == 200
        assert stranger.get("/", headers={"Accept": "text/html"}).headers["location"].startswith("/sign-in")
        for path in ("/", "/v1/assets", "/docs", "/openapi.json", "/api/thumb/x"):
            assert (path, stranger.get(path).status_code) == (path, 401)
            assert (path, stranger.get(path, headers=nobody).status_code) == (path, 401)


def test_requests_with_a_key_are_answered(compose: Compose):
    with client(compose) as user:
        # each API replica caches its state for 5 s, and the healthcheck may have queried it before all was up
        compose.wait(lambda: user.get("/v1/ready").status_code == 200, 30, "the detectors are not ready")
        detectors = user.get("/v1/ready").json()["detectors"]
        assert {name: health["state"] for name, health in detectors.items()} == {"nsfw": "ok", "ocr": "ok"}
        assert user.get("/docs").status_code == 200
        assert user.get("/openapi.json").json()["info"]["title"] == "Raysift"
        analyzed = user.post("/v1/analyze", files={"file": ("a.jpg", picture())})
        assert analyzed.status_code == 200 and analyzed.json()["errors"] == [], analyzed.text
        assert user.get("/", headers={"Cookie": session(compose)}).status_code == 200


def test_a_page_runs_over_the_apps_websocket(compose: Compose):
    page = websocket.create_connection(
        f"wss://{NAME}/_stcore/stream",
        timeout=30,
        origin=f"https://{NAME}",
        subprotocols=["streamlit"],
        header={"Cookie": session(compose)},
        sslopt={"context": compose.tls()},
    )
    request = BackMsg()
    request.rerun_script.query_string = ""
    page.send_binary(request.SerializeToString())
    kinds = []
    while "script_finished" not in kinds:
        message = ForwardMsg()
        message.ParseFromString(page.recv())
        kinds.append(message.WhichOneof("type"))
    page.close()
    assert "new_session" in kinds and "delta" in kinds, f"{kinds}\n{compose.logs()}"


def test_an_unknown_host_name_is_refused(compose: Compose):
    with client(compose) as user:
        assert user.get("/v1/jobs", headers={"Host": "evil.example"}).status_code == 400
        assert user.get("/", headers={"Host": "evil.example"}).status_code == 403


def test_too_large_bodies_are_refused_by_their_declared_length(compose: Compose):
    with client(compose) as user:
        assert user.post("/v1/jobs", content=b" " * (5 << 20)).status_code == 413
    for path, size, status in (
        ("/v1/analyze", 21 << 30, "413"),
        ("/v1/search", 66 << 20, "413"),
        ("/v1/jobs", 5 << 20, "413"),
    ):
        assert _status_for_length(compose, path, size) == status, path


def _status_for_length(compose: Compose, path: str, size: int) -> str:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: {authorization(compose)}\r\n"
        f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {size}\r\n\r\n"
    )
    with socket.create_connection((NAME, 443), 10) as raw, compose.tls().wrap_socket(raw, server_hostname=NAME) as wire:
        wire.sendall(head.encode())
        return wire.recv(100).split()[1].decode()


def test_internal_routes_of_serve_and_streamlit_are_hidden(compose: Compose):
    with client(compose) as user:
        for path in ("/-/routes", "/-/healthz", "/_stcore/metrics"):
            assert (path, user.get(path).status_code) == (path, 404)
            assert "raysift" not in user.get(path).text


def test_each_response_has_every_security_header_once(compose: Compose):
    with client(compose) as user:
        for path in ("/v1/health", "/v1/assets", "/", "/-/routes"):
            headers = user.get(path).headers
            assert headers.get_list("x-content-type-options") == ["nosniff"], path
            assert headers.get_list("x-frame-options") == ["SAMEORIGIN"], path
            assert headers.get_list("referrer-policy") == ["no-referrer"], path
            assert headers["strict-transport-security"].startswith("max-age="), path
            assert "/" not in headers.get("server", ""), path


def test_guesses_above_the_rate_limit_get_429(compose: Compose):
    outcomes: collections.Counter[int] = collections.Counter()

    def guess() -> None:
        with client(compose, key="guessed") as stranger:
            guesses = (stranger.post("/v1/session", json={"token": f"guess {n}"}) for n in range(30))
            outcomes.update(guess.status_code for guess in guesses)

    threads = [threading.Thread(target=guess) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.keys() == {401, 429}, outcomes


@pytest.mark.chaos
def test_a_proxy_killed_under_load_fails_only_its_uploads_in_flight(compose: Compose):
    worker = compose.machines["worker"][0]
    traffic = Traffic(compose)
    with traffic.flowing():
        _until_balanced(compose, worker, traffic)
        killed = time.time()
        (proxy,) = worker.processes("ProxyActor")
        proxy.kill()
        dead = time.time()
        back = compose.wait(lambda: _answers(worker), 90, "the proxy is not started again")
        balanced = _until_balanced(compose, worker, traffic)
    print(f"\na proxy's process killed: {traffic.summary(killed)}; another one answers after {back:.1f} s, "
          f"nginx uses it after {back + balanced:.1f} s")  # fmt: skip
    _nothing_lost(traffic, killed, dead)


@pytest.mark.chaos
def test_a_machine_killed_under_load_fails_only_its_uploads_in_flight(compose: Compose):
    (worker,) = (machine for machine in compose.machines["worker"] if machine.processes("ServeReplica:raysift:nsfw"))
    traffic = Traffic(compose)
    with traffic.flowing():
        _until_balanced(compose, worker, traffic)
        killed = time.time()
        del compose.running[worker.name]
        worker.kill()
        dead = time.time()
        compose.wait(lambda: traffic.answered_since(dead, "upload"), 90, "its detector is not started elsewhere")
        elsewhere = time.time() - killed
        compose.restart("worker", worker)
        compose.wait_healthy("worker")
        _until_balanced(compose, worker, traffic)
    print(f"\na worker's machine killed, with its detector's only replica: {traffic.summary(killed)}; the detector "
          f"answers elsewhere after {elsewhere:.1f} s; the machine is started again then, and nginx uses its proxy "
          f"{time.time() - killed:.1f} s after the loss")  # fmt: skip
    _nothing_lost(traffic, killed, dead)


def _nothing_lost(traffic: Traffic, killed: float, dead: float) -> None:
    """Assert that no GET failed, and that only uploads in flight between `killed` and `dead` did."""
    failed = [request for request in traffic.requests if request.failed]
    assert [request for request in failed if request.kind != "upload"] == []
    lost = [request for request in failed if not (request.began <= dead and killed <= request.ended)]
    assert lost == [], "failed uploads that were not in flight at that moment"
    assert len(traffic.answered_since(dead, "GET")) > 20 and len(traffic.answered_since(dead, "upload")) > 1


def _answers(machine: Machine) -> bool:
    try:
        url = f"http://{machine.name}:8000/v1/health"
        return httpx.get(url, headers={"Host": "localhost"}, timeout=2, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _until_balanced(compose: Compose, machine: Machine, traffic: Traffic) -> float:
    """Wait until nginx logs a response 200 of that machine's proxy; returns the seconds it took."""
    (nginx,) = compose.machines["nginx"]
    offset = nginx.log.stat().st_size
    answered = re.compile(rf" by \S*{re.escape(machine.address)}:8000 200$", re.M)

    def balanced() -> bool:
        with nginx.log.open() as log:
            log.seek(offset)
            return answered.search(log.read()) is not None

    return compose.wait(balanced, 90, f"nginx sends no requests to {machine.name}: {len(traffic.requests)} so far")
