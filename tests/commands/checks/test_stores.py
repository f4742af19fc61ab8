"""What `raysift doctor` says of Chroma and of Redis, which are stand-ins."""

import httpx
import pytest
from redis import exceptions

from cluster.settings import Cache, Settings
from commands.checks import stores
from commands.checks.check import Check
from tests.commands.checks.stand_ins import GONE, client, words

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
