"""Checks of the servers that store data: Chroma (vectors) and Redis (the cache, the state of Ray's head)."""

from collections.abc import Callable, Collection, Iterator
from typing import Any, Literal
from uuid import uuid4

import httpx

from cluster.chroma.client import TOKEN_ADVICE, authorization
from cluster.chroma_guard.credential import chroma_token
from cluster.errors import SettingsError
from cluster.settings import Settings
from commands.checks.check import ANSWER_S, Check

API = "/api/v2"
DATABASES = f"{API}/tenants/default_tenant/databases"

Keeps = Literal["the cache", "Ray's state"]


def chroma(settings: Settings, client: httpx.Client) -> Iterator[Check]:
    """Check that Chroma answers and writes. It writes a separate database, outside of the vectors."""
    url, headers = settings.chroma.url, authorization(chroma_token(settings))
    try:
        heartbeat = client.get(f"{url}{API}/heartbeat", headers=headers)
        if heartbeat.status_code == 401:
            yield Check("Chroma", "fails", f"the server at {url} refuses the token of this machine. {TOKEN_ADVICE}")
            return
        if heartbeat.status_code != 200 or "heartbeat" not in heartbeat.text:
            message = (
                f"the server at {url} ({heartbeat.status_code}) is not Chroma of version 1: stop it, or update Chroma."
            )
            yield Check("Chroma", "fails", f"{message} Or correct chroma.host and chroma.port.")
            return
        name = f"doctor-{uuid4().hex}"
        written = client.post(f"{url}{DATABASES}", json={"name": name}, headers=headers)
        deleted = client.delete(f"{url}{DATABASES}/{name}", headers=headers)
    except httpx.TransportError as error:
        log = settings.state_dir.absolute() / "chroma.log"
        yield Check(
            "Chroma",
            "fails",
            f"nothing answers at {url} ({type(error).__name__}): no search, all else works. Start it (`raysift up`, or "
            f"its service), or correct chroma.host and chroma.port. {log} may say why it ended.",
        )
        return
    if written.is_success and deleted.is_success:
        yield Check("Chroma", "ok", f"{url}: it answers and writes")
    else:
        answer = (deleted if written.is_success else written).text[:200]
        message = f"it answers at {url} but cannot write: {answer}. Check the space and the permissions of its folder."
        yield Check("Chroma", "fails", message)


def _connect(url: str) -> Any:
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return Redis.from_url(url, socket_connect_timeout=ANSWER_S, socket_timeout=ANSWER_S, retry=Retry(NoBackoff(), 0))


def redis(url: str, keeps: Collection[Keeps], connect: Callable[[str], Any] = _connect) -> Iterator[Check]:
    """Check a Redis server. `keeps`: what it stores; the cache and Ray need different settings."""
    from redis import exceptions

    key = "cache.redis_url" if "the cache" in keeps else "RAY_REDIS_ADDRESS"
    try:
        server = connect(url)
    except ValueError:  # its message quotes the URL, including a part of the password
        message = f"{key} is not a Redis URL. Write redis://:PASSWORD@host:port/0, with / # ? @ of the password "
        yield Check("Redis", "fails", f"{message}percent-encoded.")
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
            message = f"{place} refuses the password ({error}). Correct it in {key}: redis://:PASSWORD@host:port/0."
            yield Check("Redis", "fails", message)
        else:  # it is an argument of `ray start`
            yield Check("Redis", "note", f"{place} requires a password that only Ray's head has: not checked")
    except exceptions.ResponseError as error:
        message = f"{place} rejects a command: {error}. Give it more memory, and its user the permission."
        yield Check("Redis", "fails", message)
    except (exceptions.RedisError, OSError) as error:
        lost = "no answer is cached" if "the cache" in keeps else "a restart of Ray's head loses its state"
        message = f"{place} does not answer ({type(error).__name__}): {lost}. Start it, or correct {key}."
        yield Check("Redis", "fails", message)
    else:
        yield Check("Redis", "ok", f"{place} keeps {' and '.join(keeps)}")
        if "Ray's state" in keeps:
            yield from _lasting(memory, disk, shared="the cache" in keeps)


def _lasting(memory: dict[str, Any], disk: dict[str, Any], shared: bool) -> Iterator[Check]:
    """Check that Redis keeps Ray's state, which does not expire; entries of the cache do and may be evicted."""
    policy = memory["maxmemory_policy"]
    if policy.startswith("allkeys"):
        yield Check(
            "Redis's memory",
            "fails",
            f"maxmemory-policy {policy}: when it is full, it evicts Ray's state, and the cluster is lost. Set "
            "maxmemory-policy volatile-lru: then it evicts only entries of the cache.",
        )
    elif shared and policy == "noeviction" and memory["maxmemory"]:
        yield Check(
            "Redis's memory",
            "note",
            "maxmemory-policy noeviction: when the cache has filled it, Ray cannot write either. Set volatile-lru: "
            "then it evicts entries of the cache.",
        )
    if not disk["aof_enabled"]:
        yield Check(
            "Redis's disk",
            "note",
            "appendonly is off: when Redis restarts, Ray's state of the last minutes is lost, and the "
            "cluster with it. Set appendonly yes.",
        )


def servers(settings: Settings, of_ray: str | None) -> Iterator[tuple[str, list[Keeps]]]:
    """The URL of each Redis and what it keeps. Ray's is known only where RAY_REDIS_ADDRESS is set, as on the head."""
    ours = settings.cache.redis_url
    rays = of_ray if of_ray is None or "://" in of_ray else f"redis://{of_ray}"
    if ours and rays and _server(ours) == _server(rays):
        yield ours, ["the cache", "Ray's state"]
        return
    if ours:
        yield ours, ["the cache"]
    if rays:
        yield rays, ["Ray's state"]


def _server(url: str) -> tuple[str | None, int]:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise SettingsError("cache.redis_url or RAY_REDIS_ADDRESS is not a URL. Write redis://host:port/0.") from None
    return parsed.host, parsed.port or 6379
