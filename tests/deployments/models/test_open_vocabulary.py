import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest

from cluster.errors import SettingsError
from deployments.models.open_vocabulary import OpenVocabulary
from deployments.models.regions import Region
from tests.support.models import tiny_detection

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]  # torch and transformers, though no cluster

RNG = np.random.default_rng(0)
NOISE = [RNG.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in [(60, 96), (96, 60), (64, 64)]]
PROMPTS = ("rope", "handcuffs on wrists", "a belt")
DINOS = pytest.mark.parametrize("kind", ["grounding_dino", "mm_grounding_dino"])


@functools.cache
def folder(kind):
    return getattr(tiny_detection, kind)(Path(tempfile.mkdtemp(prefix="raysift-weights-")))


def opened(kind):
    return OpenVocabulary(f"file:{folder(kind)}", batch=2)


def black_with_white(width, height, left, top, side=24):
    picture = np.zeros((height, width, 3), np.uint8)
    picture[top : top + side, left : left + side] = 255
    return picture


@functools.cache
def white_finder():
    """An OWLv2 in which a patch attends to itself only, and white matches every prompt."""

    def teach(head, features):
        towards = features[0] - features[-1]  # from black to white
        head.logit_shift.weight[:] = 8 * towards / towards.norm() ** 2
        head.logit_shift.bias[:] = -4 - (head.logit_shift.weight @ features[-1])

    return taught(teach)


@functools.cache
def comparer():
    """An OWLv2 in which a patch attends to itself only, and only nearly equal patches match a query."""

    def teach(head, features):
        head.logit_shift.weight.zero_()
        head.logit_shift.bias.fill_(-0.99)
        head.logit_scale.bias.fill_(1000)

    return taught(teach)


def taught(teach):
    """A patch's box has its size and, without the learnt offset, its lower right corner as its centre."""
    import torch
    from PIL import Image
    from transformers import Owlv2ForObjectDetection, Owlv2ImageProcessor

    home = tiny_detection.owlv2(Path(tempfile.mkdtemp(prefix="raysift-weights-")))
    network = Owlv2ForObjectDetection.from_pretrained(home).eval()
    white_first = Image.fromarray(black_with_white(96, 96, 0, 0))
    pixels = Owlv2ImageProcessor.from_pretrained(home)([white_first], return_tensors="pt").pixel_values
    with torch.no_grad():
        network.owlv2.vision_model.embeddings.position_embedding.weight.zero_()
        for layer in network.owlv2.vision_model.encoder.layers:
            layer.self_attn.out_proj.weight.zero_()
        network.box_head.dense2.weight.zero_()
        network.box_head.dense2.bias.zero_()
        network.class_head.logit_scale.weight.zero_()
        network.class_head.logit_scale.bias.zero_()
        teach(network.class_head, network.image_embedder(pixels)[0].flatten(1, 2)[0])
    network.save_pretrained(home)
    return OpenVocabulary(f"file:{home}", batch=2)


@pytest.mark.parametrize(
    ("width", "height", "left", "top", "box"),
    [
        (96, 96, 24, 24, (36 / 96, 36 / 96, 60 / 96, 60 / 96)),
        (96, 48, 24, 0, (36 / 96, 12 / 48, 60 / 96, 36 / 48)),
        (48, 96, 0, 24, (12 / 48, 36 / 96, 36 / 48, 60 / 96)),
        (96, 48, 48, 24, (60 / 96, 36 / 48, 84 / 96, 1)),  # the lower half of its box lies in the padding
    ],
)
def test_a_box_lies_in_the_unpadded_picture(width, height, left, top, box):
    ((found,),) = white_finder().find([black_with_white(width, height, left, top)], ("something",), floor=0.5)
    assert found.prompt == 0 and found.score > 0.9
    assert found.box == pytest.approx(box, abs=1e-3)


def test_an_example_is_found_where_it_is_and_nowhere_else():
    white, black = np.full((48, 48, 3), 255, np.uint8), np.zeros((30, 30, 3), np.uint8)
    (found,) = comparer().alike([black_with_white(96, 48, 24, 0)], [white, black], floor=0.5)
    (like_white,) = [region for region in found if region.prompt == 0]
    assert like_white.box == pytest.approx((36 / 96, 12 / 48, 60 / 96, 36 / 48), abs=1e-3)
    assert all(region.box != like_white.box for region in found if region.prompt == 1)
    assert len(found) == 1 + 7  # the other half of its sixteen patches lies in the padding


def test_the_best_region_equals_that_of_the_librarys_post_processing():
    import torch
    from PIL import Image
    from transformers import Owlv2ForObjectDetection, Owlv2Processor

    picture = black_with_white(96, 60, 0, 24)
    network = Owlv2ForObjectDetection.from_pretrained(folder("owlv2"))
    processor = Owlv2Processor.from_pretrained(folder("owlv2"))
    asked = [[f"a photo of {prompt}" for prompt in PROMPTS]]
    with torch.no_grad():
        outputs = network(**processor(text=asked, images=Image.fromarray(picture), return_tensors="pt"))
    own = processor.post_process_grounded_object_detection(outputs, threshold=0.0, target_sizes=[(60, 96)])[0]
    inside = (own["boxes"][:, 0] < 96) & (own["boxes"][:, 1] < 60)
    best = own["scores"].masked_fill(~inside, -1).argmax()
    (found, *_), *_ = opened("owlv2").find([picture], PROMPTS, floor=0.0)
    assert found.score == pytest.approx(float(own["scores"][best]), abs=1e-4)
    left, top, right, bottom = (own["boxes"][best].numpy() / [96, 60, 96, 60]).clip(0, 1)
    assert found.box == pytest.approx((left, top, right, bottom), abs=1e-4)


def test_a_picture_is_encoded_once_for_all_callers():
    from torch.nn.modules.module import register_module_forward_hook

    found, passed = opened("owlv2"), []
    hook = register_module_forward_hook(lambda module, inputs, _: passed.append(type(module).__name__))
    try:
        for _ in range(2):
            found.find(NOISE, PROMPTS, floor=0.0)
            found.find(NOISE, ("a person",), floor=0.0)
            found.alike(NOISE, NOISE[:1], floor=0.0)
    finally:
        hook.remove()
    # three pictures in batches of two, and an example
    assert passed.count("Owlv2VisionTransformer") == 3
    assert passed.count("Owlv2TextTransformer") == 2


@pytest.mark.parametrize("kind", ["owlv2", "grounding_dino", "mm_grounding_dino"])
def test_each_kind_answers_for_unusual_pictures_in_order_with_boxes_within_them(kind):
    network = opened(kind)
    shapes = [(1, 1), (20, 1500), (1500, 20), (1, 400), (23, 24), (72, 128)]
    pictures = [*(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes), *NOISE]
    answers = network.find(pictures, PROMPTS, floor=0.0)
    assert len(answers) == len(pictures) and all(answers[-4:])
    for region in (region for found in answers for region in found):
        left, top, right, bottom = region.box
        assert 0 <= left <= right <= 1 and 0 <= top <= bottom <= 1
        assert 0 <= region.score <= 1 and 0 <= region.prompt < len(PROMPTS)
    for picture, together in zip(NOISE, answers[-3:], strict=True):
        (alone,) = network.find([picture], PROMPTS, floor=0.0)
        assert [rounded(one) for one in alone[:5]] == [rounded(one) for one in together[:5]]
    assert network.find([], PROMPTS, floor=0.0) == []


def rounded(region):
    return Region(region.prompt, round(region.score, 3), tuple(round(side, 2) for side in region.box))


@DINOS
def test_the_score_of_a_prompt_is_the_mean_over_its_tokens(kind):
    import torch
    from PIL import Image
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    picture = NOISE[0]
    network = AutoModelForZeroShotObjectDetection.from_pretrained(folder(kind))
    processor = AutoProcessor.from_pretrained(folder(kind))
    inputs = processor(images=[Image.fromarray(picture)], text=[list(PROMPTS)], return_tensors="pt")
    with torch.no_grad():
        outputs = network(**inputs)
    ends = [place for place, token in enumerate(inputs.input_ids[0].tolist()) if token == 1012]  # full stops
    starts = [1, *(end + 1 for end in ends[:-1])]
    scores = outputs.logits[0].sigmoid()
    expected = [float(scores[:, start:end].mean(dim=1).max()) for start, end in zip(starts, ends, strict=True)]
    (found,) = opened(kind).find([picture], PROMPTS, floor=0.0)
    best = [max(one.score for one in found if one.prompt == prompt) for prompt in range(len(PROMPTS))]
    assert best == pytest.approx(expected, abs=1e-4)
    own = processor.post_process_grounded_object_detection(outputs, threshold=0.0, target_sizes=[(60, 96)])[0]
    boxes = (own["boxes"].numpy() / [96, 60, 96, 60]).clip(0, 1)
    for region in found[:5]:
        assert np.abs(boxes - region.box).max(axis=1).min() < 1e-4


def test_a_network_that_takes_texts_only_refuses_examples():
    with pytest.raises(SettingsError, match="by words only, not by example"):
        opened("grounding_dino").alike(NOISE, NOISE, floor=0.5)


def test_prompts_beyond_the_tokens_of_a_network_are_refused():
    with pytest.raises(SettingsError, match="41 prompts are 84 tokens; the model takes 64"):
        opened("mm_grounding_dino").find(NOISE, ("rope",) * 41, floor=0.5)


def test_weights_of_another_kind_are_refused(tmp_path):
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(SettingsError, match=r"of the kind 'bert'.*owlv2, grounding-dino, mm-"):
        OpenVocabulary(f"file:{tmp_path}", batch=1)


def test_an_example_too_narrow_for_a_patch_is_found_nowhere():
    hair = np.full((1, 1000, 3), 255, np.uint8)
    assert white_finder().alike([black_with_white(96, 96, 24, 24)], [hair], floor=0.0) == [[]]
