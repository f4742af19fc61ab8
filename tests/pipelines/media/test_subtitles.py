"""Text that a recording itself contains: its subtitle tracks."""

from pipelines.media.decoding import FileText, probe, texts
from pipelines.media.segments import segments
from tests.support.media import DECODING, RED, Decoding, film, solid, subtitled


def test_the_text_of_every_subtitle_track_is_given_with_its_time_and_track(tmp_path):
    path = subtitled(
        tmp_path / "a.mkv",
        [solid(RED)] * 30,
        ("eng", [(0.5, 1.5, "<i>Hello</i> there"), (2.0, 2.5, "{\\an8}Good\nbye")]),
        ("spa", [(0.5, 1.5, "Hola")]),
    )
    assert probe(path, "video", DECODING).has_text
    assert list(texts(path, "video", DECODING)) == [
        FileText("Hello there", "subtitle track 1 (eng)", (0.5, 1.5)),
        FileText("Good bye", "subtitle track 1 (eng)", (2.0, 2.5)),
        FileText("Hola", "subtitle track 2 (spa)", (0.5, 1.5)),
    ]


def test_a_film_without_subtitles_contains_no_text(tmp_path):
    path = film(tmp_path / "a.mp4", [solid(RED)] * 3)
    assert not probe(path, "video", DECODING).has_text
    assert list(texts(path, "video", DECODING)) == []


def test_each_subtitle_belongs_to_one_segment(tmp_path):
    cues = [(n * 0.7 + 0.2, n * 0.7 + 0.8, f"line {n}") for n in range(14)]
    path = subtitled(tmp_path / "a.mkv", [solid(RED)] * 100, ("eng", cues))
    parts = segments(path, Decoding(segment_s=2))
    assert len(parts) == 5
    whole = list(texts(path, "video", DECODING))
    assert len(whole) == 14 and [one for part in parts for one in texts(path, "video", DECODING, part)] == whole
