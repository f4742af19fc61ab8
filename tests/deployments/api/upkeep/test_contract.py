"""The fake API and the real one answer the same about the cluster, models, settings, users and keys."""

import time

import pytest
from starlette.testclient import TestClient

from cluster.access.api_types import KeyInfo, MadeKey, Revoked, UserInfo
from cluster.upkeep.api_types import ClusterState, ModelState, SettingState
from tests.support.local_api import LocalApi, read


@pytest.fixture
def unlimited(api: TestClient, running: LocalApi, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """Either of the two, asked by an admin of all files."""
    monkeypatch.setitem(api.headers, "Authorization", running.headers["Authorization"])
    return api


def test_the_state_of_the_cluster_has_the_same_shape(unlimited: TestClient):
    began = time.monotonic()
    state = read(ClusterState, unlimited.get("/v1/cluster"))
    assert time.monotonic() - began < 1 and state.dashboard_url.startswith("http://127.0.0.1:")


def test_without_ray_the_metrics_are_named_as_not_read(running: LocalApi):
    with TestClient(running.app, headers=running.headers) as client:
        state = read(ClusterState, client.get("/v1/cluster"))
    assert (state.unread, state.nodes, state.jobs) == (("metrics",), (), None)


def test_the_settings_have_the_same_keys(fake: TestClient, unlimited: TestClient):
    expected = read(list[SettingState], fake.get("/v1/settings"))
    shown = read(list[SettingState], unlimited.get("/v1/settings"))
    assert [setting.key for setting in shown] == [setting.key for setting in expected]
    assert "scanning.roots" in {setting.key for setting in shown}


def test_models_have_the_same_shape(unlimited: TestClient):
    read(list[ModelState], unlimited.get("/v1/models"))


def test_users_are_listed_without_their_passwords(unlimited: TestClient, running: LocalApi):
    running.store.add_user("vera", "a hash", "viewer", ("s3://evidence/case-7",))
    response = unlimited.get("/v1/users")
    vera = next(user for user in read(list[UserInfo], response) if user.name == "vera")
    assert (vera.role, vera.prefixes, vera.used_at) == ("viewer", ("s3://evidence/case-7",), None)
    assert "a hash" not in response.text


def test_a_key_is_made_listed_and_revoked_once(unlimited: TestClient):
    wanted = {"name": "a tool", "role": "reviewer", "prefixes": ["s3://evidence"], "days": 2}
    made = read(MadeKey, unlimited.post("/v1/keys", json=wanted))
    listed = unlimited.get("/v1/keys")
    key = next(key for key in read(list[KeyInfo], listed) if key.id == made.id)
    assert (key.name, key.role, key.prefixes, key.revoked_at) == ("a tool", "reviewer", ("s3://evidence",), None)
    assert key.expires_at and made.key not in listed.text
    assert read(Revoked, unlimited.delete(f"/v1/keys/{made.id}")).id == made.id
    assert unlimited.delete(f"/v1/keys/{made.id}").status_code == 404
    assert unlimited.post("/v1/keys", json={"name": "", "role": "viewer"}).status_code == 422
