"""The check of open ports: which process of ours listens where, and what whoever reaches it has to show."""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import httpx
import psutil

from cluster.chroma_guard.network import ADVICE as NETWORK_ADVICE
from cluster.settings import Settings
from commands.checks.check import Check

RAYS_TOKEN = "Ray's token"
# the title or the arguments of a process -> its part, and the credential that it demands ("": none)
_PARTS = (
    (r"^\S*/gcs/gcs_server", "Ray's GCS", RAYS_TOKEN),
    (r"^\S*/raylet/raylet", "raylet", RAYS_TOKEN),  # before the others: its arguments contain commands of theirs
    (r"ray::ServeReplica:", "Serve replicas", RAYS_TOKEN),
    (r"ray::ProxyActor", "Serve proxy", RAYS_TOKEN),
    (r"ray::(DashboardAgent|RuntimeEnvAgent)|/ray/(dashboard|_private/runtime_env)/agent", "Ray's agents", RAYS_TOKEN),
    (r"ray::|/ray/_private/workers/", "Ray workers", RAYS_TOKEN),
    (r"/ray/dashboard/dashboard\.py", "Ray's dashboard", RAYS_TOKEN),
    (r"ray\.util\.client\.server", "Ray Client", RAYS_TOKEN),
    (r"/ray/autoscaler/", "Ray's autoscaler", RAYS_TOKEN),
    (r"cluster\.chroma_guard", "Chroma", "a token"),
    (r"chroma run ", "Chroma's server", ""),
    (r"streamlit run \S*app/serve\.py", "app", "a session"),
)
SHOWN = 3  # port numbers of a part; of more, their count
FIREWALL = "docs/using.md, Open ports, has the lines for nftables, ufw and Kubernetes"


@dataclass(frozen=True, slots=True)
class Group:
    """The ports of one part at one address. `credential`: what it demands, in words; empty: nothing."""

    part: str
    address: str
    credential: str

    @property
    def exposed(self) -> bool:
        """Whether other machines can reach it, if no firewall keeps them off."""
        return not ipaddress.ip_address(self.address).is_loopback

    @property
    def place(self) -> str:
        """Its address in words."""
        return "all interfaces" if ipaddress.ip_address(self.address).is_unspecified else self.address


def ports(settings: Settings, rays_redis: str | None = None) -> Iterator[Check]:
    """Check which ports of ours are open on this machine. `rays_redis`: RAY_REDIS_ADDRESS of the head.

    The first check lists them all. A note follows for each part that demands no credential, and one for those that
    demand one but have no TLS and are open on an address that other machines may reach.
    """
    groups = listening(settings, rays_redis)
    if not groups:
        yield Check("open ports", "note", "none of ours is seen here. Run this as the user who has started Raysift.")
        return
    described = (f"{name(group, numbers)} ({group.credential or 'no credential'})" for group, numbers in groups.items())
    yield Check("open ports", "ok", "; ".join(described))
    for group, numbers in groups.items():
        if not group.credential:
            yield Check(f"port of {group.part}", "note", _advice(group, numbers))
    if exposed := [name(group, numbers) for group, numbers in groups.items() if group.exposed and group.credential]:
        yield Check(
            "exposed ports",
            "note",
            f"{'; '.join(exposed)}: a credential is needed, but there is no TLS, and Ray has no setting for the "
            f"address of its replicas. If other machines reach this one, close all but nginx's: {FIREWALL}.",
        )


def name(group: Group, numbers: Iterable[int]) -> str:
    """A group in words: its part, its address and its ports."""
    few = sorted(numbers)
    which = ", ".join(map(str, few)) if len(few) <= SHOWN else f"{len(few)} ports from {few[0]} to {few[-1]}"
    return f"{group.part} on {group.place}: {which}"


def _advice(group: Group, numbers: Iterable[int]) -> str:
    who = "whoever reaches this machine" if group.exposed else "every user of this machine"
    advice = f"{name(group, numbers)}: {who} can use it without a credential."
    if group.part == "Redis":
        advice += " Give it a password: requirepass, and redis://:PASSWORD@host:port/0."
    elif group.part == "Chroma's server":
        advice += f" {NETWORK_ADVICE}"
    else:
        advice += " Start Ray with RAY_AUTH_MODE=token."
    return f"{advice} Close it to other machines: {FIREWALL}." if group.exposed else advice


def listening(settings: Settings, rays_redis: str | None = None) -> dict[Group, set[int]]:
    """The open TCP ports of our processes on this machine. Those of a user's processes are known to him and to root;
    of others only what the settings name: the API, the app, Redis.
    """
    own = {settings.api.port: ("API", "a key"), settings.app.port: ("app", "a session")}
    redis = _redis(settings.cache.redis_url, rays_redis)
    groups: dict[Group, set[int]] = {}
    for connection in psutil.net_connections("tcp"):
        if connection.status != psutil.CONN_LISTEN:
            continue
        address, port = connection.laddr
        address = address.removeprefix("::ffff:")  # IPv4 of a socket that takes both, as gRPC opens it
        # on another machine Redis may have the port that Ray's GCS has here, so a process is asked first
        if (part := own.get(port) or _by_process(connection.pid) or redis.get(port)) is not None:
            groups.setdefault(Group(part[0], address, part[1]), set()).add(port)
    return dict(sorted(groups.items(), key=lambda entry: (entry[0].part, entry[0].address)))


def _redis(*urls: str | None) -> Mapping[int, tuple[str, str]]:
    """Port -> part and credential, of the servers among these that run on this machine."""
    here = {"localhost"} | {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}
    servers = {}
    for url in filter(None, urls):
        with suppress(httpx.InvalidURL):  # the check of Redis reports it
            parsed = httpx.URL(url if "://" in url else f"redis://{url}")
            if parsed.host in here:
                servers[parsed.port or 6379] = ("Redis", "a password" if parsed.password else "")
    return servers


def _by_process(pid: int | None) -> tuple[str, str] | None:
    """The part of a process and its credential; None if it is not one of ours, or of another user."""
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        command = " ".join(process.cmdline())
        for pattern, part, credential in _PARTS:
            if re.search(pattern, command):
                return part, "" if credential == RAYS_TOKEN and not _needs_token(process) else credential
    except psutil.Error:
        return None
    return None


def _needs_token(process: psutil.Process) -> bool:
    """Whether a process of Ray was started in Ray's token mode.

    Workers overwrite their environment with their title, so that of the raylet, their parent, is looked at too.
    """
    with suppress(psutil.AccessDenied):  # of another user: init, among the last parents
        for relative in (process, *process.parents()):
            if mode := relative.environ().get("RAY_AUTH_MODE"):
                return mode == "token"
    return False
