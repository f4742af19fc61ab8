"""The Settings page: users, keys, settings and models, for admins; a key is shown once."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from app.client import ApiError
from app.upkeep.configured import MEANINGS
from cluster.access import tokens
from deployments.api.upkeep.shown_settings import SHOWN
from tests.app.upkeep.test_cluster_page import tables
from tests.support.fakes.api import FakeApi
from tests.support.pages import Visit, served, words


@pytest.fixture
def at(api: FakeApi, visit: Visit) -> AppTest:
    return visit("settings", port=api.port)  # type: ignore[attr-defined]


def test_users_and_keys_are_shown_with_role_folders_and_last_use(at: AppTest):
    text = tables(at)
    assert "|bob &lt;b&gt;|reviewer|all files|2026-11-18 11:06|2026-11-19 11:06|" in text
    assert "|vera|viewer|s3://evidence/case-7|2026-11-18 11:06|-|" in text
    assert "|nightly scan|aaaaaaaaaaaa|operator|all files|valid|2026-11-18 11:06|" in text
    assert "|lost|cccccccccccc|admin|all files|revoked|2026-11-18 11:06|never|" in text
    assert text.index("nightly scan") < text.index("old tool"), "valid keys come first"


def test_settings_are_shown_with_where_to_change_them(at: AppTest):
    text = tables(at)
    assert re.search(
        r"\|scanning.roots\|folders and buckets[^|]+\|s3://evidence\|file:///data/media\|scanning.roots\|"
        r"in settings.yaml, or \|RAYSIFT_SCANNING__ROOTS\|",
        text,
    )
    assert "|decoding.max_bytes|larger files are refused|20.0 GB|" in text
    assert "|models.offline|whether no model hub is used|no|" in text


def test_every_setting_that_is_shown_has_its_meaning():
    assert set(MEANINGS) == set(SHOWN)


def test_models_are_shown_with_source_and_what_is_missing(at: AppTest):
    text = tables(at)
    assert re.search(r"\|face\|[^|]+\|embedded\|\w+\|face weights\|Apache-2.0, 1.0\|package\|183.2 MB\|yes\|", text)
    assert "|hub|-|no|" in text and "raysift models pull" in "".join(w.value for w in at.warning).replace("&#96;", "`")


def test_a_key_is_made_and_shown_once(api: FakeApi, at: AppTest):
    at.text_input[0].set_value("a tool <b>")
    at.selectbox[0].set_value("reviewer")
    at.text_area[0].set_value("s3://evidence/case-7\n\n")
    at.number_input[0].set_value(30)
    at.button(key="make key").click().run()
    assert not at.exception
    (shown,) = (code.value for code in at.code)
    assert tokens.parse(shown) is not None
    made = api.upkeep.keys[-1]
    assert (made.name, made.role, made.prefixes) == ("a tool <b>", "reviewer", ("s3://evidence/case-7",))
    assert "a tool &lt;b&gt;" in tables(at) and made.expires_at
    assert not at.run().code and shown not in str(at.session_state)


def test_a_key_without_a_name_is_not_made(api: FakeApi, at: AppTest):
    before = len(api.upkeep.keys)
    at.button(key="make key").click().run()
    assert "Say who or what uses the key" in words(at) and len(api.upkeep.keys) == before


def test_a_key_is_revoked_once_that_is_confirmed(api: FakeApi, at: AppTest):
    choice = at.selectbox(key="key to revoke")
    assert choice.options == ["nightly scan · operator · aaaaaaaaaaaa"]
    at = choice.set_value("a" * 12).run()
    assert api.upkeep.keys[0].revoked_at is None
    at.button(key="yes revoke").click().run()
    assert not at.exception and api.upkeep.keys[0].revoked_at is not None
    assert "Revoked: nightly scan" in at.toast[0].value.replace("&#58;", ":")


def test_a_key_that_was_revoked_meanwhile_is_said(at: AppTest, monkeypatch: pytest.MonkeyPatch):
    at = at.selectbox(key="key to revoke").set_value("a" * 12).run()

    def refuse(*_: object) -> None:
        raise ApiError(404, "there is no valid key")

    monkeypatch.setattr("app.upkeep.calls.revoke_key", refuse)
    at.button(key="yes revoke").click().run()
    assert "there is no valid key" in at.toast[0].value


def test_a_part_that_fails_leaves_the_others(visit: Visit, api: FakeApi):
    api.upkeep.models_down = True
    at = visit("settings", port=api.port)  # type: ignore[attr-defined]
    assert "the places of the weights do not answer" in words(at).replace("&#58;", ":")
    assert "scanning.roots" in tables(at) and "nightly scan" in tables(at)


def test_without_users_and_keys_the_page_says_so(visit: Visit, api: FakeApi):
    api.upkeep.users, api.upkeep.keys = [], []
    at = visit("settings", port=api.port)  # type: ignore[attr-defined]
    assert "Nobody signs in with a password" in words(at) and "There is no key yet" in words(at)


def test_an_operator_has_no_such_page(visit: Visit):
    with served(FakeApi(role="operator")) as port:
        at = visit(port=port)
        with pytest.raises(ValueError, match="navigation page"):
            at.switch_page("views/settings.py")
