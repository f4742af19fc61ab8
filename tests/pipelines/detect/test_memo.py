"""Answers by content: what is taken from the memo, and what is computed again."""

from typing import ClassVar

import pytest

from cluster.records import Detection, Finding, ModelVersion, Segment, Usage
from cluster.results.codec import to_row
from cluster.settings import Decoding
from deployments import events
from pipelines.detect.memo import Content, Memo
from tests.pipelines.detect.stand_ins import ALL, BLUE, RED, InProcess, StandIn, Warned, film, picture, run


def told(result):
    """The row of a result without its time, its cost and its URI."""
    row = to_row(result, 1, "job", 0)
    return {key: value for key, value in row.items() if key not in ("analyzed_at", "usage", "uri")}


def test_a_known_content_is_neither_decoded_nor_analysed_again_under_any_name(tmp_path, cache):
    first = run([film(tmp_path / "a.mp4", [RED, RED, BLUE], sound_s=2)], Warned(), cache=cache)
    (tmp_path / "a.mp4").rename(tmp_path / "b.mp4")
    detectors, decoder = Warned(), InProcess()
    again = run([tmp_path / "b.mp4"], detectors, cache=cache, decoder=decoder)
    assert detectors.asked == [] and decoder.decoded == 0
    assert [told(result) for result in again] == [told(result) for result in first]
    assert {usage.detector: usage.reused for usage in first[0].usage} == dict.fromkeys(ALL, False)
    assert again[0].usage == tuple(Usage(name, 0.0, 0.0, reused=True) for name in sorted(ALL))


def test_the_second_of_two_copies_in_a_batch_gets_the_answers_of_the_first(tmp_path, cache):
    one, other = (picture(tmp_path / name, RED) for name in ("a.png", "b.png"))
    detectors = StandIn()
    first, second, _ = run([one, other, picture(tmp_path / "c.png", BLUE)], detectors, cache=cache)
    assert sum(size for name, size in detectors.asked if name == "eye") == 2
    assert told(first) == told(second) and second.usage[1] == Usage("eye", 0.0, 0.0, reused=True)
    detectors = StandIn()
    run([one, other], detectors)
    assert ("eye", 2) in detectors.asked, "without a cache both are analysed"


WHOLE = Segment(0, 2, 60.0, 0.0, 2.0, None, 0.0, 2.0)


@pytest.mark.parametrize(
    ("changed", "asked"),
    [
        ({"detectors": {"eye": ModelVersion("eye", "eye-2", 0.5)}}, {"eye"}),
        ({"detectors": {"eye": ModelVersion("eye", "eye-1", 0.25)}}, {"eye"}),
        ({"detectors": {"words": ModelVersion("words", "words-2", 0.5)}}, {"words"}),
        ({"frames_per_s": 2.0}, {"eye", "ear"}),
        ({"max_side_px": 64}, {"eye", "ear"}),
        ({"same_below": 1.0}, {"eye", "ear"}),
        ({"segment": WHOLE}, {"eye", "ear"}),
        ({"chunk_frames": 2}, set()),
    ],
    ids=["model", "floor", "model of words", "frames_per_s", "max_side_px", "same_below", "segment", "chunk"],
)
def test_an_answer_is_reused_only_where_the_same_answer_would_be_computed(tmp_path, cache, changed, asked):
    path = film(tmp_path / "a.mp4", [RED, BLUE], sound_s=2)
    run([path], StandIn(), cache=cache)
    detectors = StandIn(**changed.pop("detectors", {}))
    (result,) = run([path], detectors, cache=cache, **changed)
    assert {name for name, _ in detectors.asked} == asked
    assert {usage.detector for usage in result.usage if not usage.reused} == asked
    assert all(finding.model == detectors.model_versions[finding.detector].model for finding in result.findings)


def test_an_answer_is_not_reused_after_the_state_of_the_detector_has_changed(tmp_path, cache):
    path = picture(tmp_path / "a.png", RED)
    run([path], StandIn(), cache=cache)
    detectors = StandIn()
    detectors.states["eye"] = "somebody else is enrolled"
    run([path], detectors, cache=cache)
    assert detectors.asked == [("eye", 1)]


def test_segments_with_other_bounds_are_other_contents(tmp_path, cache):
    path = film(tmp_path / "a.mp4", [RED, BLUE, RED, BLUE], sound_s=4)
    first = Segment(0, 2, 2.0, 0.0, 2.0, None, 0.0, 2.1)
    second = Segment(1, 2, 2.0, 2.0, None, 1.9, 2.1, None)
    run([path], StandIn(), cache=cache, segment=first)
    for other, asked in ((first, 0), (second, 1), (Segment(0, 2, 2.0, 0.0, 2.0, None, 0.0, 1.9), 1)):
        detectors = StandIn()
        (result,) = run([path], detectors, cache=cache, segment=other)
        assert sum(name == "ear" for name, _ in detectors.asked) == asked
        assert result.segment == other


def test_only_detectors_without_an_answer_run_and_only_on_the_files_that_miss_it(tmp_path, cache):
    class Two(StandIn):
        takes: ClassVar = {"image": {"eye", "other"}, "sound": {"ear"}, "text": {"words"}}

    old, new = picture(tmp_path / "a.png", RED), picture(tmp_path / "b.png", BLUE)
    run([old], Two(), wanted=["eye"], cache=cache)
    detectors = Two()
    before = events.counts()
    first, second = run([old, new], detectors, wanted=["eye", "other"], cache=cache)
    assert sorted(call for call in detectors.asked if call[0] != "words") == [("eye", 1), ("other", 2)]
    assert {f.detector for f in first.findings} == {f.detector for f in second.findings} == {"eye", "other"}
    assert (first.frames, second.frames) == (1, 1)
    counted = {event: by - before.get(event, 0) for event, by in events.counts().items()}
    assert (counted["eye: in the cache"], counted["eye: not in the cache"]) == (1, 1)
    assert (counted.get("other: in the cache", 0), counted["other: not in the cache"]) == (0, 2)


def test_a_new_sound_detector_decodes_no_frames(tmp_path, cache):
    path = film(tmp_path / "a.mp4", [RED, BLUE], sound_s=2)
    (first,) = run([path], StandIn(), wanted=["eye"], cache=cache)
    decoder = InProcess()
    (result,) = run([path], StandIn(), wanted=["ear"], cache=cache, decoder=decoder)
    assert decoder.decoded == 0 and [f.detector for f in result.findings] == ["ear"]
    assert (result.frames, result.thumbnail) == (first.frames, first.thumbnail)


def test_a_failure_is_not_cached_and_the_other_answers_are(tmp_path, cache):
    path = picture(tmp_path / "a.png", RED)
    run([path], StandIn(failing=["eye"]), wanted=["eye", "ear"], cache=cache)
    detectors = StandIn()
    (result,) = run([path], detectors, wanted=["eye", "ear"], cache=cache)
    assert ("eye", 1) in detectors.asked and result.failures == ()
    assert {usage.detector: usage.reused for usage in result.usage} == {"eye": False, "ear": True}


def test_findings_of_a_file_that_turns_out_broken_are_not_cached(tmp_path, cache):
    whole = film(tmp_path / "a.mkv", [RED, BLUE, RED]).read_bytes()
    (tmp_path / "a.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    for _ in range(2):
        detectors = StandIn()
        (result,) = run([tmp_path / "a.mkv"], detectors, cache=cache)
        assert result.failures and "eye" in {name for name, _ in detectors.asked}


class Held(dict):
    """A cache that is a dict."""

    def get(self, keys):
        return {key: self[key] for key in keys if key in self}

    put = dict.update


def test_a_value_with_any_changed_byte_is_a_miss():
    held, asked = Held(), (Content("ab" * 32), ModelVersion("eye", "eye-1", 0.5))
    memo = Memo(held, Decoding(), {})
    memo.keep({}, {asked: [Finding("eye", "eye-1", Detection("red", 0.5))]})
    assert memo.findings([asked])
    ((key, value),) = held.items()
    for n in range(0, len(value), 7):
        held[key] = value[:n] + bytes([value[n] ^ 1]) + value[n + 1 :]
        assert memo.findings([asked]) == {}
    for held[key] in (b"", value[:-1], value + b"x"):
        assert memo.findings([asked]) == {}


def test_a_damaged_cache_counts_as_empty(tmp_path, cache):
    path = picture(tmp_path / "a.png", RED)
    (first,) = run([path], StandIn(), cache=cache)
    connection = cache.store._connection()
    with connection:
        connection.execute("UPDATE answers SET value = substr(value, 1, length(value) - 9) || 'x'")
    (again,) = run([path], detectors := StandIn(), cache=cache)
    assert told(again) == told(first) and ("eye", 1) in detectors.asked
