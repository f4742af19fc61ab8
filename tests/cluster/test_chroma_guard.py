"""Chroma behind its guard: a real server, with requests of programs, of web pages and with rebound host names."""

import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import psutil
import pytest

from cluster import chroma_guard
from cluster.vectors import Vectors
from tests.support.servers.chroma import free_port

HEAD_S = 3  # instead of the guard's own
COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A guard with its Chroma, and the port."""
    port = free_port()
    code = f"from cluster import chroma_guard; chroma_guard.HEAD_S = {HEAD_S}; chroma_guard.main()"
    command = [sys.executable, "-c", code, "--path", str(tmp_path_factory.mktemp("chroma"))]
    guard = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 50
        while not answers(port):
            assert guard.poll() is None and time.monotonic() < deadline, "the guard did not start"
            time.sleep(0.1)
        yield guard, port
    finally:
        guard.kill()
        guard.wait()


def answers(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/v2/heartbeat", trust_env=False).is_success
    except httpx.TransportError:
        return False


def status(port, method="GET", **headers):
    url = f"http://127.0.0.1:{port}{COLLECTIONS}"
    body = {"name": "planted"} if method == "POST" else None
    return httpx.request(method, url, json=body, headers=headers, trust_env=False).status_code


def test_rebound_host_names_and_web_pages_are_refused(guarded):
    _, port = guarded
    for method in ("GET", "POST"):
        assert status(port, method, Host="evil.example") == 403
        assert status(port, method, Host=f"evil.example:{port}") == 403
        assert status(port, method, Origin="http://evil.example") == 403
    assert status(port) == 200
    assert httpx.get(f"http://127.0.0.1:{port}{COLLECTIONS}", trust_env=False).json() == []


def test_our_own_client_reads_and_writes_through_it(guarded):
    _, port = guarded
    vectors = Vectors(f"http://127.0.0.1:{port}")
    vectors.mark(["a.parquet", "b.parquet"])
    assert vectors.indexed(["a.parquet", "c.parquet"]) == {"a.parquet"}


def test_headers_that_do_not_end_time_out(monkeypatch, guarded):
    _, port = guarded
    with socket.create_connection(("127.0.0.1", port), 10) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        assert raw.recv(100) == b""


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        (b"Host: 127.0.0.1:8001\r\n", True),
        (b"host: [::1]:8001\r\n", True),
        (b"Host: 10.0.0.7\r\n", True),
        (b"Host: LOCALHOST:8001\r\n", True),
        (b"Host: vectors:8001\r\n", True),
        (b"Host: evil.example\r\n", False),
        (b"Host: 127.0.0.1.evil.example\r\n", False),
        (b"Host: evil.example\r\nHost: 127.0.0.1\r\n", False),
        (b"Host: 127.0.0.1\r\nOrigin: null\r\n", False),
        (b"Host: 127.0.0.1\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Dest: image\r\n", False),
        (b"Host: 127.0.0.1\r\nsec-fetch-site: none\r\n", False),
        (b"Host:\r\n", False),
        (b"", False),
    ],
)
def test_which_requests_are_allowed(headers, allowed):
    assert chroma_guard.is_allowed(b"GET / HTTP/1.1\r\n" + headers + b"\r\n", "vectors") == allowed


def test_chroma_ends_with_its_guard(guarded):
    """Must be the last test here, since it kills the guard."""
    guard, _ = guarded
    (chroma,) = psutil.Process(guard.pid).children()
    os.kill(guard.pid, signal.SIGKILL)
    guard.wait()
    psutil.wait_procs([chroma], timeout=10)
    assert not chroma.is_running() or chroma.status() == psutil.STATUS_ZOMBIE
