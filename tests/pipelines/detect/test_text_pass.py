"""Text detectors over OCR and transcript text."""

from cluster.records import Failure, ModelVersion
from tests.pipelines.detect.stand_ins import BLUE, RED, InProcess, StandIn, Warned, film, picture, run
from tests.support.media import solid, subtitled


def test_newly_read_text_gets_vectors_though_only_its_reader_was_wanted(tmp_path):
    (result,) = run([picture(tmp_path / "a.png", RED)], Warned(), wanted=["eye"])
    line = next(f.detection for f in result.findings if f.detection.text == "this is red")
    assert [vector.space for vector in line.vectors] == ["text"]
    assert {f.detector for f in result.findings} == {"eye"}, "what words itself found was not wanted"
    assert [a.detector for a in result.model_versions] == ["eye"] and [s.detector for s in result.usage] == ["eye"]


def test_text_without_vectors_is_a_failure_of_the_detector_that_read_it(tmp_path):
    (result,) = run([picture(tmp_path / "a.png", RED)], StandIn(failing=["words"]), wanted=["eye"])
    assert result.failures == (Failure("eye", "words on its text: it is tired"),)
    assert result.model_versions == ()


def test_a_text_detector_gets_the_text_of_earlier_scans(tmp_path, cache):
    path = film(tmp_path / "a.mp4", [BLUE, RED])
    run([path], StandIn(), cache=cache)
    detectors = Warned(words=ModelVersion("words", "words-2", 0.5))
    (result,) = run([path], detectors, wanted=["words"], cache=cache)
    assert sorted(detectors.texts) == ["this is blue indeed", "this is red indeed"]
    (warning,) = result.findings
    assert (warning.model, warning.detection.label, warning.detection.time_s) == ("words-2", "warning", 1.0)


def test_equal_texts_are_sent_once(tmp_path, cache):
    detectors = StandIn()
    paths = [film(tmp_path / "a.mp4", [RED, BLUE, RED]), picture(tmp_path / "b.png", RED)]
    run(paths, detectors, cache=cache)
    assert sorted(detectors.texts) == ["this is blue indeed", "this is red indeed"]
    detectors = StandIn()
    run([film(tmp_path / "c.mp4", [BLUE, BLUE, RED, BLUE])], detectors, cache=cache)
    assert detectors.texts == []


def test_subtitles_are_findings_of_the_file_itself_that_are_embedded_and_kept_in_the_memo(tmp_path, cache):
    path = subtitled(tmp_path / "a.mkv", [solid(RED)] * 20, ("eng", [(0.5, 1.0, "hello"), (1.0, 1.5, "bye")]))
    for decoder in (InProcess(), InProcess()):
        detectors = StandIn()
        (result,) = run([path], detectors, wanted=["eye"], cache=cache, decoder=decoder)
        stored = [f for f in result.findings if f.detector == "file-text"]
        assert [(f.model, f.detection.text, f.detection.span, f.detection.evidence) for f in stored] == [
            ("stored in the file", "hello", (0.5, 1.0), "subtitle track 1 (eng)"),
            ("stored in the file", "bye", (1.0, 1.5), "subtitle track 1 (eng)"),
        ]
        assert all([vector.space for vector in f.detection.vectors] == ["text"] for f in stored)
        # the catalogue keeps only findings of detectors that are named here
        assert [version.detector for version in result.model_versions] == ["eye", "file-text"]
    assert not decoder.decoded and not detectors.texts
