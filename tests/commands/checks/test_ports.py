"""The check of open ports, on real sockets of this process and of child processes that are named as Ray's are."""

import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from cluster.settings import ApiListener, AppListener, Cache, Settings
from commands.checks.ports import ports
from tests.commands.checks.stand_ins import state, words

LISTENING = """
import socket, sys
both = ":" in sys.argv[1]  # IPv6 and IPv4
family = socket.AF_INET6 if both else socket.AF_INET
server = socket.create_server((sys.argv[1], 0), family=family, dualstack_ipv6=both)
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def listening(address):
    """A socket of this process that listens at an address; yields its port."""
    with socket.create_server((address, 0)) as server:
        yield server.getsockname()[1]


@contextmanager
def process(title, address, **environment):
    """A process with this title, which listens at an address; yields its port."""
    command = [title, "-c", LISTENING, address]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, executable=sys.executable, env=environment, text=True, **pipes) as child:
        yield int(child.stdout.readline())
        child.stdin.close()


@pytest.fixture(autouse=True)
def no_other_raysift(monkeypatch):
    """Only processes that the tests start count."""
    import psutil

    every = psutil.net_connections
    others = {connection.laddr.port for connection in every("tcp")}
    monkeypatch.setattr(
        psutil, "net_connections", lambda kind: [one for one in every(kind) if one.laddr.port not in others]
    )


def test_what_needs_a_credential_on_loopback_is_listed_and_is_no_fault():
    with listening("127.0.0.1") as api, listening("127.0.0.1") as app:
        (check,) = ports(Settings(api=ApiListener(port=api), app=AppListener(port=app)))
    assert (check.what, check.state) == ("open ports", "ok")
    assert f"API on 127.0.0.1: {api} (a key); app on 127.0.0.1: {app} (a session)" == check.said


def test_a_redis_without_a_password_on_all_interfaces_is_a_warning_that_says_what_to_do():
    with listening("0.0.0.0") as port:
        found = list(ports(Settings(cache=Cache(redis_url=f"redis://127.0.0.1:{port}/0"))))
        protected = list(ports(Settings(cache=Cache(redis_url=f"redis://:s3cr3t@127.0.0.1:{port}/0"))))
        of_ray = list(ports(Settings(), f"127.0.0.1:{port}"))
    assert state(found, "port of Redis") == state(of_ray, "port of Redis") == "note"
    assert f"Redis on all interfaces: {port}: whoever reaches this machine can use it" in words(found, "note")
    assert "requirepass" in words(found, "note") and "nftables, ufw and Kubernetes" in words(found, "note")
    assert "s3cr3t" not in str(protected) and "port of Redis" not in words(protected, "note")
    assert "exposed ports: Redis on all interfaces" in words(protected, "note")


def test_loopback_as_grpc_writes_it_is_not_exposed():
    with process("ray::IDLE", "::ffff:127.0.0.1", RAY_AUTH_MODE="token") as port:
        (check,) = ports(Settings())
    assert check.said == f"Ray workers on 127.0.0.1: {port} (Ray's token)"


def test_a_redis_of_another_machine_does_not_name_what_listens_on_its_port_here():
    with listening("127.0.0.1") as port:
        found = list(ports(Settings(cache=Cache(redis_url=f"redis://192.0.2.7:{port}/0"))))
    assert "Redis" not in str(found)
    with process("/opt/ray/core/src/ray/gcs/gcs_server", "127.0.0.1", RAY_AUTH_MODE="token") as port:
        (check,) = ports(Settings(cache=Cache(redis_url=f"redis://127.0.0.1:{port}/0")))
    assert "Ray's GCS" in check.said and "Redis" not in check.said


def test_replicas_of_serve_on_all_interfaces_are_one_note_with_the_firewall_and_rays_token():
    token = {"RAY_AUTH_MODE": "token"}
    with (
        process("ray::ServeReplica:raysift:ocr", "0.0.0.0", **token) as first,
        process("ray::ServeReplica:raysift:nsfw", "0.0.0.0", **token) as second,
        process("/opt/ray/core/src/ray/gcs/gcs_server", "127.0.0.1", **token) as gcs,
    ):
        found = list(ports(Settings()))
    ours = ", ".join(map(str, sorted((first, second))))
    assert [check.what for check in found] == ["open ports", "exposed ports"]
    assert f"Serve replicas on all interfaces: {ours} (Ray's token)" in words(found, "ok")
    assert f"Ray's GCS on 127.0.0.1: {gcs} (Ray's token)" in words(found, "ok")
    assert f"Serve replicas on all interfaces: {ours}: a credential is needed" in words(found, "note")


def test_a_ray_without_tokens_is_open_also_on_loopback():
    title = "/opt/ray/core/src/ray/raylet/raylet --command=/opt/ray/_private/workers/default_worker.py"
    with process(title, "127.0.0.1", RAY_AUTH_MODE="disabled") as port:
        found = list(ports(Settings()))
    assert f"raylet on 127.0.0.1: {port}: every user of this machine can use it" in words(found, "note")
    assert "RAY_AUTH_MODE=token" in words(found, "note")


def test_a_chroma_that_could_not_be_hidden_is_a_note_that_says_how_to_hide_it():
    with process("chroma run --path /srv", "127.0.0.1"):
        found = list(ports(Settings()))
    assert state(found, "port of Chroma's server") == "note"
    assert "kernel.apparmor_restrict_unprivileged_userns=0" in words(found, "note")


def test_many_ports_of_a_part_are_counted_and_programs_that_are_not_ours_are_left_out():
    from contextlib import ExitStack

    with ExitStack() as stack:
        numbers = [stack.enter_context(process("ray::IDLE", "127.0.0.1", RAY_AUTH_MODE="token")) for _ in range(4)]
        stranger = stack.enter_context(process("a web server", "0.0.0.0"))
        found = list(ports(Settings()))
    assert f"Ray workers on 127.0.0.1: 4 ports from {min(numbers)} to {max(numbers)}" in words(found, "ok")
    assert str(stranger) not in str(found)


def test_nothing_of_ours_is_said_so():
    (check,) = ports(Settings())
    assert check.state == "note" and "none of ours is seen here" in check.said
