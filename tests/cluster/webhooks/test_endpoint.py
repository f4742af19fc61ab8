"""Which addresses and secrets of webhooks the settings take."""

import base64
from pathlib import Path

import pytest
from pydantic import ValidationError

from cluster.errors import SettingsError
from cluster.settings import Settings, load
from cluster.webhooks.endpoint import Webhook

SECRET = b"0123456789abcdef01234567"


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example/a?b=c",
        "http://localhost:9000/x",
        "http://127.0.0.1:9000",
        "http://[::1]:9000",
        "http://10.1.2.3/x",
        "http://[fd00::1]/x",
    ],
)
def test_an_encrypted_address_or_one_nearby_is_taken(url: str):
    assert Webhook(url=url, secret_env="HOOK").url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/a",
        "http://8.8.8.8/a",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/",
        "http://localhost.example/",
        "https://user:word@hooks.example/",
        "file:///etc/passwd",
        "https:///nothing",
        "hooks.example",
    ],
)
def test_any_other_address_is_refused(url: str):
    with pytest.raises(ValidationError):
        Webhook(url=url, secret_env="HOOK")


def test_an_endpoint_has_one_secret():
    for more in ({}, {"secret_env": "A", "secret_file": "b"}, {"secret_env": "RAYSIFT_HOOK"}):
        with pytest.raises(ValidationError, match="secret_"):
            Webhook(url="https://a.example", **more)


def test_a_secret_is_read_from_its_file_or_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "secret"
    in_file = Webhook(url="https://a.example", secret_file=file)
    with pytest.raises(SettingsError, match="cannot be read"):
        in_file.secret()
    text = f"whsec_{base64.b64encode(SECRET).decode()}"
    file.write_text(f"{text}\n")
    monkeypatch.setenv("HOOK", text)
    assert in_file.secret() == Webhook(url="https://a.example", secret_env="HOOK").secret() == SECRET
    for wrong in ("", "whsec_", "whsec_AAAA", "whsec_not base64!", text.removeprefix("whsec_")):
        monkeypatch.setenv("HOOK", wrong)
        with pytest.raises(SettingsError, match="variable HOOK holds no webhook secret"):
            Webhook(url="https://a.example", secret_env="HOOK").secret()


def test_settings_name_the_endpoint_that_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.yaml").write_text(
        "webhooks: [{url: 'https://a.example', secret_env: A, events: [hit], hits: {label: nude, min_score: 0.8}}]"
    )
    (webhook,) = load().webhooks
    assert (webhook.hits.label, webhook.hits.min_score, webhook.hits.detector) == ("nude", 0.8, None)
    (tmp_path / "settings.yaml").write_text("webhooks: [{url: 'http://a.example', secret_env: A}]")
    with pytest.raises(SettingsError, match=r"webhooks\.0\.url"):
        load()
    with pytest.raises(ValidationError, match="named twice"):
        Settings(webhooks=(webhook, webhook))
