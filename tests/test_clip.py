import numpy as np
import pytest
from test_detectors import on_media, picture, real

from cluster.records import Detection, Sample, Vector
from deployments.detectors.clip import Clip, ClipConfig, Seen

LOOKS, WORDS = Vector("looks", (1.0,) + (0.0,) * 1279), Vector("words", (1.0,) + (0.0,) * 383)
PICTURE, TEXT = Sample(pixels=np.zeros((8, 8, 3), np.uint8)), Sample(text="a dog")


def stand_in(samples):
    picture = Seen((("tabby", 0.7), ("tiger cat", 0.2), ("lynx", 0.01)), (LOOKS, WORDS))
    return [Seen((), (WORDS,)) if sample.pixels is None else picture for sample in samples]


def test_the_likeliest_concept_carries_the_vectors():
    first, second = Clip(ClipConfig(floor=0.1), infer=stand_in).detect([PICTURE])[0]
    assert first == Detection("tabby", 0.7, vectors=(LOOKS, WORDS))
    assert second == Detection("tiger cat", 0.2)


def test_the_likeliest_is_kept_however_weak_and_no_more_than_asked_for():
    weak = Seen((("a", 0.05), ("b", 0.04)), (LOOKS, WORDS))
    many = Seen((("a", 0.3), ("b", 0.25), ("c", 0.2)), (LOOKS, WORDS))
    found = Clip(ClipConfig(concepts=2), infer=lambda samples: [weak, many]).detect([PICTURE, PICTURE])
    assert [[detection.label for detection in one] for one in found] == [["a"], ["a", "b"]]


def test_a_text_is_a_place_among_the_words():
    assert Clip(ClipConfig(), infer=stand_in).detect([TEXT]) == [
        [Detection("text", 1.0, text="a dog", vectors=(WORDS,))]
    ]


def vectors(space, samples):
    found = real("clip").detect(samples)
    return np.array([vector.values for one in found for vector in one[0].vectors if vector.space == space])


PICTURES = {
    "chelsea": "negatives/chelsea.png",
    "coffee": "negatives/coffee.png",
    "motorcycle": "negatives/motorcycle_left.png",
    "rocket": "negatives/rocket.jpg",
    "brick": "negatives/brick.png",
    "obama": "faces/obama_1.jpg",
    "page": "text/phototest.tif",
}


class TestWithWeights:
    pytestmark = on_media

    @pytest.mark.parametrize(
        ("query", "wanted"),
        [
            ("a cat", "chelsea"),
            ("a pet animal", "chelsea"),
            ("a cup of coffee", "coffee"),
            ("something to drink", "coffee"),
            ("a motorcycle", "motorcycle"),
            ("a rocket launch", "rocket"),
            ("spacecraft", "rocket"),
            ("a stone wall", "brick"),
        ],
    )
    def test_words_find_the_picture(self, query, wanted):
        pictures = vectors("words", [picture(path) for path in PICTURES.values()])
        (words,) = vectors("words", [Sample(text=query)])
        assert list(PICTURES)[int((pictures @ words).argmax())] == wanted

    def test_words_find_a_text_that_says_it_otherwise(self):
        query, like, unlike = vectors(
            "words",
            [
                Sample(text="police arrest"),
                Sample(text="The officer put him in handcuffs."),
                Sample(text="Bake at 180 degrees."),
            ],
        )
        assert query @ like > query @ unlike + 0.2

    def test_a_picture_is_like_its_own_darker_narrower_copy_and_no_other(self):
        samples = [picture(path) for path in PICTURES.values()]
        copies = [Sample(pixels=(sample.pixels[10:-10, 20:-20] * 0.8).astype(np.uint8)) for sample in samples]
        likeness = vectors("looks", samples) @ vectors("looks", copies).T
        assert (likeness.argmax(axis=1) == np.arange(len(samples))).all()
        assert likeness.diagonal().min() > 0.68  # what one pair of strangers in ten thousand reaches

    def test_every_vector_has_length_one(self):
        samples = [picture("negatives/coffee.png"), Sample(text="x"), Sample(text="")]
        assert np.allclose(np.linalg.norm(vectors("words", samples), axis=1), 1, atol=1e-5)
        assert np.allclose(np.linalg.norm(vectors("looks", samples), axis=1), 1, atol=1e-5)

    def test_pictures_and_texts_may_come_mixed(self):
        mixed = [Sample(text="x"), picture("negatives/rocket.jpg"), Sample(text="y"), picture("negatives/coffee.png")]
        labels = [found[0].label for found in real("clip").detect(mixed)]
        assert labels[0] == labels[2] == "text" and labels[1] in ("missile", "projectile", "space shuttle")
        assert labels[3] in ("espresso", "cup", "coffee mug")
