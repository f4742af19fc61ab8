"""The checks of this machine, and the shares of a card."""

from cluster.gpus import Card
from cluster.settings import Models, Settings
from commands.checks import machine
from commands.checks.machine import examine
from commands.checks.shares import plans
from tests.commands.checks.stand_ins import state, words

A10 = Card("NVIDIA A10", 22.5, 22.0)


def test_slow_models_and_weights_that_are_not_downloaded_are_notes(tmp_path):
    checks = examine(Settings(profile="gpu", models=Models(cache=tmp_path / "models")), [])
    assert state(checks, "placement") == state(checks, "weights of nsfw") == "note"


def test_offline_each_detector_without_weights_fails_and_says_what_is_missing(tmp_path):
    settings = Settings(profile="gpu", models=Models(offline=True, cache=tmp_path / "models"))
    checks = examine(settings, [])
    assert state(checks, "weights of nsfw") == "fails"
    (said,) = (check.said for check in checks if check.what == "weights of nsfw")
    assert "Freepik/nsfw_image_detector" in said and "models.offline forbids the hub" in said
    assert "raysift models pull" in said


def test_detectors_that_need_more_cards_than_there_are_fail_the_placement():
    asking = Settings(detectors={"ocr": {"gpus": 0.6}, "nsfw": {"gpus": 0.6}})
    assert state(examine(asking, []), "placement") == "fails"
    assert state(examine(Settings(), []), "placement") == "ok"


def test_an_invalid_reference_fails_only_its_detector():
    checks = examine(Settings(detectors={"nsfw": {"model": "hub:x"}}), [])
    assert state(checks, "weights of nsfw") == "fails"
    assert state(checks, "weights of ocr") == "ok"


def test_shares_are_listed_for_cards_of_three_sizes_and_for_the_one_found():
    report = plans(Settings(profile="gpu"), [A10])
    assert list(report["shares"]) == ["10 GB", "24 GB", "80 GB", "this NVIDIA A10"]
    assert report["memory_gb"]["whisper"] == 4.0
    assert report["shares"]["10 GB"]["whisper"] == 0.4
    assert report["shares"]["this NVIDIA A10"]["whisper"] == 0.18
    assert report["cards_needed"]["10 GB"] == 2 and report["cards_needed"]["80 GB"] == 1
    assert any("10 GB: whisper does not fit beside the others" in sentence for sentence in report["advice"])


def test_replicas_take_a_share_each():
    three = {"whisper": {"replicas": 3, "backend": "gpu"}}
    report = plans(Settings(detectors=three), [])
    assert report["shares"]["10 GB"] == {"whisper": 0.4} and report["cards_needed"]["10 GB"] == 2


def test_a_detector_that_fits_no_card_is_reported():
    report = plans(Settings(detectors={"whisper": {"backend": "gpu", "gpu_memory_gb": 30}}), [])
    assert "whisper" not in report["shares"]["24 GB"] and report["shares"]["80 GB"]["whisper"] == 0.38
    assert any("24 GB: whisper fits no such card" in sentence for sentence in report["advice"])


def test_every_large_model_declares_its_memory():
    from deployments.detector import detector_class, names

    large = {name: kind for name in names() if "gpu" in (kind := detector_class(name)).backends}
    assert large
    for name, kind in large.items():
        assert kind.Config(backend="gpu").gpu_memory_gb > 0, name
        assert kind.Config().gpu_memory_gb == 0, "embedded needs none"


# ---- the parts


def test_low_limits_of_a_machine_are_reported(tmp_path, monkeypatch):
    few = words(machine._files(1024), "note")
    assert "may have 1024 open here" in few and "ulimit -n 65536" in few
    assert not list(machine._files(65536))
    little = words(machine._shared_memory(tmp_path, Settings(ray={"object_store_mb": 10**9})), "note")
    assert "ray.object_store_mb asks for 1000000000" in little and "--shm-size" in little
    monkeypatch.setattr(machine, "FREE_GB", 1e9)
    assert "Free some, or set another state_dir" in machine.disk("state_dir", tmp_path / "not" / "yet").said
