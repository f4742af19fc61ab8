"""Text detectors over OCR and transcript text."""

from cluster.records import Failure, ModelVersion
from tests.pipelines.detect.stand_ins import BLUE, RED, StandIn, Warned, film, picture, run


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
