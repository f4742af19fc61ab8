"""Large pictures: which detectors get their tiles, and one answer for the whole and its tiles."""

from typing import ClassVar

import numpy as np
from PIL import Image

from cluster.records import Detection, Finding, Vector
from pipelines.detect.tiles import Picture
from tests.pipelines.detect.stand_ins import StandIn, run
from tests.support.files.captions import captioned

UPPER, LOWER = (0.0, 0.0, 1.0, 0.55), (0.0, 0.45, 1.0, 1.0)


def line(text, box, score=0.9, **other):
    return Finding("ocr", "ocr-1", Detection("text", score, box=box, text=text, **other))


def face(box, score=0.99, label="face", vectors=()):
    return Finding("face", "face-1", Detection(label, score, box=box, vectors=vectors))


def texts(findings):
    return [finding.detection.text for finding in findings]


class WithReader(StandIn):
    """`ocr`, by its name a detector that wants detail, reads the brightness of the middle of what it is shown."""

    takes: ClassVar = {"image": {"eye", "ocr"}, "sound": {"ear"}, "text": {"words"}}

    def _answer(self, name, sample):
        if name != "ocr":
            return super()._answer(name, sample)
        height, width = sample.pixels.shape[:2]
        found = np.argwhere(sample.pixels[..., 1] > 200)
        if not len(found):
            return []
        (top, left), (bottom, right) = found.min(axis=0), found.max(axis=0) + 1
        box = (left / width, top / height, right / width, bottom / height)
        return [Detection("text", 0.9, box=box, text=f"{right - left} px")]


def tall(path):
    picture = Image.new("RGB", (100, 1000), (200, 20, 20))
    picture.paste((20, 220, 20), (20, 880, 60, 890))
    picture.save(path)
    return path


def test_tiles_go_to_detectors_that_want_detail_and_their_boxes_are_those_of_the_picture(tmp_path):
    detectors = WithReader()
    (result,) = run([tall(tmp_path / "a.png")], detectors, ["eye", "ocr"], max_side_px=100, stored=False)
    assert sum(n for name, n in detectors.asked if name == "eye") == 1
    assert sum(n for name, n in detectors.asked if name == "ocr") > 1
    (read,) = (finding.detection for finding in result.findings if finding.detector == "ocr")
    assert read.text == "40 px" and np.allclose(read.box, (0.2, 0.88, 0.6, 0.89), atol=1e-6)
    assert result.frames == 1 and result.failures == ()


def test_tiles_are_not_made_where_no_one_wants_detail(tmp_path):
    detectors = WithReader()
    (result,) = run([tall(tmp_path / "a.png")], detectors, ["eye"], max_side_px=100, stored=False)
    assert [call for call in detectors.asked if call[0] != "eye"] == [] and result.frames == 1


def test_pictures_whose_tiles_span_chunks_keep_their_own_findings(tmp_path):
    paths = [tall(tmp_path / f"{n}.png") for n in range(3)]
    for result in run(paths, WithReader(), ["eye", "ocr"], max_side_px=100, chunk_frames=2, stored=False):
        assert [f.detection.text for f in result.findings if f.detector == "ocr"] == ["40 px"]
        assert [f.detection.label for f in result.findings if f.detector == "eye"] == ["red", "text", "text"]


def test_what_is_found_on_a_page_says_the_page(tmp_path):
    first, second = Image.new("RGB", (60, 40), (200, 20, 20)), Image.new("RGB", (60, 40), (20, 20, 200))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    detectors = StandIn()
    (result,) = run([tmp_path / "a.tif"], detectors)
    seen = [(f.detection.label, f.detection.evidence) for f in result.findings if f.detection.box]
    assert seen == [("red", None), ("blue", "page 2")] and result.frames == 2
    assert sorted(detectors.texts) == ["this is blue indeed", "this is red indeed"]  # a passage of each page


def test_a_line_read_in_the_whole_and_in_two_tiles_is_one_line():
    whole = [line("MUSTRD", (0.1, 0.48, 0.5, 0.52), 0.85)]
    tiles = [
        (UPPER, line("MUSTARD", (0.1, 0.482, 0.5, 0.52))),
        (LOWER, line("MUSTARD", (0.1, 0.481, 0.5, 0.521), 0.95)),
    ]
    (read,) = Picture(1.0, whole, tiles).merged()
    assert (read.detection.text, read.detection.score) == ("MUSTARD", 0.95)


def test_a_line_that_a_border_cuts_loses_to_the_complete_one():
    tiles = [
        (UPPER, line("NUSTAPD", (0.1, 0.52, 0.5, 0.55), 0.99)),
        (LOWER, line("MUSTARD", (0.1, 0.52, 0.5, 0.56), 0.8)),
    ]
    assert texts(Picture(1.0, [], tiles).merged()) == ["MUSTARD"]


def test_captions_that_are_pictures_go_to_detectors_that_want_detail_and_are_no_frames(tmp_path):
    detectors = WithReader()
    (result,) = run([captioned(tmp_path / "a.mkv", (0.5, 1.5, "HARBOUR"))], detectors, ["eye", "ocr"], stored=False)
    assert not result.failures and result.frames - result.frames_propagated == 1
    assert sum(n for name, n in detectors.asked if name == "eye") == 1
    (read,) = (finding.detection for finding in result.findings if finding.detector == "ocr")
    assert (read.time_s, read.evidence, read.text) == (0.5, "subtitle pictures 1 (eng)", "532 px")


def test_pieces_of_a_line_longer_than_a_tile_give_way_to_the_line_if_that_was_read_well():
    left, right = (0.0, 0.0, 0.55, 1.0), (0.45, 0.0, 1.0, 1.0)
    pieces = [(left, line("KEEP THIS GA", (0.1, 0.4, 0.55, 0.5))), (right, line("S GATE SHUT", (0.45, 0.4, 0.9, 0.5)))]
    for score, expected in ((0.9, ["KEEP THIS GATE SHUT"]), (0.6, ["KEEP THIS GA", "S GATE SHUT"])):
        whole = [line("KEEP THIS GATE SHUT", (0.1, 0.4, 0.9, 0.5), score)]
        assert texts(Picture(1.0, whole, pieces).merged()) == expected


def test_lines_of_tiles_and_of_the_whole_are_in_reading_order():
    whole = [line("TITLE", (0.1, 0.1, 0.9, 0.2)), line("END", (0.1, 0.9, 0.9, 0.95))]
    tiles = [(LOWER, line("second", (0.1, 0.6, 0.5, 0.62))), (UPPER, line("first", (0.1, 0.3, 0.5, 0.32)))]
    assert texts(Picture(1.0, whole, tiles).merged()) == ["TITLE", "first", "second", "END"]


def test_a_face_in_the_overlap_of_two_tiles_is_one_face_and_that_with_a_vector_is_kept():
    vector = (Vector("faces", (1.0,)),)
    whole = [face((0.4, 0.47, 0.45, 0.53), 1.0)]
    tiles = [
        (UPPER, face((0.4, 0.47, 0.45, 0.53), 0.98, vectors=vector)),
        (LOWER, face((0.4, 0.471, 0.45, 0.53), 0.99)),
    ]
    (kept,) = Picture(1.0, whole, tiles).merged()
    assert kept.detection.vectors == vector


def test_a_part_of_a_face_loses_to_the_face_and_another_label_is_kept():
    whole = [face((0.2, 0.2, 0.8, 0.8), 0.95), face((0.2, 0.2, 0.8, 0.8), 0.9, label="Alice")]
    tiles = [(UPPER, face((0.3, 0.3, 0.7, 0.55), 1.0)), (LOWER, face((0.4, 0.5, 0.6, 0.7), 0.99))]
    assert Picture(1.0, whole, tiles).merged() == whole


def test_findings_of_detectors_without_tiles_stay_as_they_are():
    seen = Finding("nsfw", "nsfw-1", Detection("safe", 0.9))
    merged = Picture(1.0, [seen, line("A", (0, 0, 0.1, 0.1))], [(UPPER, line("B", (0.5, 0.5, 0.6, 0.52)))]).merged()
    assert merged[0] is seen and texts(merged[1:]) == ["A", "B"]
