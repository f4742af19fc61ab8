"""Files through stand-in detectors: batching, propagated frames, failures, detectors that are away."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import ClassVar

import pytest

from cluster.records import Detection, Failure, MediaItem, ModelVersion, Sample, Usage, asset_id
from cluster.settings import Decoding
from cluster.traces import spans
from deployments.detector import DetectorAway
from pipelines.detect.detecting import File, analyze
from tests.cluster.traces.kept import kept_spans
from tests.pipelines.detect.stand_ins import BLUE, RED, InProcess, StandIn, Warned, film, picture, run


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
def test_an_unchanged_frame_is_not_analysed_again_and_its_findings_are_propagated(tmp_path, chunk):
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


def test_the_text_of_a_frame_is_embedded_as_one_passage_and_speech_by_sentence(tmp_path):
    detectors = StandIn()
    (result,) = run([film(tmp_path / "a.mp4", [RED, BLUE], sound_s=2)], detectors)
    assert sorted(detectors.texts) == ["hello", "this is blue indeed", "this is red indeed"]
    embedded = [f.detection.text for f in result.findings if [v.space for v in f.detection.vectors] == ["text"]]
    assert sorted(embedded) == ["hello", "this is blue", "this is red"]


def test_the_span_of_each_decoding_names_the_file_by_its_id_only(tmp_path):
    paths = [picture(tmp_path / "case-7.png", RED), film(tmp_path / "b.mp4", [RED, BLUE], sound_s=2)]
    with kept_spans() as kept, spans.span("batch"):
        run(paths, StandIn(), chunk_frames=1)
    decoded = [span.attributes for span in kept.spans if span.name == "decode"]
    found = Counter((span["asset"], span["what"], span.get("items")) for span in decoded)
    still, moving = (asset_id(path.as_uri()) for path in paths)
    expected = [(still, "frames", 1), (moving, "frames", 2), (moving, "sound", 1)]
    assert found == Counter([*expected, (still, "header", None), (moving, "header", None)])
    assert kept.paths() == {"batch", "batch/decode"} and "case-7" not in str([span.to_json() for span in kept.spans])


def test_a_film_without_sound_calls_no_sound_detector_and_a_sound_no_image_detector(tmp_path):
    detectors = StandIn()
    run([film(tmp_path / "silent.mp4", [RED])], detectors)
    assert "ear" not in {name for name, _ in detectors.asked}


def test_only_wanted_detectors_run_and_count_as_having_answered(tmp_path):
    detectors = StandIn()
    (result,) = run([picture(tmp_path / "a.png", RED)], detectors, wanted=["eye"], stored=False)
    assert {name for name, _ in detectors.asked} == {"eye"}
    assert result.model_versions == (ModelVersion("eye", "eye-1", 0.5),)


def test_stored_results_have_a_thumbnail_and_answers_to_uploads_have_none(tmp_path):
    paths = [picture(tmp_path / "a.png", RED), film(tmp_path / "a.mp4", [RED, RED])]
    for stored in (True, False):
        assert [result.thumbnail is not None for result in run(paths, StandIn(), stored=stored)] == [stored, stored]


def test_a_failed_detector_loses_only_its_own_findings_and_runs_again_next_time(tmp_path):
    (result,) = run([picture(tmp_path / "a.png", RED)], StandIn(failing=frozenset(["words"])))
    assert [f.detection.label for f in result.findings] == ["red", "text", "text"]
    assert result.failures == (Failure("words", "it is tired"),)
    assert [a.detector for a in result.model_versions] == ["ear", "eye"]


def test_a_broken_file_gets_a_result_and_does_not_affect_its_batch(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture(tmp_path / "a.png", RED).read_bytes()[:60])
    bad, good = run([broken, tmp_path / "a.png"], StandIn())
    assert [failure.step for failure in bad.failures] == ["decode"] and bad.findings == ()
    assert good.failures == () and good.findings
    assert len(bad.model_versions) == 3  # running the detectors again would not repair the file


def test_a_file_that_was_not_fetched_counts_as_answered_by_no_detector():
    file = File(MediaItem("s3://b/x.png", 3, "e"), None, None, frozenset(["eye"]), failures=[Failure("fetch", "gone")])
    (result,) = asyncio.run(analyze([file], StandIn(), InProcess(), Decoding()))
    assert result.failures == (Failure("fetch", "gone"),)
    assert result.model_versions == ()


def test_the_kind_of_a_file_is_that_of_its_bytes_not_of_its_name(tmp_path):
    path = picture(tmp_path / "a.png", RED).rename(tmp_path / "a.mp4")
    (result,) = run([path], StandIn())
    assert result.item.kind == "image" and result.findings


def test_findings_in_text_have_the_time_and_box_of_the_text(tmp_path):
    (result,) = run([film(tmp_path / "a.mp4", [BLUE, RED])], Warned())
    (warning,) = (f for f in result.findings if f.detection.label == "warning")
    (line,) = (f for f in result.findings if f.detection.text == "this is red")
    assert (warning.detector, warning.detection.evidence) == ("words", "read")
    assert warning.detection.time_s == line.detection.time_s == 1.0


def test_the_cost_of_a_detector_is_charged_to_the_file_it_worked_for(tmp_path):
    one, two = film(tmp_path / "a.mp4", [RED, BLUE, RED]), picture(tmp_path / "b.png", RED)
    first, second = run([one, two], StandIn())
    assert first.usage == (Usage("ear", 0.0, 0.0), Usage("eye", 3.0, 1.5), Usage("words", 2.0, 1.0))
    assert second.usage == (Usage("ear", 0.0, 0.0), Usage("eye", 1.0, 0.5), Usage("words", 0.0, 0.0))
    assert sum(usage.seconds for usage in (*first.usage, *second.usage)) == 6


@pytest.mark.parametrize("who", ["eye", "words"])
def test_answers_of_the_others_are_kept_while_a_detector_is_away(tmp_path, cache, who):
    paths = [film(tmp_path / f"{n}.mp4", [RED, BLUE, RED], sound_s=2) for n in range(2)]
    with pytest.raises(DetectorAway, match=f"^{who}$"):
        run(paths, StandIn(away=[who]), cache=cache, chunk_frames=2)
    detectors = StandIn()
    results = run(paths, detectors, cache=cache)
    assert {name for name, _ in detectors.asked} == {"eye", "words"} - ({"eye"} if who == "words" else set())
    assert all(not result.failures and len(result.model_versions) == 3 for result in results)


def test_an_absent_detector_is_waited_for_once_and_the_others_finish_their_files(tmp_path, cache):
    class Two(StandIn):
        takes: ClassVar = {"image": {"eye", "other"}, "sound": {"ear"}, "text": {"words"}}

    detectors = Two(away=["other"])
    with pytest.raises(DetectorAway):
        run([film(tmp_path / "a.mp4", [RED, BLUE, RED])], detectors, ("eye", "other"), cache, chunk_frames=1)
    assert [call for call in detectors.asked if call[0] == "other"] == [("other", 1)]
    assert [call for call in detectors.asked if call[0] == "eye"] == [("eye", 1)] * 3


def test_what_is_found_in_one_of_several_tracks_names_the_track():
    sample = Sample(text="a", time_s=2.0, track="sound track 2 (spa)")
    heard = Detection("speech", 1.0, span=(0.5, 1.0), text="hola", evidence="a voice")
    assert heard.of(sample) == replace(heard, span=(2.5, 3.0), evidence="sound track 2 (spa); a voice")
    assert heard.of(replace(sample, track=None)).evidence == "a voice"
