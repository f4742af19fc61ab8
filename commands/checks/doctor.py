"""`raysift doctor`: checks of this machine and of every part of Raysift, and advice on every fault."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from cluster.errors import SettingsError
from cluster.settings import FILE, PREFIX, Listener, Profile, Settings, load
from commands.checks.check import ANSWER_S, Check, CheckPart, run_checks
from commands.terminal import ProfileOption, harmless, waiting

SLOWLY = "Without a card the gpu profile runs on the CPU, slowly."
HERE = ("127.0.0.1", "localhost", "0.0.0.0", "::", "::1")


def doctor(
    profile: ProfileOption = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Have each detector analyse its example, as an upload through the API.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check this machine and every part of Raysift, and say how to correct each fault. Starts nothing, except, with
    --deep, detectors that are asleep.

    Exits 1 if the profile cannot run here, or if a part that is set up does not work; that Raysift is not started is
    no fault. The second table shows the share of a card that each deployment of the gpu profile gets.
    """
    # imported only now, here and below: other commands do not wait for what the checks need
    from cluster import gpus
    from commands.checks import machine, shares

    try:
        settings = load()
        if profile:
            settings = settings.model_copy(update={"profile": profile})
        enabled = _enabled(settings)
    except SettingsError as error:
        _print([Check("settings", "fails", str(error))], profile, as_json, {})
        return
    cards = gpus.cards()
    parts = {"this machine": lambda: machine.examine(settings, cards)} | _parts(settings, enabled, os.environ)
    with waiting("checking") as update:
        checks = [_settings(os.environ), *run_checks(parts, update)]
        if deep:
            import httpx

            from commands.checks import deep as examples

            with httpx.Client(timeout=ANSWER_S, trust_env=False) as client:
                checks += examples.deep(settings, client, update)
    memory = shares.plans(settings.model_copy(update={"profile": "gpu"}), cards)
    _print(checks, settings.profile, as_json, memory)


def _enabled(settings: Settings) -> list[str]:
    """The names of the enabled detectors. SettingsError names a wrong key of a detector."""
    from deployments.serving.placement import configs

    return list(configs(settings))


def _settings(environment: Mapping[str, str]) -> Check:
    file = Path(FILE).absolute()
    set_there = sorted(name for name in environment if name.startswith(PREFIX))
    found = str(file) if file.exists() else f"no {FILE} in {file.parent}"
    return Check("settings", "ok", f"{found}; {', '.join(set_there) or f'no {PREFIX}...'} in the environment")


def _parts(settings: Settings, enabled: Sequence[str], environment: Mapping[str, str]) -> dict[str, CheckPart]:
    """Part -> its checks, in the order in which data passes through the parts."""
    import httpx

    from cluster.processes import Processes, port_open
    from commands.checks import bucket, ports, ray_cluster, stores, web

    client = httpx.Client(timeout=ANSWER_S, trust_env=False)
    processes = Processes(settings)
    parts: dict[str, CheckPart] = {}
    ours = processes.alive()
    started = bool(ours or environment.get("RAY_ADDRESS")) or any(map(port_open, _listeners(settings)))
    if started:
        token = ray_cluster.token(processes, environment)
        elsewhere = settings.api.host not in HERE
        parts["Ray"] = lambda: ray_cluster.ray_cluster(settings, token, client, elsewhere)
        parts["API"] = lambda: web.api(settings, enabled, client)
    else:
        parts["Raysift"] = lambda: [Check("Raysift", "note", "not started: `raysift up`")]
    parts["results_uri"] = lambda: bucket.results(settings)
    parts["Redis"] = lambda: _redis(settings, environment)
    if started:
        parts["Chroma"] = lambda: stores.chroma(settings, client)
        parts["app"] = lambda: web.app(settings, bool(ours), client)
        parts["open ports"] = lambda: ports.ports(settings, environment.get("RAY_REDIS_ADDRESS"))
    if oidc := settings.oidc:
        parts["OpenID Connect"] = lambda: web.provider(oidc)
    return parts


def _listeners(settings: Settings) -> Iterator[Listener]:
    yield from (settings.api, settings.chroma, settings.app)
    yield Listener(port=settings.ray.dashboard_port)


def _redis(settings: Settings, environment: Mapping[str, str]) -> Iterator[Check]:
    from commands.checks import stores

    for url, keeps in stores.servers(settings, environment.get("RAY_REDIS_ADDRESS")):
        yield from stores.redis(url, keeps)


def _print(checks: Sequence[Check], profile: Profile | None, as_json: bool, memory: dict[str, Any]) -> None:
    from commands.checks import shares

    ok = all(check.state != "fails" for check in checks)
    if as_json:
        typer.echo(json.dumps({"profile": profile, "ok": ok, "checks": list(map(asdict, checks))} | memory))
    else:
        out = Console()
        out.print(_checked(profile, checks))
        if memory:
            out.print(shares.table(memory))
            for sentence in memory["advice"]:
                out.print(sentence, highlight=False)
            out.print(f"{SLOWLY} The memory of each deployment is an estimate: docs/performance.md.", highlight=False)
    raise typer.Exit(0 if ok else 1)


def _checked(profile: Profile | None, checks: Sequence[Check]) -> Table:
    table = Table("", "", Column("what was found", overflow="fold"), title=f"profile {profile}" if profile else None)
    colors = {"ok": "green", "note": "yellow", "fails": "red"}
    for check in checks:
        table.add_row(check.what, f"[{colors[check.state]}]{check.state}", harmless(check.said))
    return table
