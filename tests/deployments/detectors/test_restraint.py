import io

import numpy as np
import pytest
from PIL import Image

from cluster.records import Detection, Sample
from deployments.detectors.restraint import Hint, Restraint, RestraintConfig, asked, judged, nearest
from deployments.galleries.references import Match
from deployments.galleries.store import Gallery
from deployments.models import runtime
from deployments.models.boxes import overlap, within
from deployments.models.concepts.conse import Pictured
from deployments.models.keywords import find_keywords
from deployments.models.regions import Region
from tests.deployments.detectors.test_contract import MEDIA, on_media, picture, real
from tests.support.models import tiny_detection

PICTURE = Sample(pixels=np.zeros((8, 8, 3), np.uint8))
SENTENCE = "The police officer put the suspect in handcuffs near the main gate."


def stand_in(samples):
    return [[Hint("concept", 0.5, "because"), Hint("rope", 0.4, "because", (0.1, 0.2, 0.3, 0.4))] for _ in samples]


def tried(folder):
    model = tiny_detection.owlv2(folder)
    return RestraintConfig(backend="gpu", model=f"file:{model}", floor=0, margin=0, on_person=0, person_floor=0)


TRIED = {"gpu": tried}


def test_a_hint_without_a_box_is_a_cue_and_one_with_a_box_has_the_objects_name():
    assert Restraint(RestraintConfig(), infer=stand_in).detect([PICTURE]) == [
        [
            Detection("cue: concept", 0.5, evidence="because"),
            Detection("rope", 0.4, box=(0.1, 0.2, 0.3, 0.4), evidence="because"),
        ]
    ]


def test_pictures_and_texts_may_be_mixed():
    samples = [Sample(text="handcuffs"), PICTURE, Sample(text="a dog"), PICTURE, Sample(text="")]
    found = Restraint(RestraintConfig(floor=0.45), infer=stand_in).detect(samples)
    assert [[one.label for one in answer] for answer in found] == [
        ["cue: words"],
        ["cue: concept"],
        [],
        ["cue: concept"],
        [],
    ]


def test_a_backend_is_not_called_without_pictures():
    detector = Restraint(RestraintConfig(), infer=lambda samples: pytest.fail("asked"))
    assert detector.detect([Sample(text="a dog")]) == [[]]


@pytest.mark.parametrize("backend", ["embedded", "gpu"])
def test_keywords_in_text_are_a_cue_by_either_backend(backend):
    ((found,),) = Restraint(RestraintConfig(backend=backend), infer=stand_in).detect([Sample(text=SENTENCE)])
    assert (found.label, found.text, found.vectors) == ("cue: words", "handcuffs", ())
    assert found.evidence == SENTENCE
    assert found.score == RestraintConfig(backend=backend).words_score


class TestWords:
    words = RestraintConfig().words

    @pytest.mark.parametrize(
        ("passage", "wanted"),
        [
            ("HANDCUFFED and Gagged", ["HANDCUFFED", "Gagged"]),
            ("zip-ties, a zip tie and ZIPTIES", ["zip-ties", "zip tie", "ZIPTIES"]),
            ("Er trug Handschellen.", ["Handschellen"]),
            ("menotté et baillonne", ["menotté", "baillonne"]),
            ("Los rehenes, esposados", ["rehenes", "esposados"]),
            ("на нём наручники", ["наручники"]),
            ("警察给他戴上手铐", ["手铐"]),
            ("handcuffs. Handcuffs!", ["handcuffs"]),
        ],
    )
    def test_keywords_are_found_in_any_case_form_and_language(self, passage, wanted):
        assert [words for words, _ in find_keywords(passage, self.words)] == wanted

    @pytest.mark.parametrize(
        "passage",
        [
            "unchained melody on the blockchain",
            "She was engaged, he raged",
            "a gaggle of geese",
            "the rope on the boat and a belt",
            "hostal con vistas y su esposa",
            "tie a knot, tied the game",
            "",
        ],
    )
    def test_keywords_are_not_found_within_other_words(self, passage):
        assert find_keywords(passage, self.words) == []

    def test_keywords_are_shown_with_their_context(self):
        passage = "once " * 30 + "in handcuffs " + "again " * 30
        ((_, context),) = find_keywords(passage, ("handcuff*",), around=12)
        assert context == "…nce once in handcuffs again again…"

    def test_keywords_may_be_any_that_an_operator_sets(self):
        assert find_keywords("수갑을 찬 사람 산골", ("수갑*",)) == [("수갑을", "수갑을 찬 사람 산골")]
        assert find_keywords("anything (at all)", ()) == []


CONFIG = RestraintConfig(
    backend="gpu",
    things={"rope": ("a rope around wrists", "a tied rope"), "chains": ("a chain",)},
    look_alikes=("belt", "climbing rope"),
)
ROPE, TIED, CHAIN, BELT, CLIMBING, PERSON = range(len(asked(CONFIG)))
BODY = (0.2, 0.1, 0.6, 1.0)
WRISTS = (0.3, 0.5, 0.4, 0.6)


def judge(*regions):
    return [(hint.what, hint.score, hint.evidence) for hint in judged([Region(*one) for one in regions], CONFIG)]


class TestBoxes:
    def test_an_object_on_a_person_is_kept_with_its_nearest_rival(self):
        assert judge((ROPE, 0.41, WRISTS), (PERSON, 0.88, BODY), (BELT, 0.22, WRISTS)) == [
            ("rope", 0.41, "0.41, on a person 0.88; next: belt 0.22")
        ]

    def test_a_rope_on_a_boat_is_not_kept(self):
        assert judge((ROPE, 0.9, WRISTS)) == []
        assert judge((ROPE, 0.9, (0.55, 0.5, 0.9, 0.6)), (PERSON, 0.9, BODY)) == []
        assert judge((ROPE, 0.9, WRISTS), (PERSON, 0.19, BODY)) == []

    def test_half_of_an_object_on_a_person_is_enough(self):
        assert judge((ROPE, 0.9, (0.55, 0.5, 0.6501, 0.6)), (PERSON, 0.9, BODY)) == []
        assert judge((ROPE, 0.9, (0.55, 0.5, 0.6499, 0.6)), (PERSON, 0.9, BODY)) != []

    def test_a_look_alike_at_the_same_place_must_score_lower_by_the_margin(self):
        person = (PERSON, 0.9, BODY)
        assert judge((ROPE, 0.41, WRISTS), (CLIMBING, 0.37, WRISTS), person) == []
        assert judge((ROPE, 0.41, WRISTS), (CLIMBING, 0.35, WRISTS), person) != []
        assert judge((ROPE, 0.41, WRISTS), (CLIMBING, 0.9, (0.4, 0.7, 0.5, 0.8)), person) != []

    def test_a_place_is_kept_once_by_its_likeliest_name(self):
        near = (0.31, 0.5, 0.4, 0.6)
        elsewhere = (0.5, 0.2, 0.55, 0.3)
        found = judge(
            (ROPE, 0.4, WRISTS), (TIED, 0.6, near), (CHAIN, 0.5, WRISTS), (CHAIN, 0.3, elsewhere), (PERSON, 1, BODY)
        )
        assert [(what, score) for what, score, _ in found] == [("rope", 0.6), ("chains", 0.3)]
        assert found[0][2] == "0.60, on a person 1.00; next: chains 0.50"

    def test_of_several_people_the_one_who_contains_the_object_counts(self):
        passer_by, wearer = (PERSON, 0.95, (0.7, 0.1, 0.9, 1.0)), (PERSON, 0.5, BODY)
        assert judge((ROPE, 0.4, WRISTS), passer_by, wearer)[0][2] == "0.40, on a person 0.50"

    def test_overlap_and_share_are_computed_from_areas(self):
        left, right, half = (0, 0, 0.5, 1), (0.5, 0, 1, 1), (0.25, 0, 0.75, 1)
        assert overlap(left, left) == 1 and overlap(left, right) == 0
        assert overlap(left, half) == pytest.approx(1 / 3) and within(half, left) == pytest.approx(1 / 2)
        assert overlap((0.5, 0.5, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5)) == within((0.5, 0.5, 0.5, 0.5), left) == 0


class StandInConse:
    """Three concepts; a picture's red, green and blue are its similarity to each, and its image vector."""

    names = ("chain", "belt", "dog", "cat")

    def texts(self, texts):
        return np.array([[text == "chains", text == "a belt", text == "a dog"] for text in texts], float)

    def pictures(self, pictures):
        near = [pixels[0, 0] / 100 for pixels in pictures]
        return [Pictured(np.append(row, 0), row, row / np.linalg.norm(row)) for row in near]


def cues(color, **config):
    runtime.shared("conse stand-in", StandInConse)
    made = RestraintConfig(model="stand-in", concepts=("chains",), ordinary=("a belt", "a dog"), **config)
    (found,) = Restraint(made).detect([Sample(pixels=np.full((2, 2, 3), color, np.uint8))])
    return [(one.label, one.score, one.evidence) for one in found]


class TestConcepts:
    def test_a_picture_near_a_concept_and_nearer_than_anything_ordinary_is_a_cue(self):
        assert cues((41, 30, 5)) == [
            ("cue: concept", 0.41, "0.41 for chains; next: a belt 0.30; seen as chain 0.41, belt 0.30, dog 0.05")
        ]

    def test_a_picture_below_the_floor_or_near_something_ordinary_is_no_cue(self):
        assert cues((39, 30, 5)) == cues((41, 5, 42)) == []
        assert cues((39, 30, 5), concept_floor=0.38) != []

    def test_a_counter_example_of_the_operator_suppresses_a_concept(self, tmp_path):
        gallery = Gallery(str(tmp_path / "restraints"))
        chained = (90, 30, 5)
        Image.new("RGB", (20, 20), chained).save(tmp_path / "gate.png")
        gallery.add("not the gate", tmp_path / "gate.png")
        assert cues(chained, gallery=gallery.uri) == []
        gallery.remove("not the gate")
        gallery.add("the gate", tmp_path / "gate.png")
        assert [label for label, *_ in cues(chained, gallery=gallery.uri)] == ["cue: concept", "cue: exemplar the gate"]


class TestExemplars:
    def test_exemplars_from_the_threshold_on_are_cues_by_name(self):
        assert nearest([Match("cell", "a.png", 0.7), Match("van", "b.png", 0.5)], 0.68) == [
            Hint("exemplar cell", 0.7, "0.70 alike to a.png")
        ]
        assert nearest([], 0.68) == []

    def test_a_nearer_counter_example_suppresses_every_cue(self):
        cell, office = Match("cell", "a.png", 0.7), Match("not office", "b.png", 0.8)
        assert nearest([office, cell], 0.68) is None
        assert nearest([Match("cell", "a.png", 0.9), office], 0.68) == [
            Hint("exemplar cell", 0.9, "0.90 alike to a.png")
        ]
        assert nearest([Match("not office", "b.png", 0.6)], 0.68) == []

    def test_exemplars_change_the_version_of_embedded_only(self, tmp_path):
        gallery = Gallery(str(tmp_path / "restraints"))
        config = RestraintConfig(gallery=gallery.uri)
        before = Restraint.version(config)
        gallery.add("cell", saved(tmp_path, 20))
        assert Restraint.version(config) == f"{config.model} gallery:{gallery.version()}" != before
        on_card = RestraintConfig(backend="gpu", gallery=gallery.uri)
        assert Restraint.version(on_card) == on_card.model


def saved(folder, side):
    path = folder / f"{side}.png"
    Image.new("RGB", (side, side), (side, 0, 0)).save(path)
    return path


ORDINARY = sorted(
    path for folder in ("negatives", "faces", "logos", "text") for path in MEDIA.glob(f"{folder}/*.[pjt]*g")
)


class TestOnMedia:
    pytestmark = on_media

    def test_ordinary_pictures_have_no_cue(self):
        samples = [picture(path.relative_to(MEDIA)) for path in ORDINARY]
        assert len(samples) > 20
        assert [found for found in real("restraint").detect(samples) if found] == []

    def test_a_cropped_and_compressed_copy_of_an_exemplar_is_found_and_no_other_picture(self, tmp_path):
        gallery = Gallery(str(tmp_path / "restraints"))
        gallery.add("the yard", MEDIA / "negatives" / "motorcycle_left.png")
        gallery.add("not a mug", MEDIA / "negatives" / "coffee.png")
        detector = Restraint(RestraintConfig(gallery=gallery.uri))
        copies = [edited(picture(f"negatives/{name}")) for name in ("motorcycle_left.png", "coffee.png", "rocket.jpg")]
        found, *others = detector.detect(copies)
        ((label, score),) = [(one.label, one.score) for one in found]
        assert label == "cue: exemplar the yard" and score > 0.68
        assert others == [[], []]

    def test_keywords_in_the_sample_recording_are_a_cue(self):
        whisper = real("whisper")
        (heard,) = whisper.detect([whisper.example()])
        spoken = [Sample(text=sentence.text) for sentence in heard]
        (cue,) = [found for answer in real("restraint").detect(spoken) for found in answer]
        assert (cue.label, cue.text) == ("cue: words", "handcuffs")


def edited(sample):
    height, width = sample.pixels.shape[:2]
    cut = Image.fromarray(sample.pixels).crop((width // 20, height // 20, width * 9 // 10, height * 9 // 10))
    file = io.BytesIO()
    cut.save(file, "JPEG", quality=40)
    return Sample(pixels=np.asarray(Image.open(file)))
