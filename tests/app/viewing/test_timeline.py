"""Lanes, moments and lines of a recording."""

import pytest

from app.viewing import timeline
from tests.support.fakes.files import detection

PALETTE = {"face": "#111111", "ocr": "#222222", "whisper": "#333333"}


def caption(text, *times):
    return [detection("ocr", "text", 0.9, time_s=float(time), text=text) for time in times]


def marks(found):
    return [(mark["start"], mark["end"], mark["score"]) for mark in found["marks"]]


def test_consecutive_frames_of_a_label_are_one_mark_until_their_score_changes():
    scores = ((1, 0.88), (2, 0.9), (3, 0.6), (4, 0.6), (9, 0.4))
    faces = [detection("face", "face", score, time_s=float(time)) for time, score in scores]
    (lane,) = timeline.lanes(faces, PALETTE)
    assert marks(lane) == [(1, 3, 0.9), (3, 4, 0.6), (9, 9, 0.4)]


def test_the_best_of_several_faces_in_a_frame_is_the_score_of_the_mark():
    faces = [detection("face", "face", score, time_s=float(time)) for time in (1, 2) for score in (0.9, 0.4)]
    (lane,) = timeline.lanes(faces, PALETTE)
    assert marks(lane) == [(1, 2, 0.9)]


def test_captions_in_turn_have_a_lane_each_and_a_label_has_its_own():
    found = [*caption("FIRST", 0, 1), *caption("second", 2, 3), *caption("Second ", 4), *caption("third", 5)]
    found += [detection("face", label, 0.9, time_s=2.0) for label in ("Ann", "face")]
    lanes = timeline.lanes(found, PALETTE)
    assert [(lane["detector"], lane["text"]) for lane in lanes] == [
        ("face", "Ann"),
        ("face", "face"),
        ("ocr", "FIRST"),
        ("ocr", "second"),
        ("ocr", "third"),
    ]
    assert marks(lanes[3]) == [(2, 4, 0.9)]


def test_each_spoken_line_is_a_separate_mark_in_the_lane_of_its_language():
    heard = [detection("whisper", "en", 0.9, span=[start, start + 1.0], text=f"{start}") for start in (0.0, 1.0, 2.0)]
    (lane,) = timeline.lanes(heard, PALETTE)
    assert (lane["text"], len(lane["marks"])) == ("en", 3)


def test_the_marks_of_a_long_lane_are_thinned_evenly():
    heard = [detection("whisper", "en", 0.9, span=[n, n + 0.5], text="x") for n in range(5000)]
    (lane,) = timeline.lanes(heard, PALETTE)
    assert len(lane["marks"]) == 400
    assert lane["marks"][-1]["start"] > 4900


def test_a_lane_with_too_many_changes_of_its_score_is_coarser_and_has_no_hole():
    faces = [detection("face", "face", 0.5 + n % 2 / 10, time_s=float(n)) for n in range(1000)]
    (lane,) = timeline.lanes(faces, PALETTE)
    assert marks(lane) == [(0, 999, 0.6)]


def test_the_texts_that_are_misread_in_each_frame_leave_the_lanes_of_those_that_stay():
    found = [*caption("EXIT", *range(5)), *(line for n in range(150) for line in caption(f"#{n}", n))]
    lanes = timeline.lanes(found, PALETTE)
    assert (len(lanes), lanes[0]["text"], lanes[0]["left_out"]) == (100, "EXIT", 51)


def test_moments_leave_out_what_goes_on_and_tell_what_comes_back():
    faces = [
        detection("face", "face", score, time_s=float(t)) for t, score in ((0, 0.5), (1, 0.9), (3, 0.7), (20, 0.6))
    ]
    heard = [detection("whisper", "en", 0.9, span=[t, t + 4.0], text=f"line {t}") for t in (2.0, 8.0)]
    found = timeline.moments([*faces, *heard, *caption("NEWS", 0.5)], PALETTE)
    told = [(moment["clock"], [(thing["text"], thing["score"]) for thing in moment["things"]]) for moment in found]
    assert told == [
        ("0:00", [("face", 0.9), ("NEWS", 0.9)]),
        ("0:02", [("line 2.0", 0.9)]),
        ("0:20", [("face", 0.6)]),
    ]


def test_a_still_image_has_no_lanes_and_no_moments():
    found = [detection("face", "face", 0.9, box=[0, 0, 1, 1])]
    assert (timeline.lanes(found, PALETTE), timeline.moments(found, PALETTE)) == ([], [])


def test_speech_and_text_are_listed_separately_and_text_that_stays_is_listed_once_with_its_best_score():
    found = [
        detection("whisper", "en", 0.9, span=[4.0, 5.0], text="later"),
        detection("whisper", "en", 0.9, span=[1.0, 2.0], text="sooner"),
        *(detection("ocr", "text", 0.5 + time / 100, time_s=float(time), text="NEWS") for time in (1, 2, 3, 20)),
    ]
    assert [line["text"] for line in timeline.said(found)] == ["sooner", "later"]
    assert [(line["clock"], line["score"]) for line in timeline.read(found)] == [
        ("0:01", pytest.approx(0.53)),
        ("0:20", pytest.approx(0.7)),
    ]
