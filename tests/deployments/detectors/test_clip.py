import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from cluster.errors import SettingsError
from cluster.records import Detection, Sample, Vector
from deployments.detectors.clip import LABELS, Clip, ClipConfig, Seen
from deployments.models.concepts.conse import MODEL, imagenet_names
from deployments.models.concepts.display_names import DISPLAYED, displayed
from tests.deployments.detectors.test_contract import on_media, picture, real
from tests.support.models import tiny

IMAGE_VECTOR, TEXT_VECTOR = Vector("image", (1.0,) + (0.0,) * 1279), Vector("text", (1.0,) + (0.0,) * 383)
PICTURE, TEXT = Sample(pixels=np.zeros((8, 8, 3), np.uint8)), Sample(text="a dog")


def stand_in(samples):
    picture = Seen((("tabby", 0.7), ("tiger cat", 0.2), ("lynx", 0.01)), (IMAGE_VECTOR, TEXT_VECTOR))
    return [Seen((), (TEXT_VECTOR,)) if sample.pixels is None else picture for sample in samples]


def siglip(folder):
    return ClipConfig(backend="gpu", model=f"file:{tiny.siglip(folder)}", floor=0)


TRIED = {"gpu": siglip}


def test_the_likeliest_concept_has_the_vectors():
    first, second = Clip(ClipConfig(floor=0.1), infer=stand_in).detect([PICTURE])[0]
    assert first == Detection("tabby", 0.7, vectors=(IMAGE_VECTOR, TEXT_VECTOR))
    assert second == Detection("tiger cat", 0.2)


def test_a_picture_without_a_concept_from_the_floor_on_is_a_picture_and_the_number_of_concepts_is_limited():
    weak = Seen((("a", 0.05), ("b", 0.04)), (IMAGE_VECTOR, TEXT_VECTOR))
    many = Seen((("a", 0.3), ("b", 0.25), ("c", 0.2)), (IMAGE_VECTOR, TEXT_VECTOR))
    found = Clip(ClipConfig(concepts=2), infer=lambda samples: [weak, many]).detect([PICTURE, PICTURE])
    assert [[detection.label for detection in one] for one in found] == [["picture"], ["a", "b"]]
    assert found[0][0].vectors == (IMAGE_VECTOR, TEXT_VECTOR), "it is searched all the same"


def test_names_of_imagenet_that_mislead_are_shown_as_what_they_are():
    assert displayed("nipple") == "bottle teat" and displayed("tabby") == "tabby"
    assert set(DISPLAYED) <= set(imagenet_names())
    assert not set(DISPLAYED.values()) & set(imagenet_names())


def test_a_text_gets_a_text_vector():
    assert Clip(ClipConfig(), infer=stand_in).detect([TEXT]) == [
        [Detection("text", 1.0, text="a dog", vectors=(TEXT_VECTOR,))]
    ]


def test_a_former_setting_names_the_current_space():
    assert ClipConfig(pictures_in="looks").pictures_in == "image"
    assert ClipConfig(pictures_in="words").pictures_in == "text"
    with pytest.raises(ValidationError):
        ClipConfig(pictures_in=["looks"])


def test_other_labels_are_another_version_but_not_for_the_embedded_backend():
    usual, other = ClipConfig(backend="gpu"), ClipConfig(backend="gpu", labels=("a boat",))
    assert Clip.version(usual) == usual.model
    assert Clip.version(other) not in (other.model, Clip.version(ClipConfig(backend="gpu", labels=("a ship",))))
    assert Clip.version(ClipConfig(labels=("a boat",))) == Clip.version(ClipConfig()) == f"{MODEL} display names"


def test_a_prompt_fits_into_the_tokens_read_of_a_text():
    assert len(LABELS) == len(set(LABELS)) >= 40
    assert max(len(label.split()) for label in LABELS) <= 5


def logits(detector, inputs, texts):
    """The library's own logits: every picture against every text."""
    import torch

    tokenizer, network = detector.infer._tokenizer, detector.infer._network
    tokens = tokenizer(texts, padding="max_length", padding_side="right", max_length=64, return_tensors="pt")
    with torch.inference_mode():
        return network(pixel_values=inputs, input_ids=tokens["input_ids"]).logits_per_image.sigmoid().numpy()


@pytest.mark.ray
class TestSiglip:
    def test_both_backends_give_the_same_fields_for_a_picture_and_for_a_text(self):
        shapes = []
        for backend in ("embedded", "gpu"):
            seen, (read,) = real("clip", backend).detect([Clip.example(), TEXT])
            shapes.append(([v.space for v in seen[0].vectors], [v.space for v in read.vectors], read.text, read.label))
            assert all(found.vectors == () and found.box is None for found in seen[1:])
            assert all(
                np.linalg.norm(v.values) == pytest.approx(1, abs=1e-5) for v in (*seen[0].vectors, *read.vectors)
            )
        assert shapes == [(["image", "text"], ["text"], "a dog", "text")] * 2

    def test_a_picture_and_its_description_are_in_one_space(self):
        (seen, *_), (read,) = real("clip", "gpu").detect([Clip.example(), TEXT])
        looks, words = seen.vectors
        assert looks.values == words.values and len(words.values) == len(read.vectors[0].values)

    def test_its_probabilities_equal_the_librarys(self):
        detector = real("clip", "gpu")
        (seen,) = detector.infer([Clip.example()])
        (wanted,) = logits(
            detector, detector.infer.prepared([Clip.example().pixels]), [f"this is a photo of {one}." for one in LABELS]
        )
        told = dict(seen.concepts)
        assert len(told) == len(LABELS)
        for label, chance in zip(LABELS, wanted, strict=True):
            assert told[label.removeprefix("a ").removeprefix("an ")] == pytest.approx(float(chance), abs=1e-5)
        assert list(told.values()) == sorted(told.values(), reverse=True)

    def test_case_makes_no_difference_and_a_long_passage_is_cut(self):
        once, loud, long, longer = (
            found[0].vectors[0].values
            for found in real("clip", "gpu").detect(
                [Sample(text=text) for text in ("a dog", "A DOG", "dog " * 200, "dog " * 200 + "gun")]
            )
        )
        assert once == loud != long == longer

    def test_the_network_input_is_the_whole_picture_scaled_and_normalised(self):
        pixels = Clip.example().pixels
        shown = real("clip", "gpu").infer.prepared([pixels])[0].numpy()
        small = Image.fromarray(pixels).resize((tiny.SIDE, tiny.SIDE), Image.Resampling.BICUBIC)
        wanted = ((np.asarray(small, np.float32) / 255 - tiny.MEAN) / tiny.SPREAD).transpose(2, 0, 1)
        assert shown.shape == wanted.shape
        assert np.abs(shown - wanted).max() < 2.1 / 255 / min(tiny.SPREAD)  # whole grey levels, another filter

    def test_a_model_of_another_kind_stops_the_start(self, tmp_path):
        model = tiny.classifier(tmp_path, ["normal", "nsfw"])
        with pytest.raises(SettingsError, match=r"is a vit\. Name a SigLIP"):
            Clip(ClipConfig(backend="gpu", model=f"file:{model}"))


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


class TestOnMedia:
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
        pictures = vectors("text", [picture(path) for path in PICTURES.values()])
        (words,) = vectors("text", [Sample(text=query)])
        assert list(PICTURES)[int((pictures @ words).argmax())] == wanted

    def test_words_find_a_text_that_says_the_same_in_other_words(self):
        query, like, unlike = vectors(
            "text",
            [
                Sample(text="police arrest"),
                Sample(text="The officer put him in handcuffs."),
                Sample(text="Bake at 180 degrees."),
            ],
        )
        assert query @ like > query @ unlike + 0.2

    def test_a_picture_is_most_similar_to_its_own_darker_narrower_copy(self):
        samples = [picture(path) for path in PICTURES.values()]
        copies = [Sample(pixels=(sample.pixels[10:-10, 20:-20] * 0.8).astype(np.uint8)) for sample in samples]
        likeness = vectors("image", samples) @ vectors("image", copies).T
        assert (likeness.argmax(axis=1) == np.arange(len(samples))).all()
        assert likeness.diagonal().min() > 0.68  # reached by one pair of unrelated pictures in ten thousand

    def test_every_vector_has_length_one(self):
        samples = [picture("negatives/coffee.png"), Sample(text="x"), Sample(text="")]
        assert np.allclose(np.linalg.norm(vectors("text", samples), axis=1), 1, atol=1e-5)
        assert np.allclose(np.linalg.norm(vectors("image", samples), axis=1), 1, atol=1e-5)

    def test_pictures_and_texts_may_be_mixed(self):
        mixed = [Sample(text="x"), picture("negatives/rocket.jpg"), Sample(text="y"), picture("negatives/coffee.png")]
        labels = [found[0].label for found in real("clip").detect(mixed)]
        assert labels[0] == labels[2] == "text" and labels[1] in ("missile", "projectile", "space shuttle")
        assert labels[3] in ("espresso", "cup", "coffee mug")
