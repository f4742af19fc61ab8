"""Files through the detectors, with stand-ins for the detectors: what is asked, carried over, embedded and recalled."""

import asyncio
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
import pytest
from PIL import Image

from cluster.cache import Cache, FileStore
from cluster.records import Detection, Failure, Finding, MediaItem, ModelVersion, Sample, Segment, Usage, Vector
from cluster.results.codec import to_row
from cluster.settings import Decoding
from deployments import events
from deployments.detector import DetectorAway, DetectorResponse
from pipelines.detect.detecting import File, analyze
from pipelines.detect.memo import Content, Memory
from pipelines.media import decoding

RED, BLUE = (200, 20, 20), (20, 20, 200)


class StandIn:
    """`eye` names a picture's colour and reads it as text, `ear` tells a sound's length, `words` embeds texts."""

    takes: ClassVar = {"image": {"eye"}, "sound": {"ear"}, "text": {"words"}}

    def __init__(self, failing: Iterable[str] = (), away: Iterable[str] = (), **other: ModelVersion) -> None:
        names = sorted(set().union(*self.takes.values()))
        self.model_versions = {name: ModelVersion(name, f"{name}-1", 0.5) for name in names} | other
        self.states = dict.fromkeys(names, "as it was")
        self.failing = failing
        self.gone = frozenset(away)
        self.asked: list[tuple[str, int]] = []
        self.texts: list[str] = []

    def taking(self, modality: str) -> set[str]:
        return self.takes[modality]

    async def ask(self, names: Iterable[str], samples: list[Sample]) -> dict[str, DetectorResponse]:
        names = sorted(names)
        self.asked += [(name, len(samples)) for name in names]
        answered = {}
        for name in sorted(set(names) - self.gone):
            failure = Failure(name, "it is tired")
            found = [failure if name in self.failing else self._answer(name, one) for one in samples]
            answered[name] = DetectorResponse(found, seconds=len(samples), gpu_seconds=len(samples) / 2)
        if gone := self.gone & set(names):
            raise DetectorAway(", ".join(sorted(gone)), answered)
        return answered

    def _answer(self, name: str, sample: Sample) -> list[Detection]:
        if sample.pixels is not None:
            colour = "red" if sample.pixels[..., 0].mean() > 100 else "blue"
            look = (Vector("image", (1.0, 0.0)),)
            return [
                Detection(colour, 0.75, box=(0, 0, 1, 1), vectors=look),
                Detection("text", 0.5, text=f"this is {colour}"),
                Detection("text", 0.5, text="indeed"),
            ]
        if sample.sound is not None:
            return [Detection("speech", 0.75, span=(0.5, 1.0), text="hello")]
        self.texts.append(str(sample.text))
        return [Detection("text", 1.0, vectors=(Vector("text", (0.0, 1.0)),))]


class InProcess:
    """Decoding without processes of its own; counts what it is asked for."""

    def __init__(self) -> None:
        self.decoded = 0

    def probe(self, source, limits):
        kind = decoding.sniff(source)
        return kind, decoding.probe(source, kind, limits)

    def frames(self, source, kind, limits, segment=None):
        self.decoded += 1
        return decoding.frames(source, kind, limits, segment)

    def sound(self, source, limits, segment=None):
        return decoding.sound(source, limits, segment)


def files(paths: Iterable[Path], wanted: Iterable[str], segment: Segment | None = None) -> list[File]:
    return [
        File(
            MediaItem(p.as_uri(), p.stat().st_size, "e"),
            p,
            hashlib.sha256(p.read_bytes()).hexdigest(),
            frozenset(wanted),
            segment,
        )
        for p in paths
    ]


ALL = ("eye", "ear", "words")


def run(paths, detectors, wanted=ALL, cache=None, decoder=None, segment=None, stored=True, **limits):
    going = files(paths, wanted, segment)
    return asyncio.run(analyze(going, detectors, decoder or InProcess(), Decoding(**limits), cache, stored))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(FileStore(tmp_path / "state" / "cache.sqlite", max_mb=10))


def picture(path: Path, colour: tuple[int, int, int]) -> Path:
    Image.new("RGB", (64, 48), colour).save(path)
    return path


def film(path: Path, colours: list[tuple[int, int, int]], sound_s: float = 0) -> Path:
    """One second of each colour, and a tone."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = out.add_stream("aac", rate=16_000, layout="mono") if sound_s else None
        for colour in colours:
            card = np.full((48, 64, 3), colour, np.uint8)
            for _ in range(10):
                out.mux(video.encode(av.VideoFrame.from_ndarray(card, format="rgb24")))
        out.mux(video.encode())
        if audio is not None:
            tone = np.sin(np.arange(int(16_000 * sound_s)) / 5).astype(np.float32)[None] * 0.3
            heard = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            heard.sample_rate = 16_000
            out.mux(audio.encode(heard))
            out.mux(audio.encode())
    return path


def test_pictures_of_different_files_go_to_a_detector_together(tmp_path):
    detectors = StandIn()
    results = run([picture(tmp_path / f"{n}.png", RED if n % 2 else BLUE) for n in range(5)], detectors)
    assert ("eye", 5) in detectors.asked
    assert [result.findings[0].detection.label for result in results] == ["blue", "red", "blue", "red", "blue"]
    assert all(result.findings[0].detection.time_s is None for result in results)


def test_no_batch_is_larger_than_the_chunk(tmp_path):
    detectors = StandIn()
    run([picture(tmp_path / f"{n}.png", RED) for n in range(5)], detectors, chunk_frames=2)
    assert [size for name, size in detectors.asked if name == "eye"] == [2, 2, 1]


@pytest.mark.parametrize("chunk", [1, 2, 16])
def test_a_frame_that_looks_the_same_is_not_asked_about_again_and_says_so(tmp_path, chunk):
    detectors = StandIn()
    (result,) = run([film(tmp_path / "a.mp4", [RED, RED, RED, BLUE])], detectors, chunk_frames=chunk)
    colours = [f for f in result.findings if f.detection.box is not None]
    assert [(f.detection.time_s, f.detection.label, f.propagated) for f in colours] == [
        (0.0, "red", False),
        (1.0, "red", True),
        (2.0, "red", True),
        (3.0, "blue", False),
    ]
    assert sum(size for name, size in detectors.asked if name == "eye") == 2
    assert (result.frames, result.frames_propagated) == (4, 2)
    assert [bool(f.detection.vectors) for f in colours] == [True, False, False, True]


def test_what_was_read_in_a_frame_is_embedded_as_one_passage_and_speech_by_the_sentence(tmp_path):
    detectors = StandIn()
    (result,) = run([film(tmp_path / "a.mp4", [RED, BLUE], sound_s=2)], detectors)
    assert sorted(detectors.texts) == ["hello", "this is blue indeed", "this is red indeed"]
    embedded = [f.detection.text for f in result.findings if [v.space for v in f.detection.vectors] == ["text"]]
    assert sorted(embedded) == ["hello", "this is blue", "this is red"]


def test_a_film_without_sound_asks_no_ear_and_a_sound_no_eye(tmp_path):
    detectors = StandIn()
    run([film(tmp_path / "silent.mp4", [RED])], detectors)
    assert "ear" not in {name for name, _ in detectors.asked}


def test_only_the_wanted_detectors_are_asked_and_count_as_having_answered(tmp_path):
    detectors = StandIn()
    (result,) = run([picture(tmp_path / "a.png", RED)], detectors, wanted=["eye"], stored=False)
    assert {name for name, _ in detectors.asked} == {"eye"}
    assert result.model_versions == (ModelVersion("eye", "eye-1", 0.5),)


def test_a_detector_that_fails_costs_only_its_own_findings_and_is_asked_again_next_time(tmp_path):
    (result,) = run([picture(tmp_path / "a.png", RED)], StandIn(failing=frozenset(["words"])))
    assert [f.detection.label for f in result.findings] == ["red", "text", "text"]
    assert result.failures == (Failure("words", "it is tired"),)
    assert [a.detector for a in result.model_versions] == ["ear", "eye"]


def test_a_broken_file_is_a_result_and_its_neighbours_do_not_notice(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture(tmp_path / "a.png", RED).read_bytes()[:60])
    bad, good = run([broken, tmp_path / "a.png"], StandIn())
    assert [failure.step for failure in bad.failures] == ["decode"] and bad.findings == ()
    assert good.failures == () and good.findings
    assert len(bad.model_versions) == 3  # asking again would not mend the file


def test_a_file_that_was_not_fetched_is_nobodys_answer():
    file = File(MediaItem("s3://b/x.png", 3, "e"), None, None, frozenset(["eye"]), failures=[Failure("fetch", "gone")])
    (result,) = asyncio.run(analyze([file], StandIn(), InProcess(), Decoding()))
    assert result.failures == (Failure("fetch", "gone"),)
    assert result.model_versions == ()


def test_a_file_is_what_its_bytes_say_not_its_name(tmp_path):
    path = picture(tmp_path / "a.png", RED).rename(tmp_path / "a.mp4")
    (result,) = run([path], StandIn())
    assert result.item.kind == "image" and result.findings


class Warned(StandIn):
    """`words` also warns of what is red, as a cue found in the words themselves."""

    def _answer(self, name: str, sample: Sample) -> list[Detection]:
        found = super()._answer(name, sample)
        warned = sample.text is not None and "red" in sample.text
        return found + ([Detection("warning", 0.5, text="RED", evidence="read")] if warned else [])


def test_what_is_found_in_words_stands_where_and_when_they_stood(tmp_path):
    (result,) = run([film(tmp_path / "a.mp4", [BLUE, RED])], Warned())
    (warning,) = (f for f in result.findings if f.detection.label == "warning")
    (line,) = (f for f in result.findings if f.detection.text == "this is red")
    assert (warning.detector, warning.detection.evidence) == ("words", "read")
    assert warning.detection.time_s == line.detection.time_s == 1.0


def told(result):
    """What its row says, but when, what it cost, and where the file lay."""
    row = to_row(result, 1, "job", 0)
    return {key: value for key, value in row.items() if key not in ("analyzed_at", "usage", "uri")}


def test_a_content_that_was_answered_for_is_neither_decoded_nor_asked_about_again_whatever_its_name(tmp_path, cache):
    first = run([film(tmp_path / "a.mp4", [RED, RED, BLUE], sound_s=2)], Warned(), cache=cache)
    (tmp_path / "a.mp4").rename(tmp_path / "b.mp4")
    detectors, decoder = Warned(), InProcess()
    again = run([tmp_path / "b.mp4"], detectors, cache=cache, decoder=decoder)
    assert detectors.asked == [] and decoder.decoded == 0
    assert [told(result) for result in again] == [told(result) for result in first]
    assert {usage.detector: usage.reused for usage in first[0].usage} == dict.fromkeys(ALL, False)
    assert again[0].usage == tuple(Usage(name, 0.0, 0.0, reused=True) for name in sorted(ALL))


def test_of_two_copies_in_one_batch_the_second_is_given_the_answers_of_the_first(tmp_path, cache):
    one, other = (picture(tmp_path / name, RED) for name in ("a.png", "b.png"))
    detectors = StandIn()
    first, second, _ = run([one, other, picture(tmp_path / "c.png", BLUE)], detectors, cache=cache)
    assert sum(size for name, size in detectors.asked if name == "eye") == 2
    assert told(first) == told(second) and second.usage[1] == Usage("eye", 0.0, 0.0, reused=True)
    detectors = StandIn()
    run([one, other], detectors)
    assert ("eye", 2) in detectors.asked, "without a cache both are looked at"


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
def test_an_answer_is_recalled_only_where_the_same_would_be_answered(tmp_path, cache, changed, asked):
    path = film(tmp_path / "a.mp4", [RED, BLUE], sound_s=2)
    run([path], StandIn(), cache=cache)
    detectors = StandIn(**changed.pop("detectors", {}))
    (result,) = run([path], detectors, cache=cache, **changed)
    assert {name for name, _ in detectors.asked} == asked
    assert {usage.detector for usage in result.usage if not usage.reused} == asked
    assert all(finding.model == detectors.model_versions[finding.detector].model for finding in result.findings)


def test_an_answer_is_not_recalled_once_what_else_it_depends_on_has_changed(tmp_path, cache):
    path = picture(tmp_path / "a.png", RED)
    run([path], StandIn(), cache=cache)
    detectors = StandIn()
    detectors.states["eye"] = "somebody else is enrolled"
    run([path], detectors, cache=cache)
    assert detectors.asked == [("eye", 1)]


def test_segments_that_begin_or_hear_elsewhere_are_other_contents(tmp_path, cache):
    path = film(tmp_path / "a.mp4", [RED, BLUE, RED, BLUE], sound_s=4)
    first = Segment(0, 2, 2.0, 0.0, 2.0, None, 0.0, 2.1)
    second = Segment(1, 2, 2.0, 2.0, None, 1.9, 2.1, None)
    run([path], StandIn(), cache=cache, segment=first)
    for other, asked in ((first, 0), (second, 1), (Segment(0, 2, 2.0, 0.0, 2.0, None, 0.0, 1.9), 1)):
        detectors = StandIn()
        (result,) = run([path], detectors, cache=cache, segment=other)
        assert sum(name == "ear" for name, _ in detectors.asked) == asked
        assert result.segment == other


def test_only_who_has_not_answered_is_asked_and_only_about_the_files_that_miss_it(tmp_path, cache):
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


def test_a_detector_of_sounds_that_is_new_has_no_picture_decoded(tmp_path, cache):
    path = film(tmp_path / "a.mp4", [RED, BLUE], sound_s=2)
    (first,) = run([path], StandIn(), wanted=["eye"], cache=cache)
    decoder = InProcess()
    (result,) = run([path], StandIn(), wanted=["ear"], cache=cache, decoder=decoder)
    assert decoder.decoded == 0 and [f.detector for f in result.findings] == ["ear"]
    assert (result.frames, result.thumbnail) == (first.frames, first.thumbnail)


def test_a_failure_is_not_remembered_and_the_others_are(tmp_path, cache):
    path = picture(tmp_path / "a.png", RED)
    run([path], StandIn(failing=["eye"]), wanted=["eye", "ear"], cache=cache)
    detectors = StandIn()
    (result,) = run([path], detectors, wanted=["eye", "ear"], cache=cache)
    assert ("eye", 1) in detectors.asked and result.failures == ()
    assert {usage.detector: usage.reused for usage in result.usage} == {"eye": False, "ear": True}


def test_what_was_found_before_a_file_turned_out_broken_is_not_remembered(tmp_path, cache):
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


def test_a_value_that_was_changed_anywhere_is_a_miss():
    held, asked = Held(), (Content("ab" * 32), ModelVersion("eye", "eye-1", 0.5))
    memory = Memory(held, Decoding(), {})
    memory.keep({}, {asked: [Finding("eye", "eye-1", Detection("red", 0.5))]})
    assert memory.findings([asked])
    ((key, value),) = held.items()
    for n in range(0, len(value), 7):
        held[key] = value[:n] + bytes([value[n] ^ 1]) + value[n + 1 :]
        assert memory.findings([asked]) == {}
    for held[key] in (b"", value[:-1], value + b"x"):
        assert memory.findings([asked]) == {}


def test_a_cache_that_is_damaged_is_as_good_as_none(tmp_path, cache):
    path = picture(tmp_path / "a.png", RED)
    (first,) = run([path], StandIn(), cache=cache)
    connection = cache.store._connection()
    with connection:
        connection.execute("UPDATE answers SET value = substr(value, 1, length(value) - 9) || 'x'")
    (again,) = run([path], detectors := StandIn(), cache=cache)
    assert told(again) == told(first) and ("eye", 1) in detectors.asked


def test_what_a_detector_costs_is_told_by_the_file_it_worked_for(tmp_path):
    one, two = film(tmp_path / "a.mp4", [RED, BLUE, RED]), picture(tmp_path / "b.png", RED)
    first, second = run([one, two], StandIn())
    assert first.usage == (Usage("ear", 0.0, 0.0), Usage("eye", 3.0, 1.5), Usage("words", 2.0, 1.0))
    assert second.usage == (Usage("ear", 0.0, 0.0), Usage("eye", 1.0, 0.5), Usage("words", 0.0, 0.0))
    assert sum(usage.seconds for usage in (*first.usage, *second.usage)) == 6


def test_words_that_are_newly_read_get_their_vectors_though_only_the_reader_was_wanted(tmp_path):
    (result,) = run([picture(tmp_path / "a.png", RED)], Warned(), wanted=["eye"])
    line = next(f.detection for f in result.findings if f.detection.text == "this is red")
    assert [vector.space for vector in line.vectors] == ["text"]
    assert {f.detector for f in result.findings} == {"eye"}, "what words itself found was not wanted"
    assert [a.detector for a in result.model_versions] == ["eye"] and [s.detector for s in result.usage] == ["eye"]


def test_words_without_vectors_are_asked_for_again_of_the_one_who_read_them(tmp_path):
    (result,) = run([picture(tmp_path / "a.png", RED)], StandIn(failing=["words"]), wanted=["eye"])
    assert result.failures == (Failure("eye", "words on its words: it is tired"),)
    assert result.model_versions == ()


def test_who_takes_words_is_given_those_that_others_had_read_before(tmp_path, cache):
    path = film(tmp_path / "a.mp4", [BLUE, RED])
    run([path], StandIn(), cache=cache)
    detectors = Warned(words=ModelVersion("words", "words-2", 0.5))
    (result,) = run([path], detectors, wanted=["words"], cache=cache)
    assert sorted(detectors.texts) == ["this is blue indeed", "this is red indeed"]
    (warning,) = result.findings
    assert (warning.model, warning.detection.label, warning.detection.time_s) == ("words-2", "warning", 1.0)


def test_the_same_words_are_asked_about_once(tmp_path, cache):
    detectors = StandIn()
    paths = [film(tmp_path / "a.mp4", [RED, BLUE, RED]), picture(tmp_path / "b.png", RED)]
    run(paths, detectors, cache=cache)
    assert sorted(detectors.texts) == ["this is blue indeed", "this is red indeed"]
    detectors = StandIn()
    run([film(tmp_path / "c.mp4", [BLUE, BLUE, RED, BLUE])], detectors, cache=cache)
    assert detectors.texts == []


@pytest.mark.parametrize("who", ["eye", "words"])
def test_while_a_detector_is_away_nothing_that_the_others_answered_is_lost(tmp_path, cache, who):
    paths = [film(tmp_path / f"{n}.mp4", [RED, BLUE, RED], sound_s=2) for n in range(2)]
    with pytest.raises(DetectorAway, match=f"^{who}$"):
        run(paths, StandIn(away=[who]), cache=cache, chunk_frames=2)
    detectors = StandIn()
    results = run(paths, detectors, cache=cache)
    assert {name for name, _ in detectors.asked} == {"eye", "words"} - ({"eye"} if who == "words" else set())
    assert all(not result.failures and len(result.model_versions) == 3 for result in results)


def test_who_is_away_is_waited_for_once_and_the_others_finish_their_files(tmp_path, cache):
    class Two(StandIn):
        takes: ClassVar = {"image": {"eye", "other"}, "sound": {"ear"}, "text": {"words"}}

    detectors = Two(away=["other"])
    with pytest.raises(DetectorAway):
        run([film(tmp_path / "a.mp4", [RED, BLUE, RED])], detectors, ("eye", "other"), cache, chunk_frames=1)
    assert [call for call in detectors.asked if call[0] == "other"] == [("other", 1)]
    assert [call for call in detectors.asked if call[0] == "eye"] == [("eye", 1)] * 3
