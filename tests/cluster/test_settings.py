"""The settings, and the messages about wrong ones."""

import pytest

from cluster.errors import SettingsError
from cluster.settings import load
from deployments.detector import Remote, names
from deployments.detectors.clip import ClipConfig
from deployments.serving.placement import configs


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_environment_overrides_the_file_and_the_file_the_defaults(tmp_path, monkeypatch):
    (tmp_path / "settings.yaml").write_text("api: {port: 9000}\nchroma: {port: 9001}\n")
    monkeypatch.setenv("RAYSIFT_API__PORT", "9999")
    settings = load()
    assert (settings.api.port, settings.chroma.port, settings.app.port) == (9999, 9001, 8501)


def test_every_server_listens_on_the_loopback_address_by_default():
    settings = load()
    assert {settings.api.host, settings.chroma.host, settings.app.host} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("RAYSIFT_DOR__PORT", "1", "'dor'"),
        ("RAYSIFT_API__PROT", "1", "'api.prot'"),
        ("RAYSIFT_API__PORT", "a lot", "'api.port'"),
        ("RAYSIFT_SCANNING__WORKERS", "0", "'scanning.workers'"),
    ],
)
def test_a_wrong_key_in_the_environment_is_named(monkeypatch, variable, value, said):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=said):
        load()


def test_a_misspelt_key_in_the_file_is_named(tmp_path):
    (tmp_path / "settings.yaml").write_text("decoding: {frames_per_second: 2}\n")
    with pytest.raises(SettingsError, match=r"'decoding\.frames_per_second'.*spelling"):
        load()


@pytest.mark.parametrize("content", [b"- api", b"api", b"8000: api", b"\x80api: {}"])
def test_a_file_that_is_no_mapping_of_keys_in_utf8_is_refused_with_its_form(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.yaml").write_bytes(content)
    with pytest.raises(SettingsError, match=r"settings\.yaml.*lines of the form `key: value`, in UTF-8"):
        load()


def test_invalid_yaml_and_invalid_lists_are_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYSIFT_API__NAMES", "raysift.example.com")
    with pytest.raises(SettingsError, match=r"cannot be read.*api"):
        load()
    monkeypatch.delenv("RAYSIFT_API__NAMES")
    (tmp_path / "settings.yaml").write_text("api: {port: 9000\n")
    with pytest.raises(SettingsError, match=r"settings\.yaml or the environment cannot be read"):
        load()


def test_names_are_plain_host_names(monkeypatch):
    monkeypatch.setenv("RAYSIFT_API__NAMES", '["Raysift.Example.com"]')
    assert load().api.names == ("raysift.example.com",)
    for wrong in ("*", "*.example.com", "raysift.example.com:443", "https://raysift.example.com"):
        monkeypatch.setenv("RAYSIFT_API__NAMES", f'["{wrong}"]')
        with pytest.raises(SettingsError, match=r"api\.names.*not a plain host name"):
            load()


def test_a_misspelt_detector_is_reported_with_the_valid_names(tmp_path):
    (tmp_path / "settings.yaml").write_text("detectors: {nsfww: {floor: 0.5}}\n")
    with pytest.raises(SettingsError, match=f"no detector 'nsfww'; there are {', '.join(names())}"):
        configs(load())


def test_a_detectors_unknown_key_is_named_with_the_detector(tmp_path):
    (tmp_path / "settings.yaml").write_text("detectors: {nsfw: {treshold: 0.5}}\n")
    with pytest.raises(SettingsError, match=r"detectors\.nsfw.*'treshold'"):
        configs(load())


def test_a_detector_that_is_switched_off_is_not_served(tmp_path):
    (tmp_path / "settings.yaml").write_text("detectors: {whisper: {enabled: false}}\n")
    assert set(configs(load())) == set(names()) - {"whisper"}


def test_keys_of_the_last_version_are_still_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old = "door: {port: 9000}\nscanning: {at_once: 3, patience_s: 7, units_per_block: 8}\ndecoding: {stall_s: 5}\n"
    (tmp_path / "settings.yaml").write_text(old)
    monkeypatch.setenv("RAYSIFT_DOOR__HOST", "127.0.0.2")
    monkeypatch.setenv("RAYSIFT_API__HOST", "")  # load sets it: monkeypatch must restore it
    monkeypatch.delenv("RAYSIFT_API__HOST")
    settings = load()
    assert (settings.api.host, settings.api.port) == ("127.0.0.2", 9000)
    assert (settings.scanning.max_jobs, settings.scanning.detector_timeout_s) == (3, 7)
    assert settings.decoding.decoder_timeout_s == 5


def test_a_detectors_keys_of_the_last_version_are_still_read():
    assert ClipConfig(together="mine").colocate == "mine"
    assert Remote(url="https://a.example", at_once=7).max_in_flight == 7
