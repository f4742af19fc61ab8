"""The settings that admins see: values, where to change them, and no secret."""

import json
from typing import Any

import pytest

from cluster.settings import Settings
from deployments.api.upkeep.routes import weights_of
from deployments.api.upkeep.shown_settings import SHOWN, shown
from deployments.serving.placement import configs

SECRET = "s3cr3t-value"
FULL: dict[str, Any] = {
    "chroma": {"token": SECRET},
    "cache": {"redis_url": f"redis://:{SECRET}@redis:6379/0"},
    "s3_endpoint_url": f"https://me:{SECRET}@s3.example.com",
    "models": {"mirror": f"s3://me:{SECRET}@bucket/models"},
    "webhooks": [{"url": f"https://hooks.example.com/{SECRET}", "secret_file": f"/run/{SECRET}"}],
    "oidc": {
        "issuer": "https://id.example.com",
        "client_id": "raysift",
        "client_secret": SECRET,
        "roles": {"staff": {"role": "viewer", "under": ["s3://bucket/case"]}},
    },
}


def values(settings: Settings) -> dict[str, Any]:
    return {setting.key: setting.value for setting in shown(settings)}


def test_no_secret_is_shown():
    settings = Settings(**FULL)
    answer = json.dumps([setting.model_dump(mode="json") for setting in shown(settings)])
    assert SECRET in repr(settings.cache) and SECRET not in answer
    assert values(settings)["oidc.roles"] == ("staff: viewer, s3://bucket/case",)


def test_every_setting_has_its_value_and_the_variable_that_changes_it(monkeypatch):
    monkeypatch.setenv("RAYSIFT_SCANNING__ROOTS", '["s3://bucket/cases"]')
    monkeypatch.setenv("RAYSIFT_RETENTION__DAYS", "90")
    settings = Settings()
    assert {setting.key: setting.variable for setting in shown(settings)}["scanning.roots"] == "RAYSIFT_SCANNING__ROOTS"
    found = values(settings)
    assert list(found) == list(SHOWN)
    assert (found["scanning.roots"], found["retention.days"], found["oidc.issuer"]) == (
        ("s3://bucket/cases",), 90, None,
    )  # fmt: skip
    assert found["results_uri"] == settings.results and found["scanning.max_jobs"] == 2


@pytest.mark.anyio
async def test_weights_of_every_detector_are_looked_for():
    settings = Settings()

    class Detectors:
        configs = configs(settings)

    weights = weights_of(Detectors(), settings)  # type: ignore[arg-type]
    weights._within_s = 60.0
    assert await weights.look() and weights.value is not None
    assert weights.value["nsfw"][0].origin == "package" and weights.value["nsfw"][0].there
