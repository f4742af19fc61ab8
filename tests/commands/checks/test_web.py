"""The checks of the API, its detectors and the app, which are stand-ins."""

import pytest

from cluster.access.oidc import Oidc
from cluster.settings import Settings
from commands.checks import web
from tests.commands.checks.stand_ins import GONE, client, words
from tests.support.servers.oidc import ScriptedProvider


def apis(ready=None, health=None):
    return client({"/v1/health": health or {"status": "ok"}, "/v1/ready": ready or (503, "")})


def api(server, enabled=("ocr",), **settings):
    return list(web.api(Settings(**settings), enabled, server))


def test_each_detector_is_reported_in_the_state_that_the_api_gives():
    detectors = {
        "ocr": {"state": "ok", "message": "it answers"},
        "nsfw": {"state": "asleep", "message": "it starts at the next request"},
        "clip": {"state": "down", "message": "none of its replicas runs"},
    }
    checks = api(apis((503, {"ready": False, "detectors": detectors})), tuple(detectors))
    assert [(check.what, check.state) for check in checks] == [
        ("API", "ok"), ("detector ocr", "ok"), ("detector nsfw", "ok"), ("detector clip", "fails"),
    ]  # fmt: skip
    assert "none of its replicas runs; `serve status` and the log of its replica" in words(checks, "fails")


def test_an_api_of_other_settings_is_noted():
    detectors = {name: {"state": "ok", "message": "it answers"} for name in ("ocr", "nsfw")}
    report = words(api(apis({"ready": True, "detectors": detectors}), ("ocr", "clip")), "note")
    assert "they differ in clip, nsfw. Restart it" in report


@pytest.mark.parametrize(
    ("server", "advice"),
    [
        (apis(health=GONE), "`serve status` says why; `serve deploy cluster/serve.yaml` deploys it"),
        (apis(health=(200, "<html>")), "is not the API. Stop it, or correct api.host and api.port."),
        (apis(health=(400, "Invalid host header")), "Add it to api.names where the API runs."),
        (apis(), "/v1/ready gives no valid answer (JSONDecodeError)"),
    ],
)
def test_an_api_that_cannot_be_used_is_reported_with_the_reason(server, advice):
    assert advice in words(api(server), "fails")


def test_a_silent_app_fails_where_it_was_started_and_is_a_note_elsewhere():
    silent = client({"/_stcore/health": GONE})
    (here,), (elsewhere,) = (web.app(Settings(), ours, silent) for ours in (True, False))
    assert here.state == "fails" and "Start it: `raysift down`, `raysift up`." in here.said
    assert elsewhere.state == "note" and "app.host says where" in elsewhere.said
    assert [check.state for check in web.app(Settings(), True, client({"/_stcore/health": "ok"}))] == ["ok"]
    assert "is not the app" in words(web.app(Settings(), True, client({})), "fails")


def test_the_provider_with_which_people_sign_in_is_asked_for_its_keys_and_the_secret_is_looked_for(tmp_path):
    answers = ScriptedProvider()
    roles = {"staff": {"role": "viewer"}}
    oidc = Oidc(issuer=answers.issuer, client_id="raysift", roles=roles, client_secret_file=tmp_path / "secret")
    (check,) = web.provider(oidc, answers.transport)
    assert check.state == "fails" and "oidc.client_secret_file" in check.said
    (tmp_path / "secret").write_text("very secret")
    (check,) = web.provider(oidc, answers.transport)
    assert check.state == "ok" and answers.issuer in check.said and "very secret" not in check.said
    answers.described["issuer"] = "https://id.example.org/other"
    (check,) = web.provider(oidc, answers.transport)
    assert check.state == "fails" and "'https://id.example.org/other'" in check.said
