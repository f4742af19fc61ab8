import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cluster.errors import SettingsError
from cluster.records import Detection, Sample
from deployments.detectors.nsfw import Nsfw, NsfwConfig
from tests.deployments.detectors.test_contract import MEDIA, on_media, picture, real
from tests.support.models import tiny

GREY = Sample(pixels=np.full((4, 4, 3), 128, np.uint8))
GRADED = ["neutral", "low", "medium", "high"]
PLAIN = ["normal", "nsfw"]


def stand_in(samples):
    scores = (round(sample.pixels.shape[1] / 4000, 3) + 0.1 for sample in samples)
    return [{"sfw": 1 - score, "nsfw": score} for score in scores]


def judged(scores, **config):
    return Nsfw(NsfwConfig(**config), infer=lambda samples: scores).detect([GREY] * len(scores))


def graded(folder, **config):
    model = tiny.timm_classifier(folder, GRADED)
    return NsfwConfig(backend="gpu", model=f"file:{model}", floor=0, **config)


TRIED = {"gpu": graded}


def test_scores_from_the_floor_on_are_kept():
    found = judged([{"sfw": 1 - score, "nsfw": score} for score in (0.7, 0.69, 1.0)], floor=0.7)
    assert found == [[Detection("nsfw", 0.7)], [], [Detection("nsfw", 1.0)]]


def test_a_score_rounded_above_one_is_one():
    assert judged([{"sfw": 0.0, "nsfw": 1.0000001}]) == [[Detection("nsfw", 1.0)]]


def test_nsfw_is_the_sum_of_the_explicit_grades_and_each_grade_is_kept():
    (found,) = judged([dict(zip(GRADED, (0.125, 0.125, 0.25, 0.5), strict=True))])
    assert found == [
        Detection("nsfw", 0.75),
        Detection("nsfw low", 0.125),
        Detection("nsfw medium", 0.25),
        Detection("nsfw high", 0.5),
    ]


def test_an_ordinary_picture_has_no_detection_by_any_model():
    assert judged([{"neutral": 0.96, "low": 0.02, "medium": 0.01, "high": 0.01}, {"normal": 1.0, "nsfw": 0.0}]) == [
        [],
        [],
    ]


def test_a_suggestive_picture_is_a_low_grade_and_not_nsfw():
    assert judged([{"neutral": 0.0, "low": 0.95, "medium": 0.03, "high": 0.02}]) == [[Detection("nsfw low", 0.95)]]


def test_the_operator_sets_the_severity_of_explicit():
    scores = [{"neutral": 0.0, "low": 0.25, "medium": 0.25, "high": 0.5}]
    assert judged(scores, explicit=0.9)[0][0] == Detection("nsfw", 0.5)
    assert judged(scores, explicit=0.3)[0][0] == Detection("nsfw", 1.0)


@functools.cache
def plain():
    """The fallback that needs no timm."""
    model = tiny.classifier(Path(tempfile.mkdtemp(prefix="raysift-weights-")), PLAIN)
    return Nsfw(NsfwConfig(backend="gpu", model=f"file:{model}", floor=0))


@pytest.mark.ray
class TestTransformers:
    def test_both_kinds_of_model_and_the_embedded_one_give_the_same_fields(self):
        shapes = set()
        for detector in (real("nsfw"), real("nsfw", "gpu"), plain()):
            (found,) = detector.detect([Nsfw.example()])
            shapes.add((found[0].label, found[0].box, found[0].span, found[0].text, found[0].vectors))
        assert shapes == {("nsfw", None, None, None, ())}

    def test_the_probabilities_of_a_models_labels_sum_to_one(self):
        for detector, labels in ((real("nsfw", "gpu"), GRADED), (plain(), PLAIN)):
            (scores,) = detector.infer([Nsfw.example()])
            assert list(scores) == labels
            assert sum(scores.values()) == pytest.approx(1, abs=1e-5)

    def test_a_padded_batch_gives_the_scores_of_each_picture_alone(self):
        rng = np.random.default_rng(0)
        samples = [Sample(pixels=rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)) for _ in range(5)]
        together = [list(one.values()) for one in plain().infer(samples)]
        assert np.allclose(together, [list(plain().infer([sample])[0].values()) for sample in samples], atol=1e-5)

    @pytest.mark.parametrize("resample", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
    def test_the_network_input_is_the_picture_scaled_and_normalised(self, resample):
        detector = plain() if resample == Image.Resampling.BILINEAR else real("nsfw", "gpu")
        sample = Nsfw.example()
        shown = detector.infer.prepared([sample])[0].numpy()
        small = np.asarray(Image.fromarray(sample.pixels).resize((tiny.SIDE, tiny.SIDE), resample), np.float32) / 255
        wanted = ((small - tiny.MEAN) / tiny.SPREAD).transpose(2, 0, 1)
        assert shown.shape == wanted.shape
        assert np.abs(shown - wanted).max() < 2.1 / 255 / min(tiny.SPREAD)  # whole grey levels, another filter

    def test_a_label_without_a_severity_stops_the_start(self, tmp_path):
        config = graded(tmp_path, labels={"neutral": 0, "low": 0.3, "high": 1})
        with pytest.raises(SettingsError, match=r"detectors\.nsfw\.labels does not know 'medium'"):
            Nsfw(config)


class TestOnMedia:
    pytestmark = on_media

    def test_ordinary_pictures_have_no_detection(self):
        files = sorted((MEDIA / "negatives").iterdir())
        for file, found in zip(files, real("nsfw").detect([picture(file) for file in files]), strict=True):
            assert found == [], file.name

    def test_scores_of_ordinary_pictures_are_below_five_percent(self):
        files = sorted((MEDIA / "negatives").iterdir())
        assert max(scores["nsfw"] for scores in real("nsfw").infer([picture(file) for file in files])) < 0.05

    def test_portraits_have_no_detection(self):
        files = sorted((MEDIA / "faces").iterdir())
        for file, found in zip(files, real("nsfw").detect([picture(file) for file in files]), strict=True):
            assert found == [], file.name

    def test_a_batch_gives_the_scores_of_each_picture_alone(self):
        samples = [picture(file) for file in sorted((MEDIA / "faces").iterdir())] * 2
        together = [scores["nsfw"] for scores in real("nsfw").infer(samples)]
        assert np.allclose(together, [real("nsfw").infer([sample])[0]["nsfw"] for sample in samples], atol=1e-4)
