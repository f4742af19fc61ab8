"""The settings of an OpenID Connect provider, and what its people may do."""

import pickle

import pytest
from pydantic import SecretStr

from cluster.access.oidc import GroupRole, Oidc, display_name
from cluster.errors import SettingsError
from cluster.settings import load

ROLES = {
    "staff": {"role": "viewer"},
    "case-7": {"role": "reviewer", "under": ["s3://bucket/case-7/"]},
    "case-8": {"role": "reviewer", "under": ["s3://bucket/case-8"]},
    "leads": {"role": "reviewer"},
    "anna@example.org": {"role": "admin"},
}


def oidc(**more) -> Oidc:
    return Oidc(**{"issuer": "https://id.example.org", "client_id": "raysift", "roles": ROLES} | more)


@pytest.mark.parametrize(
    ("groups", "role", "under"),
    [
        (["staff", "others"], "viewer", None),
        ("staff", "viewer", None),
        (["case-7"], "reviewer", ("s3://bucket/case-7",)),
        (["case-8", "case-7"], "reviewer", ("s3://bucket/case-7", "s3://bucket/case-8")),
        (["staff", "case-7"], "reviewer", ("s3://bucket/case-7",)),  # not a reviewer of what staff may see
        (["case-7", "leads"], "reviewer", None),
    ],
)
def test_the_highest_role_counts_with_the_folders_of_the_groups_that_have_it(groups, role, under):
    assert oidc().rights({"groups": groups}) == GroupRole(role=role, under=under)


@pytest.mark.parametrize("groups", [[], ["Staff", "staff "], None, "", {"staff": True}, [["staff"], 1], "sta"])
def test_a_group_without_a_role_gives_none(groups):
    assert oidc().rights({"groups": groups, "roles": ["staff"]}) is None
    assert oidc().rights({}) is None


def test_an_email_address_gives_a_role_only_if_the_provider_has_verified_it():
    settings, claims = oidc(groups_claim="email"), {"email": "anna@example.org"}
    assert settings.rights(claims) is None
    assert settings.rights(claims | {"email_verified": "true"}) is None
    assert settings.rights(claims | {"email_verified": True}) == GroupRole(role="admin")


@pytest.mark.parametrize(
    ("claims", "shown"),
    [
        ({"name": "Anna B", "email": "a@b.org", "sub": "1"}, "Anna B <a@b.org>"),
        ({"name": "Anna B", "email": "a@b.org", "email_verified": False, "sub": "1"}, "Anna B"),
        ({"preferred_username": "anna", "sub": "1"}, "anna"),
        ({"email": "a@b.org", "sub": "1"}, "a@b.org"),
        ({"name": ["x"], "sub": "1"}, "1"),
        ({"name": "a\x1b[31m\nb\u202e" + "c" * 200, "sub": "1"}, "a[31mb" + "c" * 94),
    ],
)
def test_a_name_is_one_short_line(claims, shown):
    assert display_name(claims) == shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "http://id.example.org"},
        {"issuer": "id.example.org"},
        {"issuer": "https://id.example.org?x=1"},
        {"issuer": "ftp://127.0.0.1"},
        {"issuer": "http://127.0.0.1.example.org"},
        {"scopes": ["profile"]},
        {"roles": {}},
        {"roles": {"staff": {"role": "owner"}}},
        {"roles": {"staff": {"role": "viewer", "under": []}}},
        {"client_id": ""},
        {"client_secret": "a", "client_secret_file": "/b"},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError):
        oidc(**wrong)


def test_http_is_taken_on_this_machine():
    assert oidc(issuer="http://127.0.0.1:9000").host == "127.0.0.1:9000"


def test_the_secret_is_in_no_text_of_the_settings_and_survives_the_way_to_another_process(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.yaml").write_text(
        "oidc: {issuer: 'https://id.example.org', client_id: raysift, roles: {staff: {role: viewer}}}"
    )
    monkeypatch.setenv("RAYSIFT_OIDC__CLIENT_SECRET", "very secret")
    settings = load()
    assert settings.oidc is not None and settings.oidc.client_secret == SecretStr("very secret")
    assert pickle.loads(pickle.dumps(settings)).oidc.secret() == "very secret"
    assert "very secret" not in f"{settings!r} {settings} {settings.model_dump_json()}"
    (tmp_path / "settings.yaml").write_text("oidc: {issuer: 'http://x', client_id: raysift, roles: {}}")
    with pytest.raises(SettingsError, match=r"oidc\.issuer.*https") as raised:
        load()
    assert "very secret" not in str(raised.value)


def test_the_secret_is_read_from_its_file_at_each_use(tmp_path):
    path = tmp_path / "secret"
    settings = oidc(client_secret_file=path)
    with pytest.raises(SettingsError, match=r"client_secret_file.*cannot be read"):
        settings.secret()
    path.write_text("one\n")
    assert settings.secret() == "one"
    path.write_text("two")
    assert settings.secret() == "two"
    assert oidc().secret() is None


def test_the_digest_changes_with_who_may_sign_in_and_not_with_the_secret():
    assert oidc().digest == oidc(client_secret="a").digest
    staff = {"roles": {"staff": {"role": "admin"}}}
    for more in ({"client_id": "b"}, {"groups_claim": "roles"}, {"audiences": ("api",)}, staff):
        assert oidc(**more).digest != oidc().digest
