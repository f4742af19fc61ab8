"""The checks of Chroma and of Redis, which are stand-ins."""

import httpx
import pytest
from redis import exceptions

from cluster.settings import Cache, Settings
from commands.checks import stores
from commands.checks.check import Check
from tests.commands.checks.stand_ins import GONE, client, words

HEARTBEAT = {"/api/v2/heartbeat": {"nanosecond heartbeat": 1}}


def test_the_check_of_chroma_deletes_what_it_writes():
    seen = []

    def kept(request):
        seen.append(f"{request.method} {request.url.path}")
        return httpx.Response(200, json={"nanosecond heartbeat": 1})

    (report,) = stores.chroma(Settings(), httpx.Client(transport=httpx.MockTransport(kept)))
    _, written, deleted = seen
    assert report.state == "ok" and written == f"POST {stores.DATABASES}"
    assert deleted.startswith(f"DELETE {stores.DATABASES}/doctor-")


@pytest.mark.parametrize(
    ("answers", "advice"),
    [
        ({"/api/v2/heartbeat": GONE}, "or correct chroma.host and chroma.port."),
        ({"/api/v2/heartbeat": (410, "v1")}, "is not Chroma of version 1: stop it, or update Chroma."),
        (HEARTBEAT | {f"POST {stores.DATABASES}": (500, "attempt to write a readonly database")}, "cannot write"),
    ],
)
def test_a_chroma_that_cannot_be_used_is_reported_with_the_reason(answers, advice):
    assert advice in words(stores.chroma(Settings(), client(answers)), "fails")


class Redis:
    """A Redis with these settings. `fault`: the exception of every command."""

    def __init__(self, policy="noeviction", maxmemory=0, appendonly=1, fault=None):
        self.values = {"maxmemory_policy": policy, "maxmemory": maxmemory, "aof_enabled": appendonly}
        self.fault = fault
        self.connection_pool = self
        self.connection_kwargs = {"host": "redis", "port": 6379, "password": "s3cr3t"}

    def ping(self):
        if self.fault:
            raise self.fault

    def set(self, key, value, ex):
        assert ex == 10

    def info(self, section):
        return self.values


BOTH = ("the cache", "Ray's state")


def redis_checks(server, keeps=BOTH):
    return list(stores.redis("redis://:s3cr3t@redis", keeps, lambda url: server))


def test_a_redis_is_reported_with_what_it_keeps_and_without_its_password():
    (report,) = redis_checks(Redis("volatile-lru", 2**30))
    assert report == Check("Redis", "ok", "Redis at redis:6379 keeps the cache and Ray's state")


@pytest.mark.parametrize(
    ("server", "state", "advice"),
    [
        (
            Redis("allkeys-lru", 2**30),
            "fails",
            "it evicts Ray's state, and the cluster is lost.",
        ),
        (Redis("noeviction", 2**30), "note", "Set volatile-lru: then it evicts entries of the cache."),
        (Redis(appendonly=0), "note", "Set appendonly yes."),
        (
            Redis(fault=exceptions.AuthenticationError("no")),
            "fails",
            "Correct it in cache.redis_url: redis://:PASSWORD",
        ),
        (Redis(fault=exceptions.ConnectionError("no")), "fails", "no answer is cached. Start it, or correct cache."),
        (Redis(fault=exceptions.OutOfMemoryError("OOM")), "fails", "rejects a command: OOM. Give it more memory"),
    ],
)
def test_a_redis_that_would_lose_the_cluster_or_cannot_be_used_is_reported(server, state, advice):
    report = words(redis_checks(server), state)
    assert advice in report and "s3cr3t" not in report


def test_an_invalid_redis_url_is_reported_without_its_password():
    for url in ("redis://:s3cr3t/more@redis:6379/0", "redis://:s3cr3t#more@redis", "s3cr3t@redis"):
        (report,) = stores.redis(url, ("the cache",))
        assert report.state == "fails" and "s3cr3t" not in report.said
        assert "cache.redis_url is not a Redis URL. Write redis://:PASSWORD@host:port/0, with / # ? @" in report.said


def test_a_redis_whose_password_only_rays_head_has_is_not_checked():
    (report,) = redis_checks(Redis(fault=exceptions.AuthenticationError("no")), ("Ray's state",))
    assert report.state == "note" and "only Ray's head has" in report.said


def test_a_redis_of_the_cache_alone_may_lose_entries():
    (report,) = redis_checks(Redis("allkeys-lru", 2**30, appendonly=0), ("the cache",))
    assert report.state == "ok"


def test_each_redis_is_checked_once():
    ours = Settings(cache=Cache(redis_url="redis://:x@redis:6379/0"))
    assert list(stores.servers(ours, "redis:6379")) == [("redis://:x@redis:6379/0", ["the cache", "Ray's state"])]
    assert [keeps for _, keeps in stores.servers(ours, "rediss://other")] == [["the cache"], ["Ray's state"]]
    assert list(stores.servers(Settings(), None)) == []
