import numpy as np
import pytest

from cluster.records import SOUND_RATE_HZ
from deployments.models import languages
from deployments.models.speech import Piece

SILENT = np.zeros((1, 1500, 1), np.float32)


def piece(*lengths_s):
    """A piece of utterances of these lengths, each a second after the one before; its sound counts the samples."""
    starts = [sum(lengths_s[:n]) + n for n in range(len(lengths_s))]
    sound = np.arange(round(sum(lengths_s) * SOUND_RATE_HZ), dtype=np.float32)
    return Piece(sound, tuple((start, start + length) for start, length in zip(starts, lengths_s, strict=True)))


def runs(said, *told):
    """Languages of the whole piece and of each stretch in turn -> the spans of the parts."""
    answers = iter(told)
    return [part.spans for part in languages.runs(said, SILENT, lambda: SILENT, lambda _: next(answers))]


EN, ES = {"en": 0.9, "es": 0.05}, {"es": 0.8, "en": 0.02}


def test_a_stretch_has_two_seconds_at_least_and_a_short_rest_joins_the_one_before():
    assert languages.stretches(piece(3, 1, 1.5, 4)) == [(0, 1), (1, 3), (3, 4)]
    assert languages.stretches(piece(3, 1)) == [(0, 2)]
    assert languages.stretches(piece(0.5, 0.5)) == [(0, 2)]


def test_a_piece_is_cut_where_the_language_changes():
    said = piece(3, 4, 5)
    assert runs(said, EN, EN, ES, EN) == [said.spans[:1], said.spans[1:2], said.spans[2:]]
    assert runs(said, EN, EN, ES, ES) == [said.spans[:1], said.spans[1:]]


def test_the_sound_of_a_part_is_that_of_its_spans():
    said, answers = piece(3, 4), iter([EN, EN, ES])
    first, second = languages.runs(said, SILENT, lambda: SILENT, lambda _: next(answers))
    assert len(first.sound) == 3 * SOUND_RATE_HZ and second.sound[0] == 3 * SOUND_RATE_HZ


@pytest.mark.parametrize(
    "told",
    [
        (EN, EN, EN, EN),
        (EN, EN, {"la": 0.4, "en": 0.1}, EN),  # unsure
        (EN, {"es": 0.7, "en": 0.2}, EN, EN),  # may be the language of the others
        (EN, {"cy": 0.3}, {"nn": 0.3}, {"la": 0.3}),
    ],
)
def test_an_unsure_stretch_has_the_language_of_its_surroundings(told):
    said = piece(3, 4, 5)
    assert runs(said, *told) == [said.spans]


def test_a_single_stretch_is_not_asked_for():
    said = piece(1, 1)
    assert languages.runs(said, SILENT, lambda: SILENT, None) == [said]


def test_a_stretch_is_followed_by_silence_of_the_piece_or_of_its_own_if_the_piece_fills_the_input():
    lengths = []

    def tell(encoded):
        lengths.append(encoded.shape[1])
        return EN

    asked = []
    for said in (piece(3, 4), piece(14, 15)):
        languages.runs(said, SILENT, lambda: asked.append(1) or SILENT, tell)
    assert lengths == [1500, 151 + 200, 201 + 200, 1500, 701 + 200, 751 + 200]
    assert asked == [1]
