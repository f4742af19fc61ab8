"""Checks of the servers that store data: Chroma (vectors) and Redis (the cache, the state of Ray's head)."""

from collections.abc import Callable, Collection, Iterator
from typing import Any, Literal
from uuid import uuid4

import httpx

from cluster.errors import SettingsError
from cluster.settings import Settings
from commands.checks.check import ANSWER_S, Check

API = "/api/v2"
DATABASES = f"{API}/tenants/default_tenant/databases"

Keeps = Literal["the cache", "what Ray knows"]


def chroma(settings: Settings, client: httpx.Client) -> Iterator[Check]:
    """Whether Chroma answers and writes. The write makes a database of its own, which no list of vectors shows."""
    url = settings.chroma.url
    try:
        heartbeat = client.get(f"{url}{API}/heartbeat")
        if heartbeat.status_code != 200 or "heartbeat" not in heartbeat.text:
            said = (
                f"what answers at {url} ({heartbeat.status_code}) is no Chroma of version 1: stop it, or update Chroma."
            )
            yield Check("Chroma", "fails", f"{said} Or correct chroma.host and chroma.port.")
            return
        name = f"doctor-{uuid4().hex}"
        written = client.post(f"{url}{DATABASES}", json={"name": name})
        deleted = client.delete(f"{url}{DATABASES}/{name}")
    except httpx.TransportError as error:
        log = settings.state_dir.absolute() / "chroma.log"
        yield Check(
            "Chroma",
            "fails",
            f"nobody answers at {url} ({type(error).__name__}): no search, all else works. Start it (`raysift up`, or "
            f"its service), or correct chroma.host and chroma.port. {log} may say why it ended.",
        )
        return
    if written.is_success and deleted.is_success:
        yield Check("Chroma", "ok", f"{url}: it answers, and writes")
    else:
        answer = (deleted if written.is_success else written).text[:200]
        said = f"it answers at {url} and does not write: {answer}. Look at the space and the rights of its folder."
        yield Check("Chroma", "fails", said)


def _connect(url: str) -> Any:
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return Redis.from_url(url, socket_connect_timeout=ANSWER_S, socket_timeout=ANSWER_S, retry=Retry(NoBackoff(), 0))


def redis(url: str, keeps: Collection[Keeps], connect: Callable[[str], Any] = _connect) -> Iterator[Check]:
    """Check a Redis. `keeps`: what is stored in it; the cache and Ray need different settings of it."""
    from redis import exceptions

    key = "cache.redis_url" if "the cache" in keeps else "RAY_REDIS_ADDRESS"
    try:
        server = connect(url)
    except ValueError:  # its message quotes the URL, and so a part of the password
        said = f"{key} is no Redis URL. Write redis://:PASSWORD@host:port/0, with / # ? @ of the password "
        yield Check("Redis", "fails", f"{said}percent-encoded.")
        return
    where = server.connection_pool.connection_kwargs  # the URL itself may hold a password
    place = f"Redis at {where.get('path') or where.get('host', 'localhost')}:{where.get('port', 6379)}"
    try:
        server.ping()
        if "the cache" in keeps:
            server.set(b"raysift:doctor", b"", ex=10)
        memory, disk = server.info("memory"), server.info("persistence")
    except exceptions.AuthenticationError as error:
        if "the cache" in keeps:
            said = f"{place} refuses the password ({error}). Correct it in {key}: redis://:PASSWORD@host:port/0."
            yield Check("Redis", "fails", said)
        else:  # it is an argument of `ray start`
            yield Check("Redis", "note", f"{place} asks for a password that Ray's head alone was given: not looked at")
    except exceptions.ResponseError as error:
        said = f"{place} does not do what it is asked: {error}. Give it room, and its user the right to."
        yield Check("Redis", "fails", said)
    except (exceptions.RedisError, OSError) as error:
        lost = "nothing is remembered" if "the cache" in keeps else "Ray's head does not outlive a restart"
        said = f"{place} does not answer ({type(error).__name__}): {lost}. Start it, or correct {key}."
        yield Check("Redis", "fails", said)
    else:
        yield Check("Redis", "ok", f"{place} keeps {' and '.join(keeps)}")
        if "what Ray knows" in keeps:
            yield from _lasting(memory, disk, shared="the cache" in keeps)


def _lasting(memory: dict[str, Any], disk: dict[str, Any], shared: bool) -> Iterator[Check]:
    """Whether Redis keeps what Ray writes, which has no time to live; the cache's entries have one and may go."""
    policy = memory["maxmemory_policy"]
    if policy.startswith("allkeys"):
        yield Check(
            "Redis's memory",
            "fails",
            f"maxmemory-policy {policy}: when it is full it throws away what Ray knows, and the cluster is lost. Set "
            "maxmemory-policy volatile-lru: only what the cache remembers goes then.",
        )
    elif shared and policy == "noeviction" and memory["maxmemory"]:
        yield Check(
            "Redis's memory",
            "note",
            "maxmemory-policy noeviction: when the cache has filled it, Ray cannot write either. Set volatile-lru: "
            "what the cache remembers makes room.",
        )
    if not disk["aof_enabled"]:
        yield Check(
            "Redis's disk",
            "note",
            "appendonly is off: when Redis is started again, what Ray knew of the last minutes is lost, and the "
            "cluster with it. Set appendonly yes.",
        )


def servers(settings: Settings, of_ray: str | None) -> Iterator[tuple[str, list[Keeps]]]:
    """Each Redis and what it keeps. That of Ray is known only where RAY_REDIS_ADDRESS is set, as on the head."""
    ours = settings.cache.redis_url
    rays = of_ray if of_ray is None or "://" in of_ray else f"redis://{of_ray}"
    if ours and rays and _server(ours) == _server(rays):
        yield ours, ["the cache", "what Ray knows"]
        return
    if ours:
        yield ours, ["the cache"]
    if rays:
        yield rays, ["what Ray knows"]


def _server(url: str) -> tuple[str | None, int]:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise SettingsError("cache.redis_url or RAY_REDIS_ADDRESS is no URL. Write redis://host:port/0.") from None
    return parsed.host, parsed.port or 6379
