"""nginx's own errors are problem details, and those of the API pass through it.

The configuration in cluster/nginx/ with the distribution's nginx on this machine, in front of a stub of the API.
"""

import getpass
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from cluster.api_types import Problem
from cluster.processes import port_open
from deployments import problems
from tests.support.api_server import serving
from tests.support.browser import free_port
from tests.support.paths import ROOT


@dataclass
class Upstream:
    """A stub of the API: it answers /v1/.../STATUS with that status, errors as the API does; `asked` counts paths."""

    asked: Counter[str] = field(default_factory=Counter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked[scope["path"]] += 1
        while (await receive()).get("more_body"):
            pass
        last = scope["path"].rpartition("/")[2]
        status = int(last) if last.isdecimal() else 200
        answer = problems.answer(scope, status, "the API says so", {"Retry-After": "77"})
        await answer(scope, receive, send)


@dataclass(frozen=True)
class Nginx:
    """A running nginx: its port with TLS, and the stub behind it."""

    port: int
    upstream: Upstream

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"https://127.0.0.1:{self.port}", verify=False, trust_env=False, timeout=30)

    def raw(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """The answer to these bytes: status, headers, body."""
        context = ssl._create_unverified_context()
        with socket.create_connection(("127.0.0.1", self.port), 10) as plain, context.wrap_socket(plain) as wire:
            with suppress(OSError):  # it may answer and close before it has read all
                wire.sendall(request)
            answer = http.client.HTTPResponse(wire)
            answer.begin()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


@contextmanager
def running(folder: Path, port: int, api: int) -> Iterator[None]:
    """Run nginx with the files of cluster/nginx/, with TLS at `port` of this machine, in front of an API at `api`."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"  # not on every user's path
    command = [nginx, "-c", str(configured(folder, port, api)), "-g", f"daemon off; user {getpass.getuser()};"]
    with (folder / "error.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while process.poll() is None and not port_open(SimpleNamespace(host="127.0.0.1", port=port)):
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.02)
        assert process.poll() is None, (folder / "error.log").read_text()
        yield
    finally:
        process.terminate()  # its workers end with it
        process.wait(10)


def configured(folder: Path, port: int, api: int) -> Path:
    """Write the files of cluster/nginx/ below a folder, changed for these ports; returns the main one."""
    shutil.copytree(ROOT / "cluster/nginx", folder / "nginx")
    subprocess.run(["sh", ROOT / "cluster/secrets.sh", "localhost"], cwd=folder, capture_output=True, check=True)
    main = folder / "nginx/nginx.conf"
    text = main.read_text()
    for pattern, local in (
        (r"listen 80 default_server", f"listen 127.0.0.1:{free_port()}"),
        (r"listen 443 ssl http2", f"listen 127.0.0.1:{port} ssl http2"),
        (r"listen 8000", f"listen 127.0.0.1:{free_port()}"),
        (r"server app:8501", "server 127.0.0.1:9"),
        (r"/run/secrets/", f"{folder}/secrets/"),
        (r"/run/nginx\.pid", f"{folder}/pid"),
        (r"/tmp/nginx-", f"{folder}/temporary-"),
        (r"worker_processes auto", "worker_processes 1"),
        (r"access_log /dev/stdout", f"access_log {folder}/access.log"),
    ):
        text, count = re.subn(pattern, local, text)
        assert count, pattern
    main.write_text(text)
    (folder / "nginx/machines.conf").write_text(f"server 127.0.0.1:{api} max_fails=2 fail_timeout=5s;\n")
    return main


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder, port, upstream = tmp_path_factory.mktemp("nginx"), free_port(), Upstream()
    with serving(upstream) as api, running(folder, port, api):
        yield Nginx(port, upstream)


def problem_of(status: int, headers: dict[str, str], body: bytes) -> Problem:
    assert headers["content-type"] == "application/problem+json", body
    assert "server" not in headers or "/" not in headers["server"]
    assert headers["x-content-type-options"] == "nosniff" and "strict-transport-security" in headers
    problem = Problem.model_validate_json(body)
    assert (problem.type, problem.status, problem.title) == ("about:blank", status, HTTPStatus(status).phrase)
    return problem


def own_problem(answer: httpx.Response) -> Problem:
    problem = problem_of(answer.status_code, dict(answer.headers), answer.content)
    assert problem.detail != "the API says so"
    return problem


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/search", "/v1/session", "/v1/analyze"])
def test_a_body_that_is_too_large_gets_a_problem(nginx: Nginx, path: str):
    head = f"POST {path}?q=%22 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {30 << 30}\r\n\r\n"
    status, headers, body = nginx.raw(head.encode())
    problem = problem_of(status, headers, body)
    assert (status, problem.instance, nginx.upstream.asked[path]) == (413, path, 0)


def test_a_body_without_a_declared_length_is_cut_off_with_a_problem(nginx: Nginx):
    with nginx.client() as client:
        answer = client.post("/v1/jobs", content=(b" " * (1 << 20) for _ in range(6)))
    assert own_problem(answer).status == 413


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 503])
@pytest.mark.parametrize("path", ["/v1/assets", "/v1/detect"])
def test_the_apis_own_errors_pass_unchanged(nginx: Nginx, path: str, status: int):
    with nginx.client() as client:
        answer = client.get(f"{path}/{status}")
    assert (answer.status_code, answer.json()["detail"]) == (status, "the API says so")
    assert answer.headers["retry-after"] == "77"


def test_a_get_is_sent_once_more_after_a_500_and_a_post_is_not(nginx: Nginx):
    with nginx.client() as client:
        again, once = client.get("/v1/assets/500"), client.post("/v1/jobs/500")
        assert (again.status_code, again.json()["detail"]) == (500, "the API says so")
        assert own_problem(once).instance == "/v1/jobs/500" and once.status_code == 500
    assert (nginx.upstream.asked["/v1/assets/500"], nginx.upstream.asked["/v1/jobs/500"]) == (2, 1)


def test_too_many_requests_of_an_address_get_a_problem_that_says_when_to_try_again(nginx: Nginx):
    with nginx.client() as client, ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(lambda _: client.post("/v1/session"), range(40))]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused and all(own_problem(answer).instance == "/v1/session" for answer in refused)
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}


@pytest.mark.parametrize(
    ("request_", "expected", "instance"),
    [
        (b"GET /v1/assets HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 400, "/v1/assets"),
        (b"GET /v1/assets?q=" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "/"),
        (b"GET /v1/assets HTTP/1.1\r\nConnection: close\r\n\r\n", 400, "/v1/assets"),
        (b'GET /v1/a"b\\ HTTP/1.1\r\nConnection: close\r\n\r\n', 400, "/v1/a"),
        (b"\x00\x01\r\n\r\n", 400, "/"),
    ],
    ids=["a long header", "a long address", "no host", "characters that JSON escapes", "no HTTP"],
)
def test_what_is_no_valid_request_gets_a_problem(nginx: Nginx, request_: bytes, expected: int, instance: str):
    status, headers, body = nginx.raw(request_)
    assert (status, problem_of(status, headers, body).instance) == (expected, instance)


def test_an_api_that_is_away_is_a_problem_on_every_route(tmp_path_factory: pytest.TempPathFactory):
    port = free_port()
    with running(tmp_path_factory.mktemp("nginx"), port, free_port()), Nginx(port, Upstream()).client() as client:
        for path in ("/v1/health", "/v1/assets", "/v1/search", "/v1/session", "/v1/detect/ocr", "/openapi.json"):
            answer = client.get(path)
            problem = own_problem(answer)
            assert (answer.status_code, problem.instance, answer.headers["retry-after"]) == (502, path, "5")
        page = client.get("/")
        assert page.status_code == 502 and page.headers["content-type"] == "text/html", "the app's pages are people's"


def test_the_problem_is_not_an_address_of_its_own(nginx: Nginx):
    with nginx.client() as client:
        assert client.get("/-/problem").status_code == 404
        assert client.get("/-/routes").status_code == 404
    assert json.dumps(nginx.upstream.asked).count("/-/") == 0
