"""`raysift keys`, `users` and `audit`, and the key and the link that `raysift up` prints."""

import json
import re

import pytest
from typer.testing import CliRunner

import raysift
from cluster.access import passwords, tokens
from cluster.access.credential import open_store, operator_file
from cluster.access.store import Refused
from cluster.errors import SettingsError
from cluster.settings import load
from commands.access import keys
from commands.terminal import authorization

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """An empty state folder, and no key in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAYSIFT_KEY", raising=False)
    monkeypatch.delenv("RAYSIFT_KEY_FILE", raising=False)
    monkeypatch.setenv("RAYSIFT_STATE_DIR", str(tmp_path / "state"))


def run(*arguments, input=None):
    return CliRunner().invoke(raysift.cli, list(arguments), input=input)


def recorded():
    return [json.loads(line) for line in run("audit", "export").stdout.splitlines()]


def test_a_key_is_printed_once_listed_and_revoked():
    done = run("keys", "add", "CI [red]", "--role", "operator", "--under", "s3://b/case-7/", "--days", "9")
    token = tokens.parse(done.stdout)
    store = open_store(load())
    assert token and store.identify(token).prefixes == ("s3://b/case-7",) and store.identify(token).role == "operator"
    listed = run("keys", "list").stdout
    assert token.id in listed and "CI [red]" in listed and "operator" in listed and token.secret not in listed
    assert run("keys", "revoke", token.id).exit_code == 0
    with pytest.raises(Refused):
        store.identify(token)
    assert "revoked" in run("keys", "list").stdout
    assert "there is no valid key" in str(run("keys", "revoke", token.id).exception)
    assert [(record["what"], record["of"]) for record in recorded()] == [
        ("key made", token.id),
        ("key revoked", token.id),
    ]


def test_a_users_password_comes_from_standard_input_and_is_only_kept_as_a_hash(tmp_path):
    done = run("users", "add", "ann", "--role", "reviewer", input=f"{PASSWORD}\n")
    assert done.exit_code == 0 and PASSWORD not in done.output
    assert passwords.matches(PASSWORD, open_store(load()).password_of("ann"))
    assert "ann" in run("users", "list").stdout and "reviewer" in run("users", "list").stdout
    for file in (tmp_path / "state").iterdir():
        assert PASSWORD.encode() not in file.read_bytes()
    assert run("users", "remove", "ann").exit_code == 0
    assert isinstance(run("users", "remove", "ann").exception, SettingsError)


def test_a_short_password_is_refused():
    done = run("users", "add", "ann", input="short\n")
    assert isinstance(done.exception, SettingsError) and "at least 12 characters" in str(done.exception)
    assert open_store(load()).users() == []


@pytest.mark.parametrize(
    "command", [("keys", "add", "x", "--role", "king"), ("users", "add", "x", "--under", "file:///%00")]
)
def test_an_unknown_role_or_place_is_refused(command):
    done = run(*command, input=f"{PASSWORD}\n")
    assert done.exit_code != 0 and open_store(load()).list_keys() == [] == open_store(load()).users()


def test_a_changed_log_is_reported_with_its_line(tmp_path):
    for name in "abc":
        run("keys", "add", name)
    assert "3 lines are as they were written" in run("audit", "verify").output
    log = tmp_path / "state" / "audit.jsonl"
    log.write_text(log.read_text().replace('"name": "b"', '"name": "x"'))
    assert "line 2 was changed" in str(run("audit", "verify").exception)
    assert run("audit", "export", "--to", "copy.jsonl").exit_code == 0
    assert (tmp_path / "copy.jsonl").read_bytes() == log.read_bytes()


def test_the_first_start_makes_an_admin_key_and_later_ones_do_not():
    settings = load()
    key = keys.first_key(settings)
    assert key and open_store(settings).identify(tokens.parse(key)).role == "admin"
    assert keys.first_key(settings) is None


def test_the_link_signs_in_once_as_the_operator_of_the_machine():
    settings = load()
    for link in (keys.sign_in_link(settings), run("keys", "link").stdout.strip()):
        (token,) = re.fullmatch(r"http://127\.0\.0\.1:8501/sign-in\?link=(rs_\S+)", link).groups()
        store = open_store(settings)
        assert store.identify(store.redeem(tokens.parse(token))).role == "admin"
        with pytest.raises(Refused):
            store.redeem(tokens.parse(token))


def test_commands_send_the_key_of_the_environment_else_that_of_the_machine(monkeypatch):
    settings = load()
    assert authorization(settings) == {}
    keys.first_key(settings)
    assert authorization(settings) == {"Authorization": f"Bearer {operator_file(settings).read_text()}"}
    mine = str(tokens.new())
    monkeypatch.setenv("RAYSIFT_KEY", mine)
    assert authorization(load()) == {"Authorization": f"Bearer {mine}"}


def test_keys_are_not_made_where_the_cluster_is_not(monkeypatch, tmp_path):
    monkeypatch.setenv("RAYSIFT_KEY", str(tokens.new()))  # of a cluster elsewhere
    for command in (("keys", "add", "x"), ("users", "list"), ("keys", "link")):
        assert "on the cluster's head" in str(run(*command).exception), command
    assert not (tmp_path / "state").exists()
