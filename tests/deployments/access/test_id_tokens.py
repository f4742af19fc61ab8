"""Which ID tokens of an OpenID Connect provider are believed, and with which of its keys."""

import asyncio
import time
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from deployments.access.provider import AGAIN_S, KNOWN_S, Provider
from deployments.access.refusals import TokenRefused
from tests.deployments.access.signing_in import refused, settings, sign_in
from tests.support.servers.oidc import ScriptedProvider, new_key


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


def test_an_es256_key_and_headers_of_the_providers_own_are_taken(provider: ScriptedProvider):
    provider.key = ECKey.generate_key("P-256", {"kid": "ec"})
    provider.published = [provider.key]
    provider.header = {"alg": "ES256", "x-of-its-own": "1"}
    assert sign_in(provider).role == "viewer"


# ---- tokens that are not for us, or not from the provider


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": int(time.time()) - 61}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": "tomorrow"}, "exp"),
        ({"iat": int(time.time()) + 86_400}, "iat"),
        ({"iat": None}, "iat"),
        ({"nbf": int(time.time()) + 86_400}, "nbf"),
        ({"iss": "https://id.example.org"}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": "another client"}, "aud"),
        ({"aud": ["another client"]}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": ["raysift", "another client"]}, "azp"),
        ({"aud": ["raysift", "another client"], "azp": "another client"}, "azp"),
        ({"azp": "another client"}, "azp"),
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": 7}, "sub"),
        ({"sub": "x" * 256}, "sub"),
        ({"sub": "a\nb"}, "sub"),
    ],
)
def test_a_token_with_a_wrong_claim_is_refused(provider: ScriptedProvider, claims: dict[str, Any], reason: str):
    provider.claims |= claims
    refused(provider, reason)


def test_clocks_may_differ_by_a_minute(provider: ScriptedProvider):
    now = int(time.time())
    provider.claims |= {"iat": now + 50, "nbf": now + 50, "exp": now - 50}
    assert sign_in(provider).role == "viewer"


def test_several_audiences_are_taken_if_we_are_the_one_it_was_made_for(provider: ScriptedProvider):
    provider.claims |= {"aud": ["another client", "raysift"], "azp": "raysift"}
    assert sign_in(provider).role == "viewer"


def test_another_key_with_the_id_of_a_known_one_is_refused(provider: ScriptedProvider):
    provider.published = [RSAKey.generate_key(2048, {"kid": "first"})]
    refused(provider, "BadSignature")


def test_a_key_that_is_not_published_is_refused(provider: ScriptedProvider):
    provider.key = new_key("unpublished")
    refused(provider, "does not publish")


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("algorithm", ["none", "HS256", "PS256", "RS512"])
def test_only_the_two_algorithms_are_taken(provider: ScriptedProvider, algorithm: str):
    provider.header["alg"] = algorithm
    if algorithm in ("none", "HS256"):
        provider.key = OctKey.import_key(b"a secret of thirty-two characters", {"kid": "first"})
    refused(provider, "UnsupportedAlgorithm")


def test_a_key_of_another_kind_with_the_same_id_is_not_used(provider: ScriptedProvider):
    provider.published = [OctKey.import_key(b"a secret of thirty-two characters", {"kid": "first"})]
    refused(provider, "signature is not valid")


@pytest.mark.parametrize("token", ["", "a.b.c", "a", "e30.e30.", None, {}])
def test_what_is_no_token_is_refused(provider: ScriptedProvider, token: Any):
    provider.faults["/token"] = httpx.Response(200, json={"id_token": token})
    refused(provider, "signature is not valid|no ID token")


# ---- keys


def test_a_new_key_is_found_without_a_restart_and_an_old_one_is_forgotten(provider: ScriptedProvider):
    seconds = [0.0]
    client = Provider(settings(provider), provider.transport, lambda: seconds[0])
    check = lambda: asyncio.run(client.check(provider.id_token("n"), "n"))["sub"]  # noqa: E731
    assert check() == check() == "u-1" and provider.paths.count("/keys") == 1
    old, provider.key = provider.key, new_key("second")
    provider.published = [old, provider.key]
    with pytest.raises(TokenRefused, match="does not publish"):  # it was asked a moment ago
        check()
    seconds[0] += AGAIN_S + 1
    assert check() == "u-1" and provider.paths.count("/keys") == 2
    for _ in range(20):
        with pytest.raises(TokenRefused, match="does not publish"):
            asyncio.run(client.check(jwt.encode({"alg": "RS256", "kid": "x"}, {}, new_key("x")), "n"))
    assert provider.paths.count("/keys") == 2, "unknown keys make no more requests than one in AGAIN_S"
    provider.key, provider.published = old, [provider.key]
    assert check() == "u-1"
    seconds[0] += KNOWN_S + 1
    with pytest.raises(TokenRefused, match="does not publish"):
        check()


def test_a_key_without_an_id_is_taken_if_it_is_the_only_one(provider: ScriptedProvider):
    provider.header["kid"] = None
    assert sign_in(provider).role == "viewer"
    provider.published = [provider.key, new_key("second")]
    refused(provider, "does not publish")
