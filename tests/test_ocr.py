import difflib

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from test_detectors import MEDIA, on_media, picture, real

from cluster.records import Detection, Sample
from deployments.detectors.ocr import Line, Ocr, OcrConfig, in_reading_order

PAGE = Sample(pixels=np.full((40, 80, 3), 255, np.uint8))


def stand_in(samples):
    return [[Line("seen", 0.9, (0.1, 0.2, 0.8, 0.4)), Line(" ", 0.9, (0.0, 0.0, 1.0, 1.0))] for _ in samples]


def test_gives_a_line_its_text_its_box_and_its_score():
    ocr = Ocr(OcrConfig(), infer=lambda samples: [[Line(" STOP ", 0.8, (0.1, 0.2, 0.5, 0.3))]])
    assert ocr.detect([PAGE]) == [[Detection("text", 0.8, box=(0.1, 0.2, 0.5, 0.3), text="STOP")]]


def test_leaves_out_what_is_unsure_or_blank():
    lines = [
        Line("sure", 0.5, (0, 0, 1, 0.1)),
        Line("unsure", 0.49, (0, 0.2, 1, 0.3)),
        Line("  ", 1.0, (0, 0.4, 1, 0.5)),
    ]
    (found,) = Ocr(OcrConfig(floor=0.5), infer=lambda samples: [lines]).detect([PAGE])
    assert [detection.text for detection in found] == ["sure"]


def test_reads_rows_from_the_top_and_each_from_the_left():
    lines = [
        Line("4", 1, (0.0, 0.50, 0.4, 0.60)),
        Line("2", 1, (0.4, 0.10, 0.6, 0.21)),
        Line("3", 1, (0.7, 0.09, 0.9, 0.19)),
        Line("1", 1, (0.0, 0.11, 0.3, 0.20)),
        Line("5", 1, (0.5, 0.52, 0.9, 0.61)),
    ]
    assert "".join(line.text for line in in_reading_order(lines)) == "12345"


def test_a_staircase_of_lines_is_not_one_row():
    lines = [Line(str(i), 1, (0.8 - i / 10, 0.1 + i * 0.04, 0.9, 0.2 + i * 0.04)) for i in range(5)]
    assert "".join(line.text for line in in_reading_order(lines)) == "01234"


def test_nothing_read_is_nothing_in_order():
    assert in_reading_order([]) == []


def drawn(width, height, text, at, size):
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).text(at, text, "black", ImageFont.load_default(size=size))
    return Sample(pixels=np.asarray(image))


class TestWithWeights:
    pytestmark = on_media

    def test_reads_its_example_in_order(self):
        (found,) = real("ocr").detect([Ocr.example()])
        assert [detection.text for detection in found] == ["RAYSIFT READS", "THE SECOND LINE"]

    @pytest.mark.parametrize(
        ("width", "height", "size"), [(640, 480, 40), (300, 200, 24), (1600, 1200, 60), (1600, 60, 40)]
    )
    def test_the_box_lies_where_the_text_was_drawn_in_any_size(self, width, height, size):
        sample = drawn(width, height, "HERE", (width // 2, height // 8), size)
        ((found,),) = real("ocr").detect([sample])
        ink = np.argwhere(sample.pixels[:, :, 0] < 128)
        (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0)
        assert found.text == "HERE"
        expected = (left / width, top / height, right / width, bottom / height)
        assert found.box == pytest.approx(expected, abs=max(0.03, 16 / height))

    def test_reads_the_lines_of_a_poster(self):
        wanted = [
            "Reduce your risk of coronavirus infection:",
            "Clean hands with soap and water",
            "or alcohol-based hand rub",
            "Cover nose and mouth when coughing and",
            "sneezing with tissue or flexed elbow",
            "Avoid close contact with anyone with",
            "cold or flu-like symptoms",
            "Thoroughly cook meat and eggs",
            "No unprotected contact with live wild",
            "or farm animals",
            "World Health",
            "Organization",
        ]
        (found,) = real("ocr").detect([picture("text/easyocr_english.png")])
        read = [detection.text for detection in found]
        assert len(set(wanted) & set(read)) >= 11

    def test_reads_a_scanned_page_in_order(self):
        (found,) = real("ocr").detect([picture("text/phototest.tif")])
        wanted = (MEDIA / "text" / "phototest.txt").read_text().split()
        read = " ".join(detection.text for detection in found).split()
        assert difflib.SequenceMatcher(None, wanted, read).ratio() > 0.95

    def test_reads_next_to_nothing_where_there_is_no_text(self):
        textless = ("brick.png", "chelsea.png", "coffee.png", "rocket.jpg")
        assert real("ocr").detect([picture(f"negatives/{name}") for name in textless]) == [[], [], [], []]
