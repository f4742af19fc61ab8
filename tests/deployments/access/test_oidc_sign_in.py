"""Signing in through an OpenID Connect provider: codes, the client's secret, and a provider that misbehaves."""

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from cluster.access.api_types import OidcCallback
from cluster.access.identity import Identity
from deployments.access import oidc_sign_in
from deployments.access.oidc_sign_in import OidcSignIn
from deployments.access.provider import AGAIN_S, Provider
from deployments.access.refusals import ProviderDown, TokenRefused, Unmapped
from tests.deployments.access.signing_in import began, settings, sign_in, sign_ins
from tests.support.servers.oidc import CALLBACK, ScriptedProvider


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


def test_somebody_signs_in_with_the_role_and_the_folders_of_a_group(provider: ScriptedProvider):
    provider.claims |= {"name": "Anna B", "email": "anna@example.org"}
    who = sign_in(provider)
    assert (who.name, who.role, who.prefixes) == ("Anna B <anna@example.org>", "viewer", ("s3://bucket/case-7",))
    assert who.subject == "https://id.example.org/realm u-1"


def test_the_browser_is_sent_with_a_state_a_nonce_and_a_challenge_that_are_new_each_time(provider: ScriptedProvider):
    signing = sign_ins(provider, scopes=("openid", "groups"))
    asked = [parse_qs(urlsplit(asyncio.run(signing.begin(CALLBACK)).url).query) for _ in range(2)]
    assert asked[0]["scope"] == ["openid groups"] and asked[0]["code_challenge_method"] == ["S256"]
    for name in ("state", "nonce", "code_challenge"):
        assert asked[0][name] != asked[1][name] and len(asked[0][name][0]) >= 43


def test_a_sign_in_that_was_begun_with_another_secret_of_the_head_is_refused(provider: ScriptedProvider):
    signing = sign_ins(provider)
    start = asyncio.run(signing.begin(CALLBACK))
    other = OidcSignIn(settings(provider), b"another secret", provider.transport)
    given = OidcCallback(flow=start.flow, redirect_uri=CALLBACK, **provider.sign_in(start.url))
    with pytest.raises(TokenRefused, match="not begun in this browser"):
        asyncio.run(other.finish(given))


@pytest.mark.parametrize("uri", ["https://evil.example/", f"{CALLBACK}/x", "javascript:1", f"https://a?{CALLBACK}"])
def test_the_provider_is_asked_to_send_browsers_to_the_app_only(provider: ScriptedProvider, uri: str):
    with pytest.raises(TokenRefused, match="redirect_uri"):
        asyncio.run(sign_ins(provider).begin(uri))


# ---- codes


def test_a_code_is_of_use_once_and_only_with_the_flow_that_asked_for_it(provider: ScriptedProvider):
    signing = sign_ins(provider)
    ours, theirs = began(signing, provider), began(signing, provider)
    for changed in (
        theirs.model_copy(update={"flow": ours.flow}),  # somebody else's code and state, in this browser
        ours.model_copy(update={"state": "0" * 64}),
        ours.model_copy(update={"state": "\udcff"}),
        ours.model_copy(update={"redirect_uri": CALLBACK.replace("127.0.0.1", "evil.example")}),
        ours.model_copy(update={"flow": f"9{ours.flow}"}),  # a later end
        ours.model_copy(update={"flow": "x"}),
    ):
        with pytest.raises(TokenRefused, match="not begun in this browser"):
            asyncio.run(signing.finish(changed))
    with pytest.raises(TokenRefused, match="invalid_grant"):  # somebody else's code with our state: PKCE refuses it
        asyncio.run(signing.finish(ours.model_copy(update={"code": theirs.code})))
    assert asyncio.run(signing.finish(ours)).role == "viewer"


def test_a_sign_in_succeeds_once_even_if_the_provider_takes_its_code_twice(provider: ScriptedProvider):
    provider.forgetful = True
    signing = sign_ins(provider)
    given = began(signing, provider)

    async def together() -> list[Any]:
        return await asyncio.gather(*[signing.finish(given) for _ in range(3)], return_exceptions=True)

    outcomes = asyncio.run(together())
    assert [type(outcome) for outcome in outcomes].count(Identity) == 1
    assert [type(outcome) for outcome in outcomes].count(TokenRefused) == 2
    with pytest.raises(TokenRefused, match="used before"):
        asyncio.run(signing.finish(given))


def test_a_sign_in_that_takes_too_long_is_refused(provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch):
    signing = sign_ins(provider)
    monkeypatch.setattr(oidc_sign_in, "FLOW_S", -1.0)
    with pytest.raises(TokenRefused, match="longer than ten minutes"):
        asyncio.run(signing.finish(began(signing, provider)))
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
