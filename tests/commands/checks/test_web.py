"""What `raysift doctor` says of the API, its detectors and the app, which are stand-ins."""

import pytest

from cluster.settings import Settings
from commands.checks import web
from tests.commands.checks.stand_ins import GONE, client, words


def apis(ready=None, health=None):
    return client({"/v1/health": health or {"status": "ok"}, "/v1/ready": ready or (503, "")})


def api(server, enabled=("ocr",), **settings):
    return list(web.api(Settings(**settings), enabled, server))


def test_each_detector_is_told_of_as_the_api_finds_it():
    detectors = {
        "ocr": {"state": "ok", "message": "it answers"},
        "nsfw": {"state": "asleep", "message": "it starts when it is asked"},
        "clip": {"state": "down", "message": "none of its replicas runs"},
    }
    checks = api(apis((503, {"ready": False, "detectors": detectors})), tuple(detectors))
    assert [(check.what, check.state) for check in checks] == [
        ("API", "ok"), ("detector ocr", "ok"), ("detector nsfw", "ok"), ("detector clip", "fails"),
    ]  # fmt: skip
    assert "none of its replicas runs; `serve status` and the log of its replica" in words(checks, "fails")


def test_an_api_of_other_settings_is_noted():
    detectors = {name: {"state": "ok", "message": "it answers"} for name in ("ocr", "nsfw")}
    told = words(api(apis({"ready": True, "detectors": detectors}), ("ocr", "clip")), "note")
    assert "they differ in clip, nsfw. Start it again" in told


@pytest.mark.parametrize(
    ("server", "advice"),
    [
        (apis(health=GONE), "`serve status` says why; `serve deploy cluster/serve.yaml` deploys it"),
        (apis(health=(200, "<html>")), "is not the API. Stop it, or correct api.host and api.port."),
        (apis(health=(400, "Invalid host header")), "Add it to api.names where the API runs."),
        (apis(), "/v1/ready tells nothing (JSONDecodeError)"),
    ],
)
def test_an_api_that_does_not_answer_as_one_is_told_why(server, advice):
    assert advice in words(api(server), "fails")


def test_an_app_that_is_silent_fails_where_it_was_started_and_may_be_elsewhere_otherwise():
    silent = client({"/_stcore/health": GONE})
    (here,), (elsewhere,) = (web.app(Settings(), ours, silent) for ours in (True, False))
    assert here.state == "fails" and "Start it: `raysift down`, `raysift up`." in here.said
    assert elsewhere.state == "note" and "app.host says where" in elsewhere.said
    assert [check.state for check in web.app(Settings(), True, client({"/_stcore/health": "ok"}))] == ["ok"]
    assert "is not the app" in words(web.app(Settings(), True, client({})), "fails")
