import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster.errors import SettingsError
from deployments.models import speech
from deployments.models.speech import Turn, Word, timed, with_speakers


def words(*said):
    return [Word(text, float(n), n + 0.9, 0.5) for n, text in enumerate(said)]


def aligned(*said):
    return [{"word": text, "start": 10.0 + n, "end": 10.5 + n, "score": 0.5} for n, text in enumerate(said)]


def times(found):
    return [(word.start_s, word.end_s) for word in found]


def test_words_get_the_aligners_times_and_keep_everything_else():
    said = words(" the", " gate.")
    found = timed(said, aligned("the", "gate."))
    assert times(found) == [(10.0, 10.5), (11.0, 11.5)]
    assert [(word.text, word.probability) for word in found] == [(" the", 0.5), (" gate.", 0.5)]


def test_the_aligner_may_split_the_same_letters_differently():
    assert times(timed(words(" at", " 14", ":30"), aligned("at", "14:30"))) == [(10, 10.5), (11, 11.5), (11, 11.5)]
    assert times(timed(words("你好", "吗"), aligned(*"你好吗"))) == [(10, 11.5), (12, 12.5)]


def test_a_word_that_could_not_be_aligned_keeps_its_time():
    assert times(timed(words(" a", " b"), [{"word": "a"}, *aligned("b")])) == [(0, 0.9), (10, 10.5)]


@pytest.mark.parametrize("found", [[], aligned("the"), aligned("the", "date")])
def test_the_aligners_words_are_ignored_if_the_letters_differ(found):
    said = words(" the", " gate")
    assert timed(said, found) == said


def test_a_word_gets_the_speaker_who_overlaps_it_most():
    turns = [Turn(0, 0.3, "A"), Turn(0.2, 0.5, "B"), Turn(0.6, 0.9, "B"), Turn(1, 2, "A")]
    assert [word.speaker for word in with_speakers(words(" well", " no"), turns)] == ["B", "A"]


def test_a_word_between_turns_gets_the_speaker_of_the_word_before():
    turns = [Turn(1, 1.9, "A"), Turn(3, 4, "B")]
    said = with_speakers(words(" er", " yes", " and", " no"), turns)
    assert [word.speaker for word in said] == ["", "A", "A", "B"]


def test_without_turns_no_speaker_is_named():
    assert [word.speaker for word in with_speakers(words(" yes"), [])] == [""]


@pytest.fixture
def halves(tmp_path):
    first, second, folder = (tmp_path / name for name in ("first", "second", "whole"))
    for one in (first, second, folder):
        one.mkdir()
    (first / "model.bin.part1").write_bytes(b"who")
    (second / "model.bin.part2").write_bytes(b"le")
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        (first / name).write_text(name)
    return first, second, folder


def test_two_halves_of_a_model_are_joined_once(halves):
    sha256 = hashlib.sha256(b"whole").hexdigest()
    folder = speech.joined(*halves, sha256)
    assert list(halves[2].iterdir()) == [folder]
    assert (folder / "model.bin").read_bytes() == b"whole"
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.bin",
        "tokenizer.json",
        "vocabulary.txt",
    ]
    made = (folder / "model.bin").stat()
    speech.joined(*halves, sha256)
    assert (folder / "model.bin").stat().st_mtime_ns == made.st_mtime_ns


def test_several_processes_may_join_it_at_once(halves):
    sha256 = hashlib.sha256(b"whole").hexdigest()
    with ThreadPoolExecutor(8) as at_once:
        folders = set(at_once.map(lambda _: speech.joined(*halves, sha256), range(32)))
    assert len(folders) == 1 and list(halves[2].iterdir()) == list(folders)


def test_a_joined_model_with_another_digest_is_refused(halves):
    with pytest.raises(SettingsError, match="does not hold the model that was packaged"):
        speech.joined(*halves, "0" * 64)
