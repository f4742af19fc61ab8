"""The checks of Ray, its token and its nodes; the dashboard is a stand-in."""

from importlib.metadata import version

import pytest

from cluster.processes import Processes
from cluster.settings import Cache, Settings
from commands.checks import ray_cluster
from commands.checks.ray_cluster import Token
from tests.commands.checks.stand_ins import GONE, client, words


def node(ip, free=50, **raylet):
    raylet = {"state": "ALIVE", "tempDir": "/tmp/ray", "resourcesTotal": {"CPU": 4.0, "memory": 2**33}} | raylet
    return {"ip": ip, "disk": {"/tmp/ray": {"total": 100 * 2**30, "free": free * 2**30}}, "raylet": raylet}


HERE = version("ray")


def rays(*nodes, ray_version=HERE, mode="token", token="t0ken"):
    def guarded(body):
        def answer(request):
            given, right = request.headers.get("Authorization"), None if mode == "disabled" else f"Bearer {token}"
            return body if given == right else (403, "Forbidden")

        return answer

    return client(
        {
            "/api/authentication_mode": {"authentication_mode": mode},
            "/api/version": guarded({"ray_version": ray_version}),
            "/nodes": guarded({"data": {"summary": list(nodes)}}),
        }
    )


GIVEN = Token(None, "t0ken")


def ray(server, token=GIVEN, elsewhere=False, **settings):
    return list(ray_cluster.ray_cluster(Settings(**settings), token, server, elsewhere))


def test_ray_and_each_of_its_nodes_are_reported():
    checks = ray(rays(node("10.0.0.2", isHeadNode=True), node("10.0.0.3"), node("10.0.0.4", state="DEAD")))
    report = {check.what: check for check in checks}
    assert report["Ray"].said == f"{HERE} at http://127.0.0.1:9" and report["Ray's token"].state == "ok"
    assert report["node 10.0.0.2, the head"].said == ("4 CPUs, 0 GPUs, 8.0 GB of memory; 50.0 GB free at /tmp/ray")
    assert report["nodes"].said == "2 alive, 1 dead"


def test_local_settings_are_noted_with_several_nodes_only():
    two = [node("10.0.0.2"), node("10.0.0.3")]
    report = words(ray(rays(*two)), "note")
    for key in ("results_uri", "galleries_uri", "cache.redis_url"):
        assert f"{key}: " in report
    assert "is a folder, and there are 2 nodes: each node would write its own. Set a bucket" in report
    shared = {"results_uri": "s3://b/r", "galleries_uri": "s3://b/g", "cache": Cache(redis_url="redis://r")}
    assert not words(ray(rays(*two), **shared), "note") and not words(ray(rays(two[0])), "note")


def test_a_node_that_has_just_joined_is_noted_beside_the_others():
    raylet = {"state": "ALIVE", "nodeManagerAddress": "10.0.0.3"}
    report = {check.what: check for check in ray(rays({"raylet": raylet}, node("10.0.0.2")))}
    assert report["node 10.0.0.3"].state == "note" and "has just joined" in report["node 10.0.0.3"].said
    assert report["node 10.0.0.2"].state == "ok"


def test_a_node_whose_disk_is_nearly_full_is_noted():
    assert "Ray stores nothing on a disk that is 95 % full" in words(ray(rays(node("10.0.0.2", free=4))), "note")


@pytest.mark.parametrize(
    ("server", "token", "advice"),
    [
        (rays(token="another"), Token(None, "t0ken"), "refuses the token of RAY_AUTH_TOKEN: its head was started with"),
        (rays(), Token(None, ""), "Set RAY_AUTH_TOKEN_PATH to the file that the head was started with."),
        (rays(ray_version="2.1.0"), Token(None, "t0ken"), "2.1.0 runs at http://127.0.0.1:9, and"),
        (client({}), Token(None, "t0ken"), "is not Ray. Stop it, or set ray.dashboard_port."),
        (client({"/api/authentication_mode": GONE}), Token(None, ""), "nothing answers at http://127.0.0.1:9"),
    ],
)
def test_a_ray_that_cannot_be_used_is_reported_with_the_reason(server, token, advice):
    assert advice in words(ray(server, token), "fails")


def test_without_a_dashboard_a_machine_that_need_not_be_the_head_gets_a_note():
    (report,) = ray(client({"/api/authentication_mode": GONE}), elsewhere=True)
    assert report.state == "note" and "run `raysift doctor` there" in report.said


def test_a_ray_without_a_token_and_a_token_that_others_may_read_are_noted(tmp_path):
    assert "Start it with RAY_AUTH_MODE=token." in words(ray(rays(node("10.0.0.2"), mode="disabled")), "note")
    file = tmp_path / "token"
    assert f"{file}: No such file or directory" in words(ray(rays(), Token(file)), "fails")
    file.write_text("t0ken\n")
    file.chmod(0o644)
    tmp_path.chmod(0o755)
    assert f"`chmod 600 {file}`" in words(ray(rays(node("10.0.0.2")), Token(file)), "note")
    file.chmod(0o600)
    assert not words(ray(rays(node("10.0.0.2")), Token(file)), "note")


def test_the_token_is_read_from_where_ray_reads_it(tmp_path):
    none = Processes(Settings(state_dir=tmp_path))
    assert ray_cluster.token(none, {"RAY_AUTH_TOKEN": "x", "RAY_AUTH_TOKEN_PATH": "/y"}).read() == "x"
    assert str(ray_cluster.token(none, {"RAY_AUTH_TOKEN_PATH": "/run/secrets/t"}).file) == "/run/secrets/t"
    assert ray_cluster.token(none, {}).place.endswith("/.ray/auth_token")
