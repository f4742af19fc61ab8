import numpy as np
from test_detectors import MEDIA, on_media, picture, real

from cluster.records import Detection, Sample
from deployments.detectors.nsfw import Nsfw, NsfwConfig

GREY = Sample(pixels=np.full((4, 4, 3), 128, np.uint8))


def stand_in(samples):
    return [round(sample.pixels.shape[1] / 4000, 3) + 0.1 for sample in samples]


def test_keeps_what_reaches_the_floor():
    nsfw = Nsfw(NsfwConfig(floor=0.7), infer=lambda samples: [0.7, 0.69, 1.0])
    assert nsfw.detect([GREY] * 3) == [[Detection("nsfw", 0.7)], [], [Detection("nsfw", 1.0)]]


def test_a_score_that_rounding_put_above_one_is_one():
    assert Nsfw(NsfwConfig(), infer=lambda samples: [1.0000001]).detect([GREY]) == [[Detection("nsfw", 1.0)]]


class TestWithWeights:
    pytestmark = on_media

    def test_says_nothing_of_ordinary_pictures(self):
        files = sorted((MEDIA / "negatives").iterdir())
        for file, found in zip(files, real("nsfw").detect([picture(file) for file in files]), strict=True):
            assert found == [], file.name

    def test_their_scores_are_under_five_percent(self):
        files = sorted((MEDIA / "negatives").iterdir())
        assert max(real("nsfw").infer([picture(file) for file in files])) < 0.05

    def test_says_nothing_of_portraits(self):
        files = sorted((MEDIA / "faces").iterdir())
        for file, found in zip(files, real("nsfw").detect([picture(file) for file in files]), strict=True):
            assert found == [], file.name

    def test_a_batch_scores_as_each_picture_alone(self):
        samples = [picture(file) for file in sorted((MEDIA / "faces").iterdir())] * 2
        together = real("nsfw").infer(samples)
        assert np.allclose(together, [real("nsfw").infer([sample])[0] for sample in samples], atol=1e-4)
