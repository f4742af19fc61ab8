"""What `raysift doctor` says of a machine, and of parts whose servers are stand-ins."""

import json
import threading
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from io import BytesIO

import httpx
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from redis import exceptions
from typer.testing import CliRunner

import raysift
from cluster.gpus import Card
from cluster.processes import Processes
from cluster.settings import Cache, Models, Settings
from commands.checks import bucket, machine, ray_cluster, stores, web
from commands.checks.check import Check, together
from commands.checks.machine import examine
from commands.checks.ray_cluster import Token
from commands.checks.shares import plans
from commands.doctor import SLOWLY

A10 = Card("NVIDIA A10", 22.5, 22.0)


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A machine without settings, cards, copies of weights or a Raysift, whatever this one has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("RAYSIFT_MODELS__CACHE", str(tmp_path / "models"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for port in ("RAY__DASHBOARD_PORT", "API__PORT", "CHROMA__PORT", "APP__PORT"):
        monkeypatch.setenv(f"RAYSIFT_{port}", "9")  # nobody listens there


def run(*arguments):
    return CliRunner().invoke(raysift.cli, ["doctor", *arguments])


def state(checks, what):
    (found,) = (check for check in checks if check.what == what)
    return found.state


def test_the_embedded_profile_needs_nothing_that_is_not_installed():
    done = run("--json")
    told = json.loads(done.output)
    assert (done.exit_code, told["ok"], told["profile"]) == (0, True, "embedded")
    weights = [check for check in told["checks"] if check["what"].startswith("weights")]
    assert weights and all(check["state"] == "ok" for check in weights)


def test_the_gpu_profile_without_a_card_is_said_to_be_slow():
    told = " ".join(run("--profile", "gpu").output.replace("│", " ").split())
    assert SLOWLY in told and "run on the CPU, slowly" in told


def test_what_is_only_slow_or_still_to_be_fetched_is_no_failure(tmp_path):
    checks = examine(Settings(profile="gpu", models=Models(cache=tmp_path / "models")), [])
    assert state(checks, "placement") == state(checks, "weights of nsfw") == "note"


def test_offline_without_weights_it_cannot_run_and_each_detector_says_what_is_missing(tmp_path):
    settings = Settings(profile="gpu", models=Models(offline=True, cache=tmp_path / "models"))
    checks = examine(settings, [])
    assert state(checks, "weights of nsfw") == "fails"
    (said,) = (check.said for check in checks if check.what == "weights of nsfw")
    assert "Freepik/nsfw_image_detector" in said and "models.offline forbids the hub" in said
    assert "raysift models pull" in said


def test_a_profile_that_cannot_run_exits_1(monkeypatch):
    monkeypatch.setenv("RAYSIFT_MODELS__OFFLINE", "true")
    done = run("--profile", "gpu", "--json")
    assert done.exit_code == 1 and json.loads(done.output)["ok"] is False


def test_detectors_that_ask_for_more_cards_than_there_are_have_no_place():
    asking = Settings(detectors={"ocr": {"gpus": 0.6}, "nsfw": {"gpus": 0.6}})
    assert state(examine(asking, []), "placement") == "fails"
    assert state(examine(Settings(), []), "placement") == "ok"


def test_a_model_that_is_no_reference_is_that_detectors_failure_alone():
    checks = examine(Settings(detectors={"nsfw": {"model": "hub:x"}}), [])
    assert state(checks, "weights of nsfw") == "fails"
    assert state(checks, "weights of ocr") == "ok"


def test_shares_are_told_for_cards_of_three_sizes_and_for_the_one_found():
    told = plans(Settings(profile="gpu"), [A10])
    assert list(told["shares"]) == ["10 GB", "24 GB", "80 GB", "this NVIDIA A10"]
    assert told["memory_gb"]["whisper"] == 4.0
    assert told["shares"]["10 GB"]["whisper"] == 0.4
    assert told["shares"]["this NVIDIA A10"]["whisper"] == 0.18
    assert told["cards_needed"]["10 GB"] == 2 and told["cards_needed"]["80 GB"] == 1
    assert any("10 GB: whisper does not fit beside the others" in sentence for sentence in told["advice"])


def test_replicas_take_a_share_each():
    three = {"whisper": {"replicas": 3, "backend": "gpu"}}
    told = plans(Settings(detectors=three), [])
    assert told["shares"]["10 GB"] == {"whisper": 0.4} and told["cards_needed"]["10 GB"] == 2


def test_what_fits_no_card_is_said():
    told = plans(Settings(detectors={"whisper": {"backend": "gpu", "gpu_memory_gb": 30}}), [])
    assert "whisper" not in told["shares"]["24 GB"] and told["shares"]["80 GB"]["whisper"] == 0.38
    assert any("24 GB: whisper fits no such card" in sentence for sentence in told["advice"])


def test_every_large_model_declares_what_it_needs_of_a_card():
    from deployments.detector import detector_class, names

    large = {name: kind for name in names() if "gpu" in (kind := detector_class(name)).backends}
    assert large
    for name, kind in large.items():
        assert kind.Config(backend="gpu").gpu_memory_gb > 0, name
        assert kind.Config().gpu_memory_gb == 0, "embedded needs none"


# ---- the parts


def words(checks, state):
    return " ".join(f"{check.what}: {check.said}" for check in checks if check.state == state)


def client(answers):
    """A server: answers by path, or by method and path. An exception is raised, a function asked."""

    def handle(request):
        answer = answers.get(f"{request.method} {request.url.path}", answers.get(request.url.path, (404, "?")))
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return httpx.Response(status, **({"text": body} if isinstance(body, str) else {"json": body}))

    return httpx.Client(transport=httpx.MockTransport(handle))


GONE = httpx.ConnectError("refused")


def test_what_is_not_started_is_a_note_and_what_was_started_and_is_silent_fails(monkeypatch):
    done = run("--json")
    told = {check["what"]: check for check in json.loads(done.output)["checks"]}
    assert told["Raysift"] == {"what": "Raysift", "state": "note", "said": "not started: `raysift up`"}
    assert done.exit_code == 0 and not {"Ray", "API", "Chroma", "app"} & set(told)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")  # another launcher's word
    done = run("--json")
    told = {check["what"]: check for check in json.loads(done.output)["checks"]}
    assert done.exit_code == 1 and {told[part]["state"] for part in ("Ray", "API", "Chroma")} == {"fails"}
    assert "Start it: `raysift up`, or what launches it on several machines." in told["Ray"]["said"]


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        ("rayy: {}", "there is no setting 'rayy'. Correct its spelling or remove it."),
        ("detectors: {ocr: {flor: 1}}", "settings, detectors.ocr: there is no setting 'flor'."),
    ],
)
def test_a_key_that_is_wrong_is_named_and_nothing_else_is_looked_at(tmp_path, file, advice):
    (tmp_path / "settings.yaml").write_text(file)
    done = run("--json")
    (check,) = json.loads(done.output)["checks"]
    assert done.exit_code == 1 and (check["what"], check["state"]) == ("settings", "fails") and advice in check["said"]


def test_which_settings_are_read_is_said_and_not_their_values(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_CACHE__DAYS", "77")
    (tmp_path / "settings.yaml").write_text("profile: embedded")
    (told,) = (check for check in json.loads(run("--json").output)["checks"] if check["what"] == "settings")
    assert str(tmp_path / "settings.yaml") in told["said"] and "RAYSIFT_CACHE__DAYS" in told["said"]
    assert "77" not in told["said"]


def test_a_part_that_hangs_or_breaks_down_is_told_of_beside_the_others(monkeypatch):
    monkeypatch.setattr("commands.checks.check.PART_S", 0.2)
    hangs, told = threading.Event(), []

    def breaks():
        raise RuntimeError("odd")

    parts = {"a": lambda: hangs.wait(5), "b": breaks, "c": lambda: [Check("c", "ok", "fine")]}
    checks = together(parts, told.append)
    hangs.set()
    assert [(check.what, check.state) for check in checks] == [("a", "fails"), ("b", "fails"), ("c", "ok")]
    assert "it hangs" in checks[0].said and "RuntimeError: odd" in checks[1].said
    assert told[0] == "looking at a, b, c" and told[-1] == "looking at a"


def test_what_a_part_has_said_before_it_hangs_or_breaks_down_is_kept(monkeypatch):
    monkeypatch.setattr("commands.checks.check.PART_S", 0.2)
    hangs = threading.Event()

    def part(end):
        yield Check("first", "ok", "fine")
        end()

    checks = together({"a": lambda: part(lambda: hangs.wait(5)), "b": lambda: part(lambda: {}["disk"])}, str)
    hangs.set()
    assert [check.what for check in checks] == ["first", "a", "first", "b"]
    assert [check.state for check in checks] == ["ok", "fails"] * 2


def test_a_machine_with_little_to_give_is_told_so(tmp_path, monkeypatch):
    few = words(machine._files(1024), "note")
    assert "may have 1024 open here" in few and "ulimit -n 65536" in few
    assert not list(machine._files(65536))
    little = words(machine._shared_memory(tmp_path, Settings(ray={"object_store_mb": 10**9})), "note")
    assert "ray.object_store_mb asks for 1000000000" in little and "--shm-size" in little
    monkeypatch.setattr(machine, "FREE_GB", 1e9)
    assert "Free some, or set another state_dir" in machine.disk("state_dir", tmp_path / "not" / "yet").said


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


def test_ray_and_each_of_its_nodes():
    checks = ray(rays(node("10.0.0.2", isHeadNode=True), node("10.0.0.3"), node("10.0.0.4", state="DEAD")))
    told = {check.what: check for check in checks}
    assert told["Ray"].said == f"{HERE} at http://127.0.0.1:9" and told["Ray's token"].state == "ok"
    assert told["node 10.0.0.2, the head"].said == ("4 CPUs, 0 GPUs, 8.0 GB of memory; 50.0 GB free at /tmp/ray")
    assert told["nodes"].said == "2 alive; 1 that were there have gone"


def test_what_several_nodes_must_share_is_noted_and_one_need_not():
    two = [node("10.0.0.2"), node("10.0.0.3")]
    told = words(ray(rays(*two)), "note")
    for key in ("results_uri", "galleries_uri", "cache.redis_url"):
        assert f"{key}: " in told
    assert "is a folder, and there are 2 nodes: each node would write its own. Set a bucket" in told
    shared = {"results_uri": "s3://b/r", "galleries_uri": "s3://b/g", "cache": Cache(redis_url="redis://r")}
    assert not words(ray(rays(*two), **shared), "note") and not words(ray(rays(two[0])), "note")


def test_a_node_that_has_just_joined_is_noted_beside_the_others():
    raylet = {"state": "ALIVE", "nodeManagerAddress": "10.0.0.3"}
    told = {check.what: check for check in ray(rays({"raylet": raylet}, node("10.0.0.2")))}
    assert told["node 10.0.0.3"].state == "note" and "has just joined" in told["node 10.0.0.3"].said
    assert told["node 10.0.0.2"].state == "ok"


def test_a_node_whose_disk_is_nearly_full_is_noted():
    assert "Ray puts nothing on a disk that is 95 % full" in words(ray(rays(node("10.0.0.2", free=4))), "note")


@pytest.mark.parametrize(
    ("server", "token", "advice"),
    [
        (rays(token="another"), Token(None, "t0ken"), "refuses the token of RAY_AUTH_TOKEN: its head was started with"),
        (rays(), Token(None, ""), "Set RAY_AUTH_TOKEN_PATH to the file that the head was started with."),
        (rays(ray_version="2.1.0"), Token(None, "t0ken"), "2.1.0 runs at http://127.0.0.1:9, and"),
        (client({}), Token(None, "t0ken"), "is no Ray. Stop it, or set ray.dashboard_port."),
        (client({"/api/authentication_mode": GONE}), Token(None, ""), "nobody answers at http://127.0.0.1:9"),
    ],
)
def test_a_ray_that_cannot_be_used_is_told_why(server, token, advice):
    assert advice in words(ray(server, token), "fails")


def test_a_machine_that_need_not_be_the_head_may_have_no_dashboard():
    (told,) = ray(client({"/api/authentication_mode": GONE}), elsewhere=True)
    assert told.state == "note" and "say `raysift doctor` there" in told.said


def test_a_ray_without_a_token_is_open_to_all_and_so_is_a_token_that_others_may_read(tmp_path):
    assert "Start it with RAY_AUTH_MODE=token." in words(ray(rays(node("10.0.0.2"), mode="disabled")), "note")
    file = tmp_path / "token"
    assert f"{file}: No such file or directory" in words(ray(rays(), Token(file)), "fails")
    file.write_text("t0ken\n")
    file.chmod(0o644)
    tmp_path.chmod(0o755)
    assert f"`chmod 600 {file}`" in words(ray(rays(node("10.0.0.2")), Token(file)), "note")
    file.chmod(0o600)
    assert not words(ray(rays(node("10.0.0.2")), Token(file)), "note")


def test_the_token_is_looked_for_where_ray_looks(tmp_path):
    none = Processes(Settings(state_dir=tmp_path))
    assert ray_cluster.token(none, {"RAY_AUTH_TOKEN": "x", "RAY_AUTH_TOKEN_PATH": "/y"}).read() == "x"
    assert str(ray_cluster.token(none, {"RAY_AUTH_TOKEN_PATH": "/run/secrets/t"}).file) == "/run/secrets/t"
    assert ray_cluster.token(none, {}).place.endswith("/.ray/auth_token")


def apis(ready=None, health=None):
    return client({"/v1/health": health or {"status": "ok"}, "/v1/ready": ready or (503, "")})


def api(server, enabled=("ocr",), **settings):
    return list(web.api(Settings(**settings), enabled, server))


def test_each_detector_is_told_of_as_the_api_finds_it():
    detectors = {
        "ocr": {"state": "ok", "message": "it answers"},
        "nsfw": {"state": "asleep", "message": "it starts when it is asked"},
        "clip": {"state": "down", "message": "none of its replicas runs"},
    }
    checks = api(apis((503, {"ready": False, "detectors": detectors})), tuple(detectors))
    assert [(check.what, check.state) for check in checks] == [
        ("API", "ok"), ("detector ocr", "ok"), ("detector nsfw", "ok"), ("detector clip", "fails"),
    ]  # fmt: skip
    assert "none of its replicas runs; `serve status` and the log of its replica" in words(checks, "fails")


def test_an_api_of_other_settings_is_noted():
    detectors = {name: {"state": "ok", "message": "it answers"} for name in ("ocr", "nsfw")}
    told = words(api(apis({"ready": True, "detectors": detectors}), ("ocr", "clip")), "note")
    assert "they differ in clip, nsfw. Start it again" in told


@pytest.mark.parametrize(
    ("server", "advice"),
    [
        (apis(health=GONE), "`serve status` says why; `serve deploy cluster/serve.yaml` deploys it"),
        (apis(health=(200, "<html>")), "is not the API. Stop it, or correct api.host and api.port."),
        (apis(health=(400, "Invalid host header")), "Add it to api.names where the API runs."),
        (apis(), "/v1/ready tells nothing (JSONDecodeError)"),
    ],
)
def test_an_api_that_does_not_answer_as_one_is_told_why(server, advice):
    assert advice in words(api(server), "fails")


def test_an_app_that_is_silent_fails_where_it_was_started_and_may_be_elsewhere_otherwise():
    silent = client({"/_stcore/health": GONE})
    (here,), (elsewhere,) = (web.app(Settings(), ours, silent) for ours in (True, False))
    assert here.state == "fails" and "Start it: `raysift down`, `raysift up`." in here.said
    assert elsewhere.state == "note" and "app.host says where" in elsewhere.said
    assert [check.state for check in web.app(Settings(), True, client({"/_stcore/health": "ok"}))] == ["ok"]
    assert "is not the app" in words(web.app(Settings(), True, client({})), "fails")


HEARTBEAT = {"/api/v2/heartbeat": {"nanosecond heartbeat": 1}}


def test_chroma_is_written_to_and_what_was_written_is_deleted():
    seen = []

    def kept(request):
        seen.append(f"{request.method} {request.url.path}")
        return httpx.Response(200, json={"nanosecond heartbeat": 1})

    (told,) = stores.chroma(Settings(), httpx.Client(transport=httpx.MockTransport(kept)))
    _, written, deleted = seen
    assert told.state == "ok" and written == f"POST {stores.DATABASES}"
    assert deleted.startswith(f"DELETE {stores.DATABASES}/doctor-")


@pytest.mark.parametrize(
    ("answers", "advice"),
    [
        ({"/api/v2/heartbeat": GONE}, "or correct chroma.host and chroma.port."),
        ({"/api/v2/heartbeat": (410, "v1")}, "is no Chroma of version 1: stop it, or update Chroma."),
        (HEARTBEAT | {f"POST {stores.DATABASES}": (500, "attempt to write a readonly database")}, "does not write"),
    ],
)
def test_a_chroma_that_cannot_be_used_is_told_why(answers, advice):
    assert advice in words(stores.chroma(Settings(), client(answers)), "fails")


NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


class S3:
    """A bucket in memory. What is said of a method is raised by it; its clock may be off."""

    def __init__(self, off_s=0, **faults):
        self.faults, self.kept, self.keys = faults, {}, []
        self.date = (NOW - timedelta(seconds=off_s)).strftime("%a, %d %b %Y %H:%M:%S GMT")

    def __getattr__(self, method):
        def call(Bucket, Key=None, Body=b"", **more):
            if fault := self.faults.get(method):
                raise fault
            if method == "put_object":
                self.kept[Key] = Body
                self.keys.append(Key)
            elif method == "delete_object":
                del self.kept[Key]
            elif method == "get_object":
                return {"Body": BytesIO(self.kept[Key])}
            return {"ResponseMetadata": {"HTTPHeaders": {"date": self.date}}}

        return call


def refusal(code, **headers):
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPHeaders": headers}}, "PutObject")


def stored(s3, uri="s3://b/results"):
    settings = Settings(results_uri=uri, s3_endpoint_url="http://s3:1")
    return list(bucket.results(settings, lambda endpoint, attempts: s3, lambda: NOW))


def test_a_bucket_is_written_to_below_the_results_own_folder_and_left_as_it_was():
    s3 = S3()
    (told,) = stored(s3)
    assert told == Check("results_uri", "ok", "s3://b/results at http://s3:1: an object was written, read and deleted")
    (key,) = s3.keys
    assert key.startswith("results/_raysift/doctor-") and not s3.kept


@pytest.mark.parametrize(
    ("s3", "advice"),
    [
        (S3(list_objects_v2=NoCredentialsError()), "there are no S3 credentials. Set AWS_ACCESS_KEY_ID and"),
        (S3(list_objects_v2=refusal("NoSuchBucket")), "there is no bucket 'b' at http://s3:1. Check its name and"),
        (S3(list_objects_v2=refusal("SignatureDoesNotMatch")), "refuses the credentials (SignatureDoesNotMatch)."),
        (
            S3(put_object=refusal("AccessDenied")),
            "no object may be written there. Allow these credentials s3:",
        ),
        (S3(delete_object=refusal("AccessDenied")), "no object may be deleted there. Allow these credentials"),
        (S3(list_objects_v2=EndpointConnectionError(endpoint_url="x")), "Check s3_endpoint_url and the network."),
    ],
)
def test_a_bucket_that_cannot_be_used_is_told_why(s3, advice):
    assert advice in words(stored(s3), "fails")


def test_a_clock_that_is_wrong_is_told_before_s3_refuses_it():
    assert "this machine's is 300 s after the bucket's" in words(stored(S3(off_s=300)), "note")
    assert "S3 refuses more than 15 minutes. Have it set by NTP." in words(stored(S3(off_s=-1000)), "fails")
    skewed = refusal("RequestTimeTooSkewed", date=S3(off_s=2000).date)
    told = words(stored(S3(put_object=skewed, list_objects_v2=skewed)), "fails")
    assert "the clock of this machine is wrong" in told and "2000 s after" in told


def test_a_folder_of_results_is_looked_at_and_not_made(tmp_path):
    (told,) = stored(None, str(tmp_path / "results"))
    assert told.state == "ok" and not (tmp_path / "results").exists()
    assert "ftp:// is not read here" in words(stored(None, "ftp://x"), "fails")


class Redis:
    """A Redis: what it tells of itself, and what every command ends in."""

    def __init__(self, policy="noeviction", maxmemory=0, appendonly=1, fault=None):
        self.told = {"maxmemory_policy": policy, "maxmemory": maxmemory, "aof_enabled": appendonly}
        self.fault = fault
        self.connection_pool = self
        self.connection_kwargs = {"host": "redis", "port": 6379, "password": "s3cr3t"}

    def ping(self):
        if self.fault:
            raise self.fault

    def set(self, key, value, ex):
        assert ex == 10

    def info(self, section):
        return self.told


BOTH = ("the cache", "what Ray knows")


def remembered(server, keeps=BOTH):
    return list(stores.redis("redis://:s3cr3t@redis", keeps, lambda url: server))


def test_a_redis_is_told_of_by_what_it_keeps_and_never_by_its_password():
    (told,) = remembered(Redis("volatile-lru", 2**30))
    assert told == Check("Redis", "ok", "Redis at redis:6379 keeps the cache and what Ray knows")


@pytest.mark.parametrize(
    ("server", "state", "advice"),
    [
        (
            Redis("allkeys-lru", 2**30),
            "fails",
            "it throws away what Ray knows, and the cluster is lost.",
        ),
        (Redis("noeviction", 2**30), "note", "Set volatile-lru: what the cache remembers makes room."),
        (Redis(appendonly=0), "note", "Set appendonly yes."),
        (
            Redis(fault=exceptions.AuthenticationError("no")),
            "fails",
            "Correct it in cache.redis_url: redis://:PASSWORD",
        ),
        (Redis(fault=exceptions.ConnectionError("no")), "fails", "nothing is remembered. Start it, or correct cache."),
        (Redis(fault=exceptions.OutOfMemoryError("OOM")), "fails", "does not do what it is asked: OOM. Give it room"),
    ],
)
def test_a_redis_that_would_lose_the_cluster_or_cannot_be_used_is_told_why(server, state, advice):
    told = words(remembered(server), state)
    assert advice in told and "s3cr3t" not in told


def test_a_redis_url_that_is_none_is_told_of_without_its_password():
    for url in ("redis://:s3cr3t/more@redis:6379/0", "redis://:s3cr3t#more@redis", "s3cr3t@redis"):
        (told,) = stores.redis(url, ("the cache",))
        assert told.state == "fails" and "s3cr3t" not in told.said
        assert "cache.redis_url is no Redis URL. Write redis://:PASSWORD@host:port/0, with / # ? @" in told.said


def test_a_redis_whose_password_only_rays_head_knows_is_not_looked_at():
    (told,) = remembered(Redis(fault=exceptions.AuthenticationError("no")), ("what Ray knows",))
    assert told.state == "note" and "Ray's head alone was given" in told.said


def test_a_redis_of_the_cache_alone_may_lose_what_it_likes():
    (told,) = remembered(Redis("allkeys-lru", 2**30, appendonly=0), ("the cache",))
    assert told.state == "ok"


def test_each_redis_is_asked_once():
    ours = Settings(cache=Cache(redis_url="redis://:x@redis:6379/0"))
    assert list(stores.servers(ours, "redis:6379")) == [("redis://:x@redis:6379/0", ["the cache", "what Ray knows"])]
    assert [keeps for _, keeps in stores.servers(ours, "rediss://other")] == [["the cache"], ["what Ray knows"]]
    assert list(stores.servers(Settings(), None)) == []
