"""Chroma behind its guard: a real server, with requests of programs, of other users, of web pages, of rebound names."""

import os
import signal
import socket
import subprocess
import sys
import time
from email.message import Message

import httpx
import psutil
import pytest

from cluster.chroma.client import VectorsDown
from cluster.chroma_guard import TOKEN_VARIABLE
from cluster.chroma_guard.__main__ import has_token, is_allowed
from cluster.vectors import Vectors
from tests.support.servers.chroma import free_port

TOKEN = "the token of the tests"
HEAD_S = 3  # instead of the guard's own
COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Chroma's folder, as a version has made it that let others read it."""
    folder = tmp_path_factory.mktemp("state") / "chroma"
    folder.mkdir(mode=0o755)
    return folder


@pytest.fixture(scope="module")
def guarded(folder):
    """A guard with its Chroma, and the port."""
    port = free_port()
    code = f"from cluster.chroma_guard import __main__ as guard; guard.HEAD_S = {HEAD_S}; guard.main()"
    command = [sys.executable, "-c", code, "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    guard = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {TOKEN_VARIABLE: TOKEN})
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
        return status(port) == 200
    except httpx.TransportError:
        return False


def status(port, method="GET", token=TOKEN, **headers):
    url = f"http://127.0.0.1:{port}{COLLECTIONS}"
    body = {"name": "planted"} if method == "POST" else None
    shown = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.request(method, url, json=body, headers=shown | headers, trust_env=False).status_code


def test_without_the_token_nothing_is_read_or_written(guarded):
    _, port = guarded
    for method in ("GET", "POST"):
        for token in ("", "guessed", TOKEN[:-1], TOKEN + "x"):
            assert status(port, method, token=token) == 401
    heartbeat = httpx.get(f"http://127.0.0.1:{port}/api/v2/heartbeat", trust_env=False)
    assert heartbeat.status_code == 401


def test_rebound_host_names_and_web_pages_are_refused_also_with_the_token(guarded):
    _, port = guarded
    for method in ("GET", "POST"):
        assert status(port, method, Host="evil.example") == 403
        assert status(port, method, Host=f"evil.example:{port}") == 403
        assert status(port, method, Origin="http://evil.example") == 403
    assert status(port) == 200


def test_our_own_client_reads_and_writes_through_it(guarded):
    _, port = guarded
    vectors = Vectors(f"http://127.0.0.1:{port}", token=TOKEN)
    vectors.mark(["a.parquet", "b.parquet"])
    assert vectors.indexed(["a.parquet", "c.parquet"]) == {"a.parquet"}


def test_a_client_with_another_token_is_told_what_to_set(guarded):
    _, port = guarded
    with pytest.raises(VectorsDown, match=r"refuses the token of this machine.*chroma\.token"):
        Vectors(f"http://127.0.0.1:{port}", token="another").indexed(["a.parquet"])


def private_networks_are_allowed():
    program = "from cluster.chroma_guard.network import enter_private_network; enter_private_network()"
    return subprocess.run([sys.executable, "-c", program], stderr=subprocess.DEVNULL).returncode == 0


def test_chromas_own_port_cannot_be_reached_from_the_network_of_other_users(guarded):
    if not private_networks_are_allowed():
        pytest.skip("user namespaces are forbidden here")
    guard, port = guarded
    (chroma,) = psutil.Process(guard.pid).children()
    own = int(chroma.cmdline()[-1])
    assert answers(port), "it answers its guard"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", own), 5)
    listening = {(connection.pid, connection.laddr.port) for connection in psutil.net_connections("tcp")}
    assert (guard.pid, port) in listening and chroma.pid not in {pid for pid, _ in listening}


def test_chromas_files_are_readable_for_their_owner_only(guarded, folder):
    assert folder.stat().st_mode & 0o077 == 0
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files and not any(path.stat().st_mode & 0o077 for path in files)


def test_no_argument_and_no_environment_that_others_may_read_shows_the_token(guarded):
    guard, _ = guarded
    (chroma,) = psutil.Process(guard.pid).children()
    assert TOKEN_VARIABLE not in chroma.environ()
    assert not any(
        TOKEN in argument for process in (psutil.Process(guard.pid), chroma) for argument in process.cmdline()
    )


def test_headers_that_do_not_end_time_out(guarded):
    _, port = guarded
    with socket.create_connection(("127.0.0.1", port), 10) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        assert raw.recv(100) == b""


def test_more_headers_than_can_be_parsed_are_refused(guarded):
    _, port = guarded
    with socket.create_connection(("127.0.0.1", port), 10) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")


def test_without_a_token_it_does_not_start(tmp_path):
    command = [sys.executable, "-m", "cluster.chroma_guard", "--path", str(tmp_path / "chroma")]
    environment = {key: value for key, value in os.environ.items() if key != TOKEN_VARIABLE}
    done = subprocess.run(
        [*command, "--host", "127.0.0.1", "--port", "0"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2 and TOKEN_VARIABLE in done.stderr
    assert not (tmp_path / "chroma").exists()


def headers(*pairs):
    message = Message()
    for name, value in pairs:
        message[name] = value
    return message


@pytest.mark.parametrize(
    ("pairs", "allowed"),
    [
        ([("Host", "127.0.0.1:8001")], True),
        ([("host", "[::1]:8001")], True),
        ([("Host", "10.0.0.7")], True),
        ([("Host", "LOCALHOST:8001")], True),
        ([("Host", "vectors:8001")], True),
        ([("Host", "evil.example")], False),
        ([("Host", "127.0.0.1.evil.example")], False),
        ([("Host", "evil.example"), ("Host", "127.0.0.1")], False),
        ([("Host", "127.0.0.1"), ("Origin", "null")], False),
        ([("Host", "127.0.0.1"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Dest", "image")], False),
        ([("Host", "127.0.0.1"), ("sec-fetch-site", "none")], False),
        ([("Host", "")], False),
        ([], False),
    ],
)
def test_which_hosts_and_programs_are_allowed(pairs, allowed):
    assert is_allowed(headers(*pairs), "vectors") == allowed


@pytest.mark.parametrize(
    ("shown", "valid"),
    [
        (["Bearer secret"], True),
        (["Bearer secret "], True),
        (["bearer secret"], False),
        (["secret"], False),
        (["Bearer "], False),
        (["Bearer sécret"], False),
        (["Bearer secret", "Bearer secret"], False),
        ([], False),
    ],
)
def test_which_tokens_are_valid(shown, valid):
    assert has_token(headers(*(("Authorization", value) for value in shown)), "secret") == valid


def test_chroma_ends_with_its_guard(guarded):
    """Must be the last test here, since it kills the guard."""
    guard, _ = guarded
    (chroma,) = psutil.Process(guard.pid).children()
    os.kill(guard.pid, signal.SIGKILL)
    guard.wait()
    psutil.wait_procs([chroma], timeout=10)
    assert not chroma.is_running() or chroma.status() == psutil.STATUS_ZOMBIE
