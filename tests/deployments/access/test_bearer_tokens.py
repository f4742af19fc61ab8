"""JWTs of an OpenID Connect provider that programs send instead of a key: which are taken, for whom, for how long."""

import asyncio
import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, RSAKey

from cluster.access.audit import Audit
from cluster.access.credential import open_store
from cluster.access.identity import Identity
from cluster.access.store import Refused
from cluster.settings import Settings
from deployments.access import bearer
from deployments.access.bearer import BearerTokens
from deployments.access.id_tokens import MOST_AGE_S
from deployments.access.provider import AGAIN_S, Provider
from deployments.access.refusals import ProviderDown, TokenRefused, Unmapped
from tests.deployments.access.signing_in import settings as oidc_settings
from tests.support.servers.oidc import ScriptedProvider, new_key

AUDIENCE = "https://raysift.example.org/api"
PROGRAM = {"aud": AUDIENCE, "azp": "a program of ours", "client_id": "a program of ours"}


class Place:
    """The bearer tokens of a scripted provider, with the files of keys and of the audit log."""

    def __init__(self, folder: Path, provider: ScriptedProvider) -> None:
        self.now = [0.0]
        self.settings = oidc_settings(provider, audiences=(AUDIENCE,))
        self.provider = Provider(self.settings, provider.transport, lambda: self.now[0])
        self.state = Settings(state_dir=folder)
        self.store, self.audit = open_store(self.state), Audit(folder)
        self.bearers = BearerTokens(self.settings, self.provider, self.store, self.audit)

    def identify(self, token: str) -> Identity:
        return asyncio.run(self.bearers.identify(token, "10.0.0.7"))[0]

    def refused(self, token: str, reason: str | None, kind: type[Exception] = TokenRefused) -> None:
        with pytest.raises(kind, match=reason):
            self.identify(token)


@pytest.fixture
def provider() -> ScriptedProvider:
    provider = ScriptedProvider()
    provider.claims |= PROGRAM
    return provider


@pytest.fixture
def place(tmp_path: Path, provider: ScriptedProvider) -> Place:
    return Place(tmp_path, provider)


def test_an_access_token_has_the_role_and_folders_of_its_groups_and_its_first_use_is_recorded(place, provider):
    provider.claims |= {"name": "nightly", "groups": ["others", "staff"]}
    provider.header["typ"] = "at+jwt"
    token = provider.id_token()
    who = place.identify(token)
    assert (who.name, who.role, who.prefixes) == ("nightly", "viewer", ("s3://bucket/case-7",))
    assert who.owner == f"oidc:{provider.issuer} u-1", "the same as of a sign-in: its limits are the person's"
    assert place.identify(token) == who
    (record,) = place.audit.records()
    assert (record["what"], record["by"], record["key"], record["from"]) == ("signed in", "JWT", who.id, "10.0.0.7")
    assert record["subject"] == f"{provider.issuer} u-1" and token.rpartition(".")[2] not in str(record)
    assert token.encode() not in (place.state.state_dir / "access.sqlite").read_bytes()
    provider.claims["jti"] = "another token"
    assert place.identify(provider.id_token()).id != who.id


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://id.example.org"}, "its iss"),
        ({"iss": None}, "its iss"),
        ({"aud": "raysift"}, "its aud"),  # an ID token of a sign-in: this audience is not one of the settings
        ({"aud": ["account", "another program"]}, "its aud"),
        ({"aud": None}, "its aud"),
        ({"exp": int(time.time()) - 61}, "expired"),
        ({"exp": None}, "its exp"),
        ({"exp": float("inf")}, "its exp"),
        ({"exp": "tomorrow"}, "its exp"),
        ({"nbf": int(time.time()) + 86_400}, "its nbf"),
        ({"iat": int(time.time()) + 86_400}, "its iat"),
        ({"iat": None}, "its iat"),
        ({"iat": int(time.time()) - MOST_AGE_S - 61, "exp": int(time.time()) + 86_400}, "expired"),
        ({"sub": None}, "its sub"),
        ({"sub": "a\nb"}, "sub"),
    ],
)
def test_a_token_with_a_wrong_claim_is_refused(place, provider, claims: dict[str, Any], reason: str):
    provider.claims |= claims
    place.refused(provider.id_token(), reason)
    assert not list(place.audit.records())


def test_clocks_may_differ_by_a_minute_and_one_of_several_audiences_is_enough(place, provider):
    now = int(time.time())
    provider.claims |= {"iat": now + 50, "nbf": now + 50, "exp": now - 50, "aud": ["account", AUDIENCE]}
    assert place.identify(provider.id_token()).role == "viewer"


@pytest.mark.parametrize("kind", ["logout+jwt", "secevent+jwt"])
def test_a_token_for_another_use_is_refused(place, provider, kind):
    provider.header["typ"] = kind
    place.refused(provider.id_token(), "neither an access token nor an ID token")


# ---- signatures


def forged(provider: ScriptedProvider, algorithm: str, secret: bytes | None) -> str:
    """A token with the provider's claims, signed with a shared secret, or not at all."""
    payload = provider.id_token().split(".")[1]
    header = json.dumps({"alg": algorithm, "kid": provider.key.kid}).encode()
    signed = f"{urlsafe_b64encode(header).decode().rstrip('=')}.{payload}"
    digest = b"" if secret is None else hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{urlsafe_b64encode(digest).decode().rstrip('=')}"


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_token_that_is_unsigned_or_signed_with_the_public_key_as_a_secret_is_refused(place, provider):
    place.refused(forged(provider, "none", None), "UnsupportedAlgorithm")
    place.refused(forged(provider, "None", b"x"), "UnsupportedAlgorithm")
    for secret in (provider.key.as_pem(private=False), provider.key.as_der(private=False)):
        place.refused(forged(provider, "HS256", secret), "UnsupportedAlgorithm")
    provider.described["id_token_signing_alg_values_supported"] = ["HS256", "none", "RS256"]
    place.now[0] += 4000.0  # the description is read again
    place.refused(forged(provider, "HS256", provider.key.as_pem(private=False)), "UnsupportedAlgorithm")
    assert place.identify(provider.id_token()).role == "viewer"


def test_only_the_asymmetric_algorithms_of_the_providers_description_are_taken(place, provider):
    provider.key = ECKey.generate_key("P-384", {"kid": "ec"})
    provider.published = [provider.key]
    provider.header["alg"] = "ES384"
    place.refused(provider.id_token(), "UnsupportedAlgorithm")
    provider.described["id_token_signing_alg_values_supported"] = ["ES384"]
    place.now[0] += 4000.0
    assert place.identify(provider.id_token()).role == "viewer"
    provider.described["id_token_signing_alg_values_supported"] = ["HS256", "none"]
    place.now[0] += 4000.0
    place.refused(provider.id_token(), "signs with none of RS256", ProviderDown)


def test_a_signature_of_another_key_and_changed_claims_are_refused(place, provider):
    head, _, signature = provider.id_token().split(".")
    provider.claims["groups"] = ["staff", "admins"]
    place.refused(f"{head}.{provider.id_token().split('.')[1]}.{signature}", "BadSignature")
    provider.key = RSAKey.generate_key(2048, {"kid": provider.key.kid})
    place.refused(provider.id_token(), "BadSignature")


def test_a_rotated_key_is_found_and_unknown_keys_have_the_provider_asked_every_ten_seconds(place, provider):
    assert place.identify(provider.id_token()).role == "viewer"
    provider.key = new_key("second")
    provider.published.append(provider.key)
    place.now[0] += AGAIN_S + 1
    assert place.identify(provider.id_token()).role == "viewer"
    for number in range(20):
        provider.key = new_key(f"unknown {number % 2}")
        place.refused(provider.id_token(), "does not publish")
    assert provider.paths.count("/keys") == 2


def test_known_keys_are_used_while_the_provider_hangs_and_a_hanging_provider_is_given_up(place, provider, monkeypatch):
    monkeypatch.setattr(bearer, "WITHIN_S", 0.2)
    valid = provider.id_token()
    provider.key = new_key("stranger")
    stranger = provider.id_token()

    async def hang(request: httpx.Request) -> httpx.Response:
        provider.paths.append("hanging")
        await asyncio.sleep(60)
        raise AssertionError

    async def story() -> None:
        await place.bearers.identify(valid, "")
        place.provider._transport = httpx.MockTransport(hang)
        place.now[0] += AGAIN_S + 1
        waiting = asyncio.ensure_future(place.bearers.identify(stranger, ""))
        while "hanging" not in provider.paths:
            await asyncio.sleep(0)
        assert (await asyncio.wait_for(place.bearers.identify(valid, ""), 0.1))[0].role == "viewer"
        for asked in (waiting, place.bearers.identify(stranger, "")):
            with pytest.raises(ProviderDown):
                await asked
        assert provider.paths.count("hanging") == 1, "also after it was given up it is not asked again at once"

    asyncio.run(story())


# ---- what it may do, and until when


def test_somebody_without_a_mapped_group_is_refused(place, provider):
    for groups in (["others"], [], None, "staf"):
        provider.claims["groups"] = groups
        place.refused(provider.id_token(), None, Unmapped)


def test_a_token_that_was_revoked_or_signed_out_stays_refused_also_after_the_settings_changed(place, provider):
    token = provider.id_token()
    who = place.identify(token)
    assert place.store.end_session(who.id)
    place.refused(token, "revoked", Refused)
    place.store.end_oidc_sessions(but_of="other settings")
    place.refused(token, "revoked", Refused)


def test_a_token_ends_with_its_time_for_signed_addresses_too(place, provider):
    now = time.time()
    provider.claims |= {"iat": now - MOST_AGE_S + 100, "exp": now + 86_400}
    who, ends_at = asyncio.run(place.bearers.identify(provider.id_token(), ""))
    assert ends_at == pytest.approx(now + 160)
    assert place.store.identity(who.id).role == "viewer"
    with place.store._write() as db:
        db.execute("update tokens set expires_at = ? where id = ?", [now - 1, who.id])
    with pytest.raises(Refused, match="expired"):
        place.store.identity(who.id)
