"""Pictures for galleries: what an upload becomes in the decoder process."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cluster.errors import MediaError
from deployments.galleries.pictures import FRAME_PX
from tests.pipelines.decoder import shared_decoder
from tests.support.media import DECODING


def reference(path: Path, transparent: bool = False) -> Image.Image:
    png = Image.open(io.BytesIO(shared_decoder().reference(path, transparent, DECODING)))
    png.load()
    assert png.format == "PNG"
    return png


def test_it_is_small_and_says_nothing_about_itself(tmp_path: Path):
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", 6  # maker; turned by a quarter
    exif.get_ifd(0x8825)[1] = "N"  # where it was taken
    Image.new("RGB", (4000, 1000), "red").save(tmp_path / "a.jpg", exif=exif, comment=b"private")
    made = reference(tmp_path / "a.jpg")
    assert made.size == (FRAME_PX // 4, FRAME_PX) and not made.info and not made.getexif()


@pytest.mark.parametrize(("transparent", "expected"), [(True, (255, 0, 0, 0)), (False, (255, 255, 255))])
def test_a_logo_keeps_its_transparency_and_a_photo_lies_on_white(tmp_path: Path, transparent, expected):
    Image.new("RGBA", (40, 30), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert np.asarray(reference(tmp_path / "a.png", transparent))[5, 5].tolist() == list(expected)


def test_the_same_upload_is_the_same_picture(tmp_path: Path):
    Image.effect_noise((60, 40), 90).save(tmp_path / "a.webp")
    both = [shared_decoder().reference(tmp_path / "a.webp", True, DECODING) for _ in range(2)]
    assert both[0] == both[1]


@pytest.mark.parametrize("content", [b"", b"text", b"%PDF-1.7\n", b"\x89PNG\r\n\x1a\n" + bytes(200), b"GIF89a"])
@pytest.mark.parametrize("transparent", [True, False])
def test_what_is_no_picture_has_a_reason(tmp_path: Path, content: bytes, transparent: bool):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(MediaError) as refused:
        shared_decoder().reference(tmp_path / "a.png", transparent, DECODING)
    assert refused.value.reason


def test_a_picture_with_too_many_pixels_is_refused_by_its_header(tmp_path: Path):
    Image.new("1", (30_000, 30_000)).save(tmp_path / "a.png")
    with pytest.raises(MediaError, match="pixels"):
        shared_decoder().reference(tmp_path / "a.png", True, DECODING)
