"""Files through the detectors, with stand-ins for the detectors: what is asked, carried over, embedded and kept."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
import pytest
from PIL import Image

from cluster.records import Analyzer, Detection, Failure, MediaItem, Sample, Vector
from cluster.settings import Decoding
from pipelines.detecting import File, analyze

RED, BLUE = (200, 20, 20), (20, 20, 200)


class StandIn:
    """`eye` names a picture's colour and reads it as text, `ear` tells a sound's length, `words` embeds texts."""

    models: ClassVar = {"eye": "eye-1", "ear": "ear-1", "words": "words-1"}

    def __init__(self, failing: frozenset[str] = frozenset()) -> None:
        self.failing = failing
        self.asked: list[tuple[str, int]] = []
        self.texts: list[str] = []

    def taking(self, modality: str) -> set[str]:
        return {{"image": "eye", "sound": "ear", "text": "words"}[modality]}

    async def ask(self, names: Iterable[str], samples: list[Sample]):
        names = list(names)
        self.asked += [(name, len(samples)) for name in names]
        return {
            name: [Failure(name, "it is tired") if name in self.failing else self._answer(one) for one in samples]
            for name in names
        }

    def _answer(self, sample: Sample) -> list[Detection]:
        if sample.pixels is not None:
            colour = "red" if sample.pixels[..., 0].mean() > 100 else "blue"
            look = (Vector("looks", (1.0, 0.0)),)
            return [
                Detection(colour, 0.9, box=(0, 0, 1, 1), vectors=look),
                Detection("text", 0.8, text=f"this is {colour}"),
                Detection("text", 0.8, text="indeed"),
            ]
        if sample.sound is not None:
            return [Detection("speech", 0.7, span=(0.5, 1.0), text="hello")]
        self.texts.append(str(sample.text))
        return [Detection("text", 1.0, vectors=(Vector("words", (0.0, 1.0)),))]


def run(paths: list[Path], detectors: StandIn, wanted: Iterable[str] = StandIn.models, **limits):
    files = [File(MediaItem(p.as_uri(), p.stat().st_size, "e"), p, "ab" * 32, frozenset(wanted)) for p in paths]
    return asyncio.run(analyze(files, detectors, Decoding(**limits)))


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
    assert [(f.detection.time_s, f.detection.label, f.carried) for f in colours] == [
        (0.0, "red", False),
        (1.0, "red", True),
        (2.0, "red", True),
        (3.0, "blue", False),
    ]
    assert sum(size for name, size in detectors.asked if name == "eye") == 2
    assert (result.frames, result.frames_carried) == (4, 2)
    assert [bool(f.detection.vectors) for f in colours] == [True, False, False, True]


def test_what_was_read_in_a_frame_is_embedded_as_one_passage_and_speech_by_the_sentence(tmp_path):
    detectors = StandIn()
    (result,) = run([film(tmp_path / "a.mp4", [RED, BLUE], sound_s=2)], detectors)
    assert sorted(detectors.texts) == ["hello", "this is blue indeed", "this is red indeed"]
    embedded = [f.detection.text for f in result.findings if [v.space for v in f.detection.vectors] == ["words"]]
    assert sorted(embedded) == ["hello", "this is blue", "this is red"]


def test_a_film_without_sound_asks_no_ear_and_a_sound_no_eye(tmp_path):
    detectors = StandIn()
    run([film(tmp_path / "silent.mp4", [RED])], detectors)
    assert "ear" not in {name for name, _ in detectors.asked}


def test_only_the_wanted_detectors_are_asked_and_count_as_having_answered(tmp_path):
    detectors = StandIn()
    (result,) = run([picture(tmp_path / "a.png", RED)], detectors, wanted=["eye"])
    assert {name for name, _ in detectors.asked} == {"eye"}
    assert result.analyzers == (Analyzer("eye", "eye-1"),)


def test_a_detector_that_fails_costs_only_its_own_findings_and_is_asked_again_next_time(tmp_path):
    (result,) = run([picture(tmp_path / "a.png", RED)], StandIn(failing=frozenset(["words"])))
    assert [f.detection.label for f in result.findings] == ["red", "text", "text"]
    assert result.failures == (Failure("words", "it is tired"),)
    assert [a.detector for a in result.analyzers] == ["ear", "eye"]


def test_a_broken_file_is_a_result_and_its_neighbours_do_not_notice(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture(tmp_path / "a.png", RED).read_bytes()[:60])
    bad, good = run([broken, tmp_path / "a.png"], StandIn())
    assert [failure.step for failure in bad.failures] == ["decode"] and bad.findings == ()
    assert good.failures == () and good.findings
    assert len(bad.analyzers) == 3  # asking again would not mend the file


def test_a_file_that_was_not_fetched_is_nobodys_answer():
    file = File(MediaItem("s3://b/x.png", 3, "e"), None, None, frozenset(["eye"]), failures=[Failure("fetch", "gone")])
    (result,) = asyncio.run(analyze([file], StandIn(), Decoding()))
    assert result.failures == (Failure("fetch", "gone"),)
    assert result.analyzers == ()


def test_a_file_is_what_its_bytes_say_not_its_name(tmp_path):
    path = picture(tmp_path / "a.png", RED).rename(tmp_path / "a.mp4")
    (result,) = run([path], StandIn())
    assert result.item.kind == "image" and result.findings


class Warned(StandIn):
    """`words` also warns of what is red, as a cue found in the words themselves."""

    def _answer(self, sample: Sample) -> list[Detection]:
        found = super()._answer(sample)
        warned = sample.text is not None and "red" in sample.text
        return found + ([Detection("warning", 0.5, text="RED", evidence="read")] if warned else [])


def test_what_is_found_in_words_stands_where_and_when_they_stood(tmp_path):
    (result,) = run([film(tmp_path / "a.mp4", [BLUE, RED])], Warned())
    (warning,) = (f for f in result.findings if f.detection.label == "warning")
    (line,) = (f for f in result.findings if f.detection.text == "this is red")
    assert (warning.detector, warning.detection.evidence) == ("words", "read")
    assert warning.detection.time_s == line.detection.time_s == 1.0
