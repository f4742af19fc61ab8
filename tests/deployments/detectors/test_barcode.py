import numpy as np
import pytest
import zxingcpp
from PIL import Image, ImageDraw
from pydantic import ValidationError

from cluster.records import Detection, Sample
from cluster.settings import Decoding, Settings
from deployments.detector import wants_detail
from deployments.detectors.barcode import Barcode, BarcodeConfig, Code
from deployments.serving.placement import grouped
from pipelines.media.decoding import frames as decoded
from tests.support.files.textless import frames

READ = Barcode(BarcodeConfig())


def stand_in(samples):
    return [[Code("QRCode", "seen", b"seen", (0.1, 0.2, 0.5, 0.6))] for _ in samples]


def drawn(content, symbology="QRCode", scale=4, **options):
    """The picture of a code."""
    code = zxingcpp.create_barcode(content, getattr(zxingcpp.BarcodeFormat, symbology), **options)
    return Image.fromarray(np.asarray(zxingcpp.write_barcode_to_image(code, scale=scale))).convert("RGB")


def read(picture):
    (found,) = READ.detect([Sample(pixels=np.asarray(picture))])
    return found


def test_a_code_has_its_symbology_payload_and_box():
    page = Image.new("RGB", (800, 600), "white")
    page.paste(drawn("https://example.org/TURTLE"), (400, 300))
    (found,) = read(page)
    assert (found.label, found.score, found.text, found.evidence) == ("QRCode", 1.0, "https://example.org/TURTLE", None)
    left, top, right, bottom = found.box
    assert 0.5 < left < right < 0.68 and 0.5 < top < bottom < 0.74


@pytest.mark.parametrize(
    ("symbology", "content"),
    [
        ("EAN13", "4006381333931"), ("Code128", "HELLO-128"), ("Code39", "EXHIBIT 7"), ("DataMatrix", "a matrix"),
        ("Aztec", "a boarding pass"), ("PDF417", "a driving licence"), ("ITF", "12345678"),
    ],
)  # fmt: skip
def test_other_symbologies_are_read(symbology, content):
    (found,) = read(drawn(content, symbology))
    assert (found.label, found.text) == (symbology, content)


def test_every_code_of_a_picture_is_found_from_top_to_bottom():
    page = Image.new("RGB", (1200, 900), "#eee")
    for n, (symbology, content) in enumerate([("QRCode", "first"), ("EAN13", "4006381333931"), ("QRCode", "third")]):
        page.paste(drawn(content, symbology), (500 - 200 * n, 20 + 300 * n))
    assert [one.text for one in read(page)] == ["first", "4006381333931", "third"]


@pytest.mark.parametrize(
    ("symbology", "degrees"), [("QRCode", 17), ("QRCode", 90), ("QRCode", 245), ("Code128", 90), ("Code128", 180)]
)
def test_a_turned_code_is_read(symbology, degrees):
    turned = drawn("TURNED", symbology).rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor="white")
    assert [one.text for one in read(turned)] == ["TURNED"]


def test_a_damaged_code_is_read_and_one_that_is_destroyed_is_left_out():
    code = drawn("https://example.org/damaged", ec_level="H")
    side = code.width
    ImageDraw.Draw(code).ellipse((side * 0.42, side * 0.42, side * 0.6, side * 0.6), fill="#c33")
    assert [one.text for one in read(code)] == ["https://example.org/damaged"]
    ImageDraw.Draw(code).rectangle((side * 0.4, 0, side, side), fill="#c33")
    assert read(code) == []


def test_a_light_code_on_a_dark_ground_is_read():
    assert [one.text for one in read(Image.eval(drawn("inverted"), lambda value: 255 - value))] == ["inverted"]


@pytest.mark.parametrize("text", ["日本語, ä", "BEGIN:VCARD\nFN:Ada Lovelace\nEND:VCARD", "WIFI:S:home;P:secret;;"])
def test_unicode_and_line_ends_are_kept(text):
    (found,) = read(drawn(text))
    assert (found.text, found.evidence) == (text, None)


def test_the_bytes_of_a_payload_that_is_not_utf_8_are_its_evidence():
    (found,) = read(drawn(b"\xff\xfe\x00\x80abc"))
    assert found.text.endswith("abc") and "<NUL>" in found.text
    assert found.evidence == "its 7 bytes are not UTF-8: fffe0080616263"
    long = Code("QRCode", "?", b"\xff" * 999, (0, 0, 1, 1))
    ((found,),) = Barcode(BarcodeConfig(), infer=lambda _: [[long]]).detect([Barcode.example()])
    assert found.evidence == f"its 999 bytes are not UTF-8: {'ff' * 256}..."


def test_a_short_payload_without_a_check_digit_is_no_code():
    assert read(drawn("K7", "Code39")) == []
    short = Barcode(BarcodeConfig(letters=2))
    ((found,),) = short.detect([Sample(pixels=np.asarray(drawn("K7", "Code39")))])
    assert found.label == "Code39"


def test_the_symbologies_can_be_limited():
    only = Barcode(BarcodeConfig(symbologies="EAN13"))
    assert only.detect([Barcode.example()]) == [[]]
    with pytest.raises(ValidationError, match="symbologies"):
        BarcodeConfig(symbologies="QRCod")


def test_pictures_without_a_code_have_none():
    found = READ.detect([Sample(pixels=pixels) for pixels in frames(32)])
    assert found == [[]] * 32


def test_its_model_is_the_version_of_the_library():
    assert Barcode.version(BarcodeConfig()).startswith("zxing-cpp ")


def test_it_shares_the_process_of_clip_and_restraint_and_needs_no_card():
    settings = Settings(galleries_uri="file:///none")
    assert "barcode+clip+restraint" in grouped(settings)
    assert {"barcode"} <= grouped(Settings(profile="gpu", galleries_uri="file:///none")).keys()
    assert BarcodeConfig().gpu_memory_gb == 0


def test_a_code_is_one_detection():
    (found,) = Barcode(BarcodeConfig(), infer=stand_in).detect([Barcode.example()])
    assert found == [Detection("QRCode", 1.0, box=(0.1, 0.2, 0.5, 0.6), text="seen")]


def test_a_code_that_is_small_in_a_large_picture_is_read_in_a_tile(tmp_path):
    picture = Image.new("RGB", (1080, 9000), "white")
    picture.paste(drawn("https://example.org", scale=3), (500, 8000))
    picture.save(tmp_path / "a.png")
    with_tiles = wants_detail("barcode")
    looked_at = list(decoded(tmp_path / "a.png", "image", Decoding(), with_tiles=with_tiles))
    assert any(read(frame.sample.pixels) for frame in looked_at)
