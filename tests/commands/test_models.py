"""`raysift models`: the list of weights, and the mirror that it fills."""

import json

import pytest
from typer.testing import CliRunner

import raysift
from cluster.errors import SettingsError
from cluster.settings import load
from deployments.models import runtime
from deployments.serving.placement import configs
from deployments.weights import references
from deployments.weights.hub import Hub
from tests.support.servers.hub import Repo, hub


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAYSIFT_MODELS__CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def models(monkeypatch):
    """A hub with only the models of clip and nsfw in the gpu profile."""
    with hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        for source in of_the_gpu_profile("clip", "nsfw"):
            running.repos[source.repo] = Repo({"model.safetensors": source.repo.encode(), "config.json": b"{}"})
        yield running


def of_the_gpu_profile(*detectors):
    """The models of these detectors, or of all, that come from the hub."""
    settings = load().model_copy(update={"profile": "gpu"})
    there = configs(settings)
    found = [references.source(text, settings) for name in detectors or there for text in references.named(there[name])]
    return [source for source in found if isinstance(source, Hub)]


def run(*arguments):
    done = CliRunner().invoke(raysift.cli, ["models", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def listed(*arguments):
    return json.loads(run("list", "--json", *arguments).stdout)


def test_all_weights_of_the_embedded_profile_are_in_installed_packages():
    rows = listed("--profile", "embedded")
    assert {row["detector"] for row in rows} == {name for name, of in configs(load()).items() if references.named(of)}
    for row in rows:
        assert (row["from"], row["there"], row["missing"]) == ("package", True, "")
        assert row["licence"] and row["revision"] in row["weights"] and row["bytes"] > 100_000


def test_missing_weights_are_listed_with_licence_and_what_to_do():
    rows = [row for row in listed("--profile", "gpu") if row["weights"].startswith("hf:")]
    for row in rows:
        assert row["licence"] and not row["there"], row["weights"]
        if row["from"] == "hub":
            assert "raysift models pull" in row["missing"]
        else:  # a pickle without a known checksum
            assert row["from"] == "nowhere" and "add #sha256=HEX" in row["missing"]
    assert sum(row["from"] == "hub" for row in rows) >= 5


def test_offline_the_list_says_that_the_hub_is_not_used(monkeypatch):
    monkeypatch.setenv("RAYSIFT_MODELS__OFFLINE", "true")
    row = next(row for row in listed("--profile", "gpu") if row["detector"] == "clip")
    assert row["from"] == "nowhere" and "models.offline forbids the hub" in row["missing"]


def test_the_table_has_below_it_what_to_do():
    printed = run("list", "--profile", "gpu").stdout
    assert "detector" in printed and "clip" in printed
    (said,) = (line for line in printed.splitlines() if "It is fetched when it is first needed" in line)
    assert "Freepik/nsfw_image_detector" in said


def test_weights_in_every_setting_of_a_detector_are_listed():
    from deployments.detectors.whisper import WhisperConfig

    own = WhisperConfig(backend="gpu", align={"en": "hf:a/b@main"}, diarize="file:/models/voices")
    assert references.named(own) == [*own.model.split(" + "), "hf:a/b@main", "file:/models/voices"]


def test_a_misspelt_detector_is_named(tmp_path):
    with pytest.raises(SettingsError, match="no detector 'clap'; there are"):
        run("pull", "--to", str(tmp_path), "--detectors", "clap", "--detectors", "nsfw")


def test_packages_are_not_copied_to_a_mirror(tmp_path):
    printed = run("pull", "--to", str(tmp_path / "mirror"), "--profile", "embedded").stderr
    assert "come with packages" in printed and not (tmp_path / "mirror").exists()


@pytest.mark.ray
def test_a_mirror_serves_machines_without_a_hub(models, tmp_path, monkeypatch):
    printed = run("pull", "--to", "mirror", "--profile", "gpu", "--detectors", "nsfw,clip").stderr
    assert f"RAYSIFT_MODELS__MIRROR={(tmp_path / 'mirror').as_uri()}" in printed.replace("\n", "")
    asked = len(models.asked)
    assert "already there" in run("pull", "--to", "mirror", "--profile", "gpu", "--detectors", "nsfw,clip").stderr
    assert len(models.asked) == asked  # a complete copy is not fetched again

    monkeypatch.setenv("RAYSIFT_MODELS__MIRROR", "mirror")
    monkeypatch.setenv("RAYSIFT_MODELS__OFFLINE", "true")
    monkeypatch.setenv("RAYSIFT_MODELS__CACHE", str(tmp_path / "of another machine"))
    (nsfw,) = of_the_gpu_profile("nsfw")
    row = next(row for row in listed("--profile", "gpu") if row["detector"] == "nsfw")
    assert (row["from"], row["there"], row["licence"]) == ("mirror", True, "apache-2.0")
    assert row["revision"] == models.repos[nsfw.repo].commit
    (folder,) = runtime.weights(nsfw.reference)
    assert (folder / "model.safetensors").read_bytes() == nsfw.repo.encode()
    assert len(models.asked) == asked


@pytest.mark.ray
def test_one_model_that_is_not_available_does_not_stop_the_others(models, tmp_path):
    (nsfw,), (clip,) = of_the_gpu_profile("nsfw"), of_the_gpu_profile("clip")
    models.repos[nsfw.repo].gated = True
    with pytest.raises(SettingsError, match="wants its terms accepted"):
        run("pull", "--to", str(tmp_path / "mirror"), "--profile", "gpu", "--detectors", "nsfw,clip")
    assert (tmp_path / "mirror" / clip.name / "manifest.json").is_file()
    assert not (tmp_path / "mirror" / nsfw.name).exists()
