"""Checks of the API, the detectors behind it, the web app, and the provider with which people sign in to it."""

import asyncio
import json
from collections.abc import Collection, Iterator
from typing import Any

import httpx
from pydantic import ValidationError

from cluster.access.oidc import Oidc
from cluster.api_types import Ready
from cluster.errors import SettingsError
from cluster.settings import Settings
from commands.checks.check import Check
from commands.terminal import authorization
from deployments.access.provider import Provider
from deployments.access.refusals import ProviderDown

READY_S = 12.0  # the API itself answers within 8


def api(settings: Settings, enabled: Collection[str], client: httpx.Client) -> Iterator[Check]:
    """Whether the API answers, and the health of each detector. `enabled`: the detectors that these settings name."""
    url = settings.api.url
    try:
        health = client.get(f"{url}/v1/health")
    except httpx.TransportError as error:
        yield Check(
            "API",
            "fails",
            f"nothing answers at {url} ({type(error).__name__}). Where Ray runs, `serve status` says why; `serve "
            "deploy cluster/serve.yaml` deploys it, `raysift up` on one machine. Or correct api.host and api.port.",
        )
        return
    if health.status_code == 400 and "host" in health.text.lower():
        name = settings.api.host
        yield Check("API", "fails", f"it rejects the host name {name}. Add it to api.names where the API runs.")
        return
    if health.status_code != 200 or _json(health) != {"status": "ok"}:
        message = f"the server at {url} ({health.status_code}) is not the API."
        yield Check("API", "fails", f"{message} Stop it, or correct api.host and api.port.")
        return
    yield Check("API", "ok", url)
    yield from _detectors(url, enabled, client, authorization(settings))


def _detectors(url: str, enabled: Collection[str], client: httpx.Client, key: dict[str, str]) -> Iterator[Check]:
    try:
        answer = client.get(f"{url}/v1/ready", headers=key, timeout=READY_S)
        if answer.status_code == 401:
            yield Check("detectors", "fails", f"the API refuses the key of this machine: {_json(answer)['detail']}")
            return
        detectors = Ready(**answer.json()).detectors
    except (httpx.TransportError, json.JSONDecodeError, ValidationError, TypeError) as error:
        message = f"{url}/v1/ready gives no valid answer ({type(error).__name__}). `serve status` says what runs."
        yield Check("detectors", "fails", message)
        return
    if not detectors and not key:
        yield Check("detectors", "note", "without a key the API names no detector. Set RAYSIFT_KEY here.")
        return
    for name, health in detectors.items():
        if health.state.is_ready:
            yield Check(f"detector {name}", "ok", f"{health.state}: {health.message}")
        else:
            advice = f"`serve status` and the log of its replica, replica_raysift_{name}_*.log among Ray's, say why"
            yield Check(f"detector {name}", "fails", f"{health.message}; {advice}.")
    if set(detectors) != set(enabled):
        others = ", ".join(sorted(set(detectors) ^ set(enabled)))
        message = f"the API runs with other settings than these: they differ in {others}. Restart it, or compare both."
        yield Check("detectors", "note", message)


def app(settings: Settings, ours: bool, client: httpx.Client) -> Iterator[Check]:
    """Whether the web app answers. `ours`: `raysift up` has started it on this machine."""
    url = settings.app.url
    try:
        answer = client.get(f"{url}/_stcore/health")
    except httpx.TransportError as error:
        silent = f"nothing answers at {url} ({type(error).__name__})."
        if ours:
            log = settings.state_dir.absolute() / "app.log"
            yield Check("app", "fails", f"{silent} Start it: `raysift down`, `raysift up`. {log} may say why it ended.")
        else:
            yield Check("app", "note", f"{silent} If it runs on another machine, app.host says where.")
        return
    if answer.status_code == 200 and answer.text == "ok":
        yield Check("app", "ok", url)
    else:
        message = (
            f"the server at {url} ({answer.status_code}) is not the app. Stop it, or correct app.host and app.port."
        )
        yield Check("app", "fails", message)


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except json.JSONDecodeError:
        return None


def provider(oidc: Oidc, transport: httpx.AsyncBaseTransport | None = None) -> Iterator[Check]:
    """Whether the OpenID Connect provider answers with its keys, and the secret of its client is here."""
    what = "OpenID Connect"
    try:
        asyncio.run(Provider(oidc, transport).keys())
        oidc.secret()
    except ProviderDown as error:
        yield Check(what, "fails", f"{error}. Correct oidc.issuer, or let the cluster's head reach the provider.")
    except SettingsError as error:
        yield Check(what, "fails", str(error))
    else:
        yield Check(what, "ok", f"{oidc.issuer}, {len(oidc.roles)} groups with a role")
