import json

import pytest
from typer.testing import CliRunner

import raysift
from cluster.gpus import Card
from cluster.settings import Models, Settings
from commands.doctor import SLOWLY, examine, plans

A10 = Card("NVIDIA A10", 22.5, 22.0)


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """A machine without settings, cards or copies of weights, whatever this one has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("RAYSIFT_MODELS__CACHE", str(tmp_path / "models"))


def run(*arguments):
    return CliRunner().invoke(raysift.cli, ["doctor", *arguments])


def state(checks, what):
    (found,) = (check for check in checks if check.what == what)
    return found.state


def test_the_embedded_profile_needs_nothing_that_is_not_installed():
    done = run("--json")
    told = json.loads(done.output)
    assert (done.exit_code, told["ok"], told["profile"]) == (0, True, "embedded")
    weights = [check for check in told["checks"] if check["what"].startswith("weights")]
    assert weights and all(check["state"] == "ok" for check in weights)


def test_the_gpu_profile_without_a_card_is_said_to_be_slow():
    told = " ".join(run("--profile", "gpu").output.replace("│", " ").split())
    assert SLOWLY in told and "run on the CPU, slowly" in told


def test_what_is_only_slow_or_still_to_be_fetched_is_no_failure(tmp_path):
    checks = examine(Settings(profile="gpu", models=Models(cache=tmp_path / "models")), [])
    assert state(checks, "placement") == state(checks, "weights of nsfw") == "note"


def test_offline_without_weights_it_cannot_run_and_each_detector_says_what_is_missing(tmp_path):
    settings = Settings(profile="gpu", models=Models(offline=True, cache=tmp_path / "models"))
    checks = examine(settings, [])
    assert state(checks, "weights of nsfw") == "fails"
    (said,) = (check.said for check in checks if check.what == "weights of nsfw")
    assert "Freepik/nsfw_image_detector" in said and "models.offline forbids the hub" in said
    assert "raysift models pull" in said


def test_a_profile_that_cannot_run_exits_1(monkeypatch):
    monkeypatch.setenv("RAYSIFT_MODELS__OFFLINE", "true")
    done = run("--profile", "gpu", "--json")
    assert done.exit_code == 1 and json.loads(done.output)["ok"] is False


def test_detectors_that_ask_for_more_cards_than_there_are_have_no_place():
    asking = Settings(detectors={"ocr": {"gpus": 0.6}, "nsfw": {"gpus": 0.6}})
    assert state(examine(asking, []), "placement") == "fails"
    assert state(examine(Settings(), []), "placement") == "ok"


def test_a_model_that_is_no_reference_is_that_detectors_failure_alone():
    checks = examine(Settings(detectors={"nsfw": {"model": "hub:x"}}), [])
    assert state(checks, "weights of nsfw") == "fails"
    assert state(checks, "weights of ocr") == "ok"


def test_shares_are_told_for_cards_of_three_sizes_and_for_the_one_found():
    told = plans(Settings(profile="gpu"), [A10])
    assert list(told["shares"]) == ["10 GB", "24 GB", "80 GB", "this NVIDIA A10"]
    assert told["memory_gb"]["whisper"] == 4.0
    assert told["shares"]["10 GB"]["whisper"] == 0.4
    assert told["shares"]["this NVIDIA A10"]["whisper"] == 0.18
    assert told["cards_needed"]["10 GB"] == 2 and told["cards_needed"]["80 GB"] == 1
    assert any("10 GB: whisper does not fit beside the others" in sentence for sentence in told["advice"])


def test_replicas_take_a_share_each():
    three = {"whisper": {"replicas": 3, "backend": "gpu"}}
    told = plans(Settings(detectors=three), [])
    assert told["shares"]["10 GB"] == {"whisper": 0.4} and told["cards_needed"]["10 GB"] == 2


def test_what_fits_no_card_is_said():
    told = plans(Settings(detectors={"whisper": {"backend": "gpu", "gpu_memory_gb": 30}}), [])
    assert "whisper" not in told["shares"]["24 GB"] and told["shares"]["80 GB"]["whisper"] == 0.38
    assert any("24 GB: whisper fits no such card" in sentence for sentence in told["advice"])


def test_every_large_model_declares_what_it_needs_of_a_card():
    from deployments.detector import detector_class, names

    large = {name: kind for name in names() if "gpu" in (kind := detector_class(name)).backends}
    assert large
    for name, kind in large.items():
        assert kind.Config(backend="gpu").gpu_memory_gb > 0, name
        assert kind.Config().gpu_memory_gb == 0, "embedded needs none"
