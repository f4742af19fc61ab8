"""Keys, sessions, links and users: what is stored, and when each stops being valid."""

import sqlite3
import stat
import subprocess
import sys
import threading
import time

import pytest

from cluster.access import credential, passwords, tokens
from cluster.access.identity import ROLES, Identity
from cluster.access.store import LINK_S, SESSION_S, USED_EVERY_S, AccessStore, Refused
from cluster.errors import SettingsError
from cluster.settings import Settings, load


@pytest.fixture
def store(tmp_path):
    store = AccessStore(tmp_path / "access.sqlite")
    yield store
    store.close()


@pytest.fixture
def clock(monkeypatch):
    """The time that the store sees: `clock[0]` seconds."""
    now = [1_800_000_000.0]
    monkeypatch.setattr("cluster.access.store.time.time", lambda: now[0])
    return now


def test_a_role_may_do_what_those_before_it_may():
    for n, role in enumerate(ROLES):
        assert [Identity("x", role).may(other) for other in ROLES] == [m <= n for m in range(len(ROLES))]


@pytest.mark.parametrize(
    ("uri", "parent", "sees"),
    [
        ("s3://b/case-1/a.jpg", None, True),
        ("s3://b/case-1", None, True),
        ("s3://b/case-10/a.jpg", None, False),
        ("s3://b/case-1!secret.jpg", None, False),  # a file's own name, beside the folder
        ("s3://b/x.zip!in/a.jpg", "s3://b/x.zip", True),
        ("s3://b/x.zip.jpg", None, False),
        ("s3://b/case-1/y.zip!a.jpg", "s3://b/case-1/y.zip", True),
    ],
)
def test_a_prefix_is_a_folder_or_an_archive_and_no_beginning_of_a_name(uri, parent, sees):
    assert Identity("x", "viewer", ("s3://b/case-1", "s3://b/x.zip")).sees(uri, parent) is sees
    assert Identity("x", "viewer").sees(uri, parent)
    assert not Identity("x", "viewer", ()).sees(uri, parent)


def test_a_key_is_found_by_its_token_and_stored_without_its_secret(store, tmp_path):
    token = store.add_key("CI", "operator", ("s3://b/case-1",))
    assert store.identify(token) == Identity("CI", "operator", ("s3://b/case-1",), token.id)
    assert tokens.parse(str(token)) == token
    store.close()
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert token.id.encode() in stored and token.secret.encode() not in stored
    assert token.secret not in repr(token)


def test_the_file_is_its_owners_alone(store, tmp_path):
    store.add_key("a", "admin")
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


@pytest.mark.parametrize("text", ["", "rs_", "rs_abc_def", f"rs_{'0' * 12}_{'x' * 42}", f"rs_{'g' * 12}_{'x' * 43}"])
def test_what_has_not_the_form_of_a_token_is_none(text):
    assert tokens.parse(text) is None


def test_a_wrong_secret_an_unknown_id_and_a_link_identify_nobody(store):
    token = store.add_key("a", "admin")
    for wrong in (tokens.Token(token.id, tokens.new().secret), tokens.new(), store.add_link(token.id)):
        with pytest.raises(Refused, match="not known"):
            store.identify(wrong)


def test_a_key_expires_and_is_revoked(store, clock):
    soon, late = (store.add_key(name, "viewer", expires_at=clock[0] + s) for name, s in (("soon", 10), ("late", 99)))
    clock[0] += 11
    with pytest.raises(Refused, match="this key has expired"):
        store.identify(soon)
    assert store.identify(late).name == "late"
    assert store.revoke(late.id) and not store.revoke(late.id)
    with pytest.raises(Refused, match="this key was revoked"):
        store.identify(late)
    assert [(key.name, key.revoked_at) for key in store.list_keys()] == [("soon", None), ("late", clock[0])]


def test_the_last_use_of_a_key_is_written_once_a_minute(store, clock):
    token, began = store.add_key("a", "viewer"), clock[0]
    for _ in range(3):
        store.identify(token)
        clock[0] += USED_EVERY_S / 2
    (key,) = store.list_keys()
    assert key.used_at == began
    clock[0] += 1
    store.identify(token)
    assert store.list_keys()[0].used_at == clock[0]


def test_a_session_ends_with_its_time_its_revocation_and_its_key(store, clock):
    key = store.add_key("a", "reviewer")
    sessions = [store.start_session(f"key:{key.id}") for _ in range(2)]
    assert store.identify(sessions[0]).role == "reviewer"
    store.revoke(sessions[0].id)
    with pytest.raises(Refused, match="this session was revoked"):
        store.identify(sessions[0])
    assert store.identify(sessions[1]).name == "a"
    store.revoke(key.id)
    with pytest.raises(Refused, match="revoked"):
        store.identify(sessions[1])
    other = store.start_session(f"key:{store.add_key('b', 'viewer').id}")
    clock[0] += SESSION_S + 1
    with pytest.raises(Refused, match="this session has expired"):
        store.identify(other)


def test_a_link_is_valid_once_and_for_minutes(store, clock):
    key = store.add_key("a", "admin")
    link = store.add_link(key.id)
    session = store.redeem(link)
    assert store.identify(session).role == "admin"
    with pytest.raises(Refused, match="not known"):
        store.redeem(link)
    late = store.add_link(key.id)
    clock[0] += LINK_S + 1
    with pytest.raises(Refused, match="expired"):
        store.redeem(late)
    with pytest.raises(Refused):
        store.redeem(key)


def test_of_two_that_redeem_a_link_at_once_one_gets_a_session(store, tmp_path):
    link = store.add_link(store.add_key("a", "admin").id)
    stores = [AccessStore(tmp_path / "access.sqlite") for _ in range(4)]
    got = []

    def redeem(store):
        try:
            got.append(store.redeem(link))
        except Refused:
            got.append(None)

    threads = [threading.Thread(target=redeem, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(session is not None for session in got) == [False, False, False, True]


def test_a_users_sessions_follow_the_users_present_rights(store):
    store.add_user("ann", "hash", "reviewer")
    session = store.start_session("user:ann")
    assert store.identify(session) == Identity("ann", "reviewer", None, session.id, holder="user:ann")
    store.add_user("ann", "another", "viewer", ("s3://b",))  # another password ends the sessions
    with pytest.raises(Refused):
        store.identify(session)
    session = store.start_session("user:ann")
    assert store.identify(session).prefixes == ("s3://b",)
    assert store.remove_user("ann") and not store.remove_user("ann")
    with pytest.raises(Refused):
        store.identify(session)
    with pytest.raises(Refused, match="removed"):
        store.start_session("user:ann")


def test_the_sessions_of_a_user_or_a_key_belong_to_one_owner(store):
    store.add_user("ann", "hash", "reviewer")
    key, other = store.add_key("ci", "viewer"), store.add_key("ci", "viewer")
    link = store.redeem(store.add_link(key.id))
    sessions = [store.start_session("user:ann"), store.start_session("user:ann"), store.start_session(f"key:{key.id}")]
    owners = [store.identify(token).owner for token in (*sessions, link, key, other)]
    assert owners == ["user:ann"] * 2 + [f"key:{key.id}"] * 3 + [f"key:{other.id}"]


def test_passwords_are_checked_by_their_hash():
    stored = passwords.hash_password("correct horse battery")
    assert stored.startswith("$argon2id$") and "horse" not in stored
    assert passwords.matches("correct horse battery", stored)
    assert not passwords.matches("correct horse batterx", stored)
    assert not passwords.matches("anything", None)


def test_another_process_adds_keys_meanwhile(store, tmp_path):
    program = (
        "import sys; from pathlib import Path; from cluster.access.store import AccessStore; "
        "s = AccessStore(Path(sys.argv[1])); [s.add_key(f'p{n}', 'viewer') for n in range(20)]"
    )
    other = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "access.sqlite")])
    for n in range(20):
        store.add_key(f"k{n}", "viewer")
    assert other.wait(30) == 0
    assert len(store.list_keys()) == 40


def test_a_broken_file_is_an_error_with_advice(tmp_path):
    (tmp_path / "access.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(SettingsError, match="Move it away"):
        AccessStore(tmp_path / "access.sqlite")


def test_signatures_hold_for_one_viewer_path_and_time(tmp_path):
    secret = tokens.signing_secret(tmp_path)
    assert tokens.signing_secret(tmp_path) == secret and len(secret) == 64
    assert stat.S_IMODE((tmp_path / "signing_secret").stat().st_mode) == 0o600
    signature = tokens.sign(secret, "ab", "/v1/assets/1/media", 100)
    assert tokens.signed(secret, "ab", "/v1/assets/1/media", 100, signature)
    for other in (
        ("ac", "/v1/assets/1/media", 100),
        ("ab", "/v1/assets/2/media", 100),
        ("ab", "/v1/assets/1/media", 101),
    ):
        assert not tokens.signed(secret, *other, signature)
    assert not tokens.signed(b"other", "ab", "/v1/assets/1/media", 100, signature)


def test_the_machines_own_key_is_made_once_and_found_again(tmp_path, monkeypatch):
    monkeypatch.delenv("RAYSIFT_KEY", raising=False)
    settings = Settings(state_dir=tmp_path)
    assert credential.own_key(settings) is None
    store = credential.open_store(settings)
    token = credential.ensure_operator_key(settings, store)
    assert credential.own_key(settings) == str(token)
    assert stat.S_IMODE(credential.operator_file(settings).stat().st_mode) == 0o600
    assert credential.ensure_operator_key(settings, store) == token
    assert store.identify(token).role == "admin"
    (tmp_path / "access.sqlite").rename(tmp_path / "lost")  # as after a restart on Kubernetes, with a mounted key
    assert credential.open_store(settings).list_keys() == []
    anew = credential.open_store(settings)
    assert anew.identify(credential.ensure_operator_key(settings, anew)).role == "admin"
    anew.revoke(token.id)
    assert credential.ensure_operator_key(settings, anew) != token


def test_a_mounted_key_is_stored_and_never_replaced(tmp_path, monkeypatch, store):
    monkeypatch.delenv("RAYSIFT_KEY", raising=False)
    mounted = tokens.new()
    (tmp_path / "secret").write_text(f"{mounted}\n")
    monkeypatch.setenv("RAYSIFT_KEY_FILE", str(tmp_path / "secret"))
    settings = load()
    assert credential.own_key(settings) == str(mounted)
    assert credential.ensure_operator_key(settings, store) == mounted == credential.ensure_operator_key(settings, store)
    assert store.identify(mounted).role == "admin"
    store.revoke(mounted.id)
    with pytest.raises(SettingsError, match="was revoked"):
        credential.ensure_operator_key(settings, store)
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(SettingsError, match="holds no key"):
        credential.ensure_operator_key(settings, store)


def test_the_key_of_the_environment_comes_first(tmp_path, monkeypatch):
    settings = Settings(state_dir=tmp_path)
    key = str(tokens.new())
    monkeypatch.setenv("RAYSIFT_KEY", f" {key}\n")
    assert credential.own_key(settings) == key
    monkeypatch.setenv("RAYSIFT_KEY", "secret")
    with pytest.raises(SettingsError, match="RAYSIFT_KEY is no key"):
        credential.own_key(settings)


def test_no_column_holds_the_time_of_each_request(store):
    """Use is coarse: who looked when is in the audit log, not here."""
    token = store.add_key("a", "viewer")
    for _ in range(100):
        store.identify(token)
    assert isinstance(store._db, sqlite3.Connection) and store._db.total_changes <= 4
    assert time.time() - (store.list_keys()[0].used_at or 0) < 60
