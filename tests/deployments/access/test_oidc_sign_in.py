"""Signing in through an OpenID Connect provider: which answers of it are believed, and which are not."""

import asyncio
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from cluster.access.api_types import OidcCallback
from cluster.access.identity import Identity
from cluster.access.oidc import Oidc
from deployments.access import oidc_sign_in
from deployments.access.oidc_sign_in import OidcSignIn
from deployments.access.provider import AGAIN_S, KNOWN_S, Provider
from deployments.access.refusals import ProviderDown, TokenRefused, Unmapped
from tests.support.servers.oidc import CALLBACK, ScriptedProvider, new_key

ROLES = {"staff": {"role": "viewer", "under": ["s3://bucket/case-7"]}}


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


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


def test_somebody_signs_in_with_the_role_and_the_folders_of_a_group(provider: ScriptedProvider):
    provider.claims |= {"name": "Anna B", "email": "anna@example.org"}
    who = sign_in(provider)
    assert (who.name, who.role, who.prefixes) == ("Anna B <anna@example.org>", "viewer", ("s3://bucket/case-7",))
    assert who.subject == "https://id.example.org/realm u-1"


def test_the_browser_is_sent_with_a_state_a_nonce_and_a_challenge_that_are_new_each_time(provider: ScriptedProvider):
    sign_in = sign_ins(provider, scopes=("openid", "groups"))
    asked = [parse_qs(urlsplit(asyncio.run(sign_in.begin(CALLBACK)).url).query) for _ in range(2)]
    assert asked[0]["scope"] == ["openid groups"] and asked[0]["code_challenge_method"] == ["S256"]
    for name in ("state", "nonce", "code_challenge"):
        assert asked[0][name] != asked[1][name] and len(asked[0][name][0]) >= 43


def test_a_flow_does_not_show_the_verifier_or_the_nonce(provider: ScriptedProvider):
    sign_in = sign_ins(provider)
    start = asyncio.run(sign_in.begin(CALLBACK))
    other = OidcSignIn(settings(provider), b"another secret", provider.transport)
    given = OidcCallback(flow=start.flow, redirect_uri=CALLBACK, **provider.sign_in(start.url))
    with pytest.raises(TokenRefused, match="not begun in this browser"):
        asyncio.run(other.finish(given))


@pytest.mark.parametrize("uri", ["https://evil.example/", f"{CALLBACK}/x", "javascript:1", f"https://a?{CALLBACK}"])
def test_the_provider_is_asked_to_send_browsers_to_the_app_only(provider: ScriptedProvider, uri: str):
    with pytest.raises(TokenRefused, match="redirect_uri"):
        asyncio.run(sign_ins(provider).begin(uri))


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
        ({"iat": int(time.time()) + 120}, "iat"),
        ({"iat": None}, "iat"),
        ({"nbf": int(time.time()) + 120}, "nbf"),
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


# ---- codes


def test_a_code_is_of_use_once_and_only_with_the_flow_that_asked_for_it(provider: ScriptedProvider):
    sign_in = sign_ins(provider)
    ours, theirs = began(sign_in, provider), began(sign_in, provider)
    for changed in (
        theirs.model_copy(update={"flow": ours.flow}),  # somebody else's code and state, in this browser
        ours.model_copy(update={"state": "0" * 64}),
        ours.model_copy(update={"state": "\udcff"}),
        ours.model_copy(update={"redirect_uri": CALLBACK.replace("127.0.0.1", "evil.example")}),
        ours.model_copy(update={"flow": f"9{ours.flow}"}),  # a later end
        ours.model_copy(update={"flow": "x"}),
    ):
        with pytest.raises(TokenRefused, match="not begun in this browser"):
            asyncio.run(sign_in.finish(changed))
    with pytest.raises(TokenRefused, match="invalid_grant"):  # somebody else's code with our state: PKCE refuses it
        asyncio.run(sign_in.finish(ours.model_copy(update={"code": theirs.code})))
    assert asyncio.run(sign_in.finish(ours)).role == "viewer"


def test_a_sign_in_succeeds_once_even_if_the_provider_takes_its_code_twice(provider: ScriptedProvider):
    provider.forgetful = True
    sign_in = sign_ins(provider)
    given = began(sign_in, provider)

    async def together() -> list[Any]:
        return await asyncio.gather(*[sign_in.finish(given) for _ in range(3)], return_exceptions=True)

    outcomes = asyncio.run(together())
    assert [type(outcome) for outcome in outcomes].count(Identity) == 1
    assert [type(outcome) for outcome in outcomes].count(TokenRefused) == 2
    with pytest.raises(TokenRefused, match="used before"):
        asyncio.run(sign_in.finish(given))


def test_a_sign_in_that_takes_too_long_is_refused(provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch):
    sign_in = sign_ins(provider)
    monkeypatch.setattr(oidc_sign_in, "FLOW_S", -1.0)
    with pytest.raises(TokenRefused, match="longer than ten minutes"):
        asyncio.run(sign_in.finish(began(sign_in, provider)))
    assert "/token" not in provider.paths


def test_somebody_in_no_group_with_a_role_is_named_and_refused(provider: ScriptedProvider):
    provider.claims |= {"groups": ["others"], "name": "Eve"}
    with pytest.raises(Unmapped) as raised:
        sign_in(provider)
    assert (raised.value.who.name, raised.value.who.prefixes) == ("Eve", ())


# ---- the client and its secret


def test_the_secret_is_sent_as_the_provider_takes_it(provider: ScriptedProvider):
    sign_in(provider, client_secret="a:b c")
    provider.described["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    sign_in(provider, client_secret="a:b c")
    sign_in(provider)
    assert provider.authorization == [httpx.BasicAuth("raysift", "a%3Ab+c")._auth_header, None, None]
    assert (
        provider.forms[1]["client_secret"] == "a:b c" and "client_secret" not in provider.forms[0] | provider.forms[2]
    )
    assert provider.forms[2]["client_id"] == "raysift"


# ---- a provider that cannot be asked


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        ({"issuer": "https://evil.example"}, "calls itself 'https://evil.example'.*oidc.issuer"),
        ({"issuer": None}, "calls itself"),
        ({"jwks_uri": "http://id.example.org/keys"}, "jwks_uri"),
        ({"jwks_uri": "http://127.0.0.1/keys"}, "jwks_uri"),
        ({"token_endpoint": None}, "token_endpoint"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "authorization_endpoint"),
        ({"end_session_endpoint": "javascript:alert(1)"}, "end_session_endpoint"),
    ],
)
def test_a_description_that_is_not_the_issuers_or_not_secure_is_refused(provider, described, reason):
    provider.described = described
    with pytest.raises(ProviderDown, match=reason):
        sign_in(provider)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(302, headers={"Location": "https://evil.example/"}),
        httpx.Response(500),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=["keys"]),
        httpx.Response(200, content=b"{" + b" " * (1 << 21)),
    ],
    ids=["a redirect", "an error", "a page", "a list", "too much"],
)
@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys"])
def test_a_document_that_is_none_is_not_believed_and_redirects_are_not_followed(provider, path, answer):
    provider.faults[path] = answer
    with pytest.raises(ProviderDown):
        sign_in(provider)


def test_a_provider_that_does_not_answer_is_left_alone_for_ten_seconds(provider: ScriptedProvider):
    seconds = [0.0]
    client = Provider(settings(provider), provider.transport, lambda: seconds[0])
    provider.faults["/.well-known/openid-configuration"] = httpx.Response(503)
    for _ in range(5):
        with pytest.raises(ProviderDown):
            asyncio.run(client.addresses())
    assert len(provider.paths) == 1
    provider.faults.clear()
    seconds[0] += AGAIN_S
    assert asyncio.run(client.addresses()).token.endswith("/token")


def test_where_to_sign_out_is_known_if_the_provider_says_it(provider: ScriptedProvider):
    assert asyncio.run(sign_ins(provider).provider.sign_out_url()) is None
    provider.described["end_session_endpoint"] = "https://id.example.org/out?x=1"
    url = asyncio.run(sign_ins(provider).provider.sign_out_url())
    assert url == "https://id.example.org/out?x=1&client_id=raysift"
