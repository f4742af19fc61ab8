"""Sessions of an OpenID Connect provider's people: with a real provider in a process, and the keys' owner."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from cluster.access import passwords, tokens
from cluster.access.api_types import OidcCallback, OidcStart
from cluster.access.audit import Audit
from cluster.access.credential import open_store
from cluster.access.oidc import Oidc
from cluster.settings import Settings
from deployments.access.service import UNMAPPED, Access, Verdict
from tests.support.local_api import LocalApi
from tests.support.servers.oidc import CALLBACK, provider_process, signed_in_as

ANNA = {"sub": "u-anna", "name": "ann", "email": "anna@example.org", "groups": ["staff", "leads"]}
EVE = {"sub": "u-eve", "name": "Eve", "groups": ["others"]}
ROLES = {"staff": {"role": "viewer"}, "leads": {"role": "reviewer", "under": ["s3://bucket/case-7"]}}


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with provider_process(ANNA, EVE) as issuer:
        yield issuer


@pytest.fixture
def settings(issuer: str, tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path, oidc=Oidc(issuer=issuer, client_id="raysift", client_secret="s", roles=ROLES))


def came_back(access: Access, subject: str) -> OidcCallback:
    """With what a browser comes back that has signed in at the provider."""
    start = asyncio.run(access.begin_oidc(CALLBACK))
    assert isinstance(start, OidcStart)
    return OidcCallback(flow=start.flow, redirect_uri=CALLBACK, **signed_in_as(subject, start.url))


def sign_in(access: Access, subject: str) -> Verdict:
    return asyncio.run(access.sign_in_oidc(came_back(access, subject), "10.0.0.7"))


def test_a_person_of_the_provider_gets_a_session_that_is_not_a_local_users_of_the_same_name(settings: Settings):
    access = Access(settings)
    verdict = sign_in(access, "u-anna")
    assert verdict.identity is not None and access.identify(verdict.token) == Verdict(verdict.identity)
    who, subject = verdict.identity, f"{settings.oidc.issuer} u-anna"
    assert who.owner == f"oidc:{subject}", "the same at each sign-in"
    assert (who.name, who.role, who.prefixes) == ("ann <anna@example.org>", "reviewer", ("s3://bucket/case-7",))
    open_store(settings).add_user("ann <anna@example.org>", passwords.hash_password("x" * 12), "admin")
    local = access.sign_in("ann <anna@example.org>", "x" * 12, "")
    access.record(who, "original viewed", "f" * 32)
    access.record(local.identity, "original viewed", "f" * 32)
    first, _, theirs, locals_ = Audit(settings.state_dir).records()
    assert (first["what"], first["of"], first["from"]) == ("signed in", f"oidc:{subject}", "10.0.0.7")
    assert first["who"] == theirs["who"] == locals_["who"]
    assert first["subject"] == theirs["subject"] == subject and "subject" not in locals_
    assert (theirs["role"], locals_["role"]) == ("reviewer", "admin")


def test_a_session_ends_by_signing_out_by_its_id_and_with_the_settings_that_allowed_it(settings: Settings):
    access = Access(settings)
    out, revoked, kept = (sign_in(access, "u-anna") for _ in range(3))
    access.sign_out(out.identity, "")
    assert access.revoke(kept.identity, revoked.identity.id, "")
    assert [bool(access.identify(each.token).identity) for each in (out, revoked, kept)] == [False, False, True]
    key = open_store(settings).add_key("ci", "viewer")
    assert Access(settings).identify(kept.token).identity, "a restart ends no session"
    fewer = settings.oidc.model_copy(update={"roles": {"staff": settings.oidc.roles["staff"]}})
    for changed in (fewer, None):
        again = sign_in(Access(settings), "u-anna")
        other = Access(settings.model_copy(update={"oidc": changed}))
        assert other.identify(again.token).identity is None
        assert other.identify(str(key)).identity


def test_somebody_without_a_mapped_group_is_refused_and_recorded_once_a_minute(settings: Settings):
    access = Access(settings)
    for _ in range(3):
        verdict = sign_in(access, "u-eve")
        assert (verdict.identity, verdict.status, verdict.reason) == (None, 403, UNMAPPED)
    (record,) = Audit(settings.state_dir).records()
    assert (record["what"], record["who"], record["reason"]) == ("sign-in failed", "Eve", UNMAPPED)
    assert record["subject"] == record["of"] == f"{settings.oidc.issuer} u-eve"


def test_a_used_code_is_refused_and_no_secret_is_logged_or_recorded(settings: Settings, caplog):
    access = Access(settings)
    given = came_back(access, "u-anna")
    assert asyncio.run(access.sign_in_oidc(given, "")).identity
    for changed in (given, given.model_copy(update={"state": "0" * 64})):
        verdict = asyncio.run(access.sign_in_oidc(changed, ""))
        assert (verdict.identity, verdict.status) == (None, 401) and "not begun in this browser" in verdict.reason
    failed = [record for record in Audit(settings.state_dir).records() if record["what"] == "sign-in failed"]
    assert [record["reason"] for record in failed] == [verdict.reason], "once a minute"
    written = caplog.text + Audit(settings.state_dir).path.read_text()
    assert given.code not in written and given.flow not in written and given.state not in written
    assert given.code not in repr(given) and given.flow not in repr(given)


def test_while_the_provider_is_away_nobody_signs_in_and_sessions_go_on(settings: Settings):
    session = sign_in(Access(settings), "u-anna").token
    away = settings.oidc.model_copy(update={"issuer": "http://127.0.0.1:9"})
    access = Access(settings.model_copy(update={"oidc": away}))
    verdict = asyncio.run(access.begin_oidc(CALLBACK))
    assert isinstance(verdict, Verdict) and verdict.status == 503 and "127.0.0.1:9" in verdict.reason
    provider = asyncio.run(access.oidc_provider())
    assert provider is not None and (provider.host, provider.sign_out_url) == ("127.0.0.1:9", None)
    assert Access(settings).identify(session).identity is None, "another issuer's settings have ended it"


def test_a_secret_that_cannot_be_read_is_not_the_users_fault(settings: Settings, tmp_path: Path, caplog):
    oidc = settings.oidc.model_copy(update={"client_secret": None, "client_secret_file": tmp_path / "missing"})
    verdict = sign_in(Access(settings.model_copy(update={"oidc": oidc})), "u-anna")
    assert verdict.status == 503 and "missing" not in verdict.reason
    assert "oidc.client_secret_file" in caplog.text


def test_the_provider_says_where_to_sign_out(settings: Settings):
    provider = asyncio.run(Access(settings).oidc_provider())
    assert provider is not None and provider.sign_out_url is not None
    assert httpx.get(provider.sign_out_url, trust_env=False).status_code == 200


def test_without_a_provider_the_api_says_so_and_passwords_still_work(running: LocalApi):
    running.store.add_user("local", passwords.hash_password("x" * 12), "viewer")
    oidc = {"code": "c", "state": "s", "flow": "f", "redirect_uri": CALLBACK}
    with TestClient(running.app) as client:
        assert client.get("/v1/oidc").status_code == 404
        for answer in (
            client.post("/v1/oidc", json={"redirect_uri": CALLBACK}),
            client.post("/v1/session", json={"oidc": oidc}),
        ):
            assert answer.status_code == 404 and "oidc" in answer.json()["detail"]
        assert client.post("/v1/session", json={"oidc": oidc, "token": "x"}).status_code == 422
        session = client.post("/v1/session", json={"name": "local", "password": "x" * 12}).json()["token"]
        assert tokens.parse(session)
