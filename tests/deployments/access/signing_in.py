"""Sign in at a scripted OpenID Connect provider, as a browser and the app do."""

import asyncio
from typing import Any

import pytest

from cluster.access.api_types import OidcCallback
from cluster.access.identity import Identity
from cluster.access.oidc import Oidc
from deployments.access.oidc_sign_in import OidcSignIn
from deployments.access.refusals import TokenRefused
from tests.support.servers.oidc import CALLBACK, ScriptedProvider

ROLES = {"staff": {"role": "viewer", "under": ["s3://bucket/case-7"]}}


def settings(provider: ScriptedProvider, **more: Any) -> Oidc:
    return Oidc(issuer=provider.issuer, client_id="raysift", roles=ROLES, **more)


def sign_ins(provider: ScriptedProvider, **more: Any) -> OidcSignIn:
    return OidcSignIn(settings(provider, **more), b"secret", provider.transport)


def began(sign_in: OidcSignIn, provider: ScriptedProvider) -> OidcCallback:
    """What a browser brings back from the provider."""
    start = asyncio.run(sign_in.begin(CALLBACK))
    return OidcCallback(flow=start.flow, redirect_uri=CALLBACK, **provider.sign_in(start.url))


def sign_in(provider: ScriptedProvider, **more: Any) -> Identity:
    with_provider = sign_ins(provider, **more)
    return asyncio.run(with_provider.finish(began(with_provider, provider)))


def refused(provider: ScriptedProvider, reason: str) -> None:
    with pytest.raises(TokenRefused, match=reason):
        sign_in(provider)
