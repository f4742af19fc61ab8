"""What files say about themselves, also those that say nonsense."""

from pathlib import Path
from typing import Any

import av
import pytest
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from cluster.api_types import Properties
from cluster.errors import MediaError
from pipelines.media.originals.properties import properties
from tests.support.media import RED, film, save, solid

EXIF, GPS = ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo


def photo(path: Path, main: dict[int, Any], exif: dict[int, Any], gps: dict[int, Any]) -> Properties:
    """What a photo with these tags says."""
    tags = Image.Exif()
    tags.update(main)
    tags.get_ifd(EXIF).update(exif)
    tags.get_ifd(GPS).update(gps)
    save(path, solid(RED), exif=tags)
    (found,) = properties(path, "image")
    return Properties(**found)


def degrees(whole: float, minutes: float, seconds: float) -> tuple[IFDRational, ...]:
    return tuple(IFDRational(round(part * 1000), 1000) for part in (whole, minutes, seconds))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_photo_tells_its_time_camera_and_position(tmp_path: Path, name: str):
    main = {0x010F: "Canon", 0x0110: "Canon EOS 5D", 0x0131: "Firmware 1.1", 0x0132: "2021:05:01 00:00:00"}
    exif = {
        0x9003: "2021:03:04 10:11:12",
        0x9011: "+02:00",
        0xA434: "EF 50mm",
        0xA431: "12345",
        0x829A: IFDRational(1, 250),
    }
    gps = {1: "S", 2: degrees(33, 51, 24.5), 3: "E", 4: degrees(151, 12, 54.0), 5: b"\x01", 6: IFDRational(35, 10)}
    found = photo(tmp_path / name, main, exif, gps)
    assert (found.captured_at, found.camera, found.lens, found.software) == (
        "2021-03-04 10:11:12 +02:00",
        "Canon EOS 5D",
        "EF 50mm",
        "Firmware 1.1",
    )
    assert (found.position, found.altitude_m) == ((-33.856806, 151.215), -3.5)
    assert (found.others["BodySerialNumber"], found.others["ExposureTime"]) == ("12345", "0.004")


@pytest.mark.parametrize(
    "gps",
    [
        {},
        {1: "N", 2: degrees(91, 0, 0), 3: "E", 4: degrees(10, 0, 0)},
        {1: "N", 2: degrees(0, 0, 0), 3: "E", 4: degrees(0, 0, 0)},
        {1: "N", 2: (IFDRational(1, 0),) * 3, 3: "E", 4: degrees(10, 0, 0)},
        {1: "N", 2: degrees(50, 0, 0)},
    ],
)
def test_a_position_that_is_none_is_left_out(tmp_path: Path, gps: dict[int, Any]):
    found = photo(tmp_path / "a.jpg", {0x010F: "\0\0"}, {0x9003: "0000:00:00 00:00:00"}, gps)
    assert (found.position, found.captured_at, found.camera) == (None, None, None)


def test_texts_are_one_printable_line_of_limited_length(tmp_path: Path):
    exif = {0x9286: b"ASCII\0\0\0a\nnote \x1b[31m", 0x927C: b"\x00\x01" * 50}
    found = photo(tmp_path / "a.jpg", {0x010E: "<b>x</b>" + "y" * 1000}, exif, {})
    assert (found.others["UserComment"], len(found.others["ImageDescription"])) == ("a note [31m", 300)
    assert "MakerNote" not in found.others


def test_a_film_tells_its_time_place_and_codecs(tmp_path: Path):
    path = film(tmp_path / "a.mp4", [solid(RED)] * 5)
    with av.open(str(path)) as source, av.open(str(tmp_path / "b.mov"), "w") as copy:
        copy.metadata["creation_time"] = "2022-01-02T03:04:05.000000Z"
        copy.metadata["location"] = "+48.2082+016.3738+171.0/"
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    (found,) = properties(tmp_path / "b.mov", "video")
    said = Properties(**found)
    assert said.captured_at and said.captured_at.startswith("2022-01-02T03:04:05")
    assert (said.position, said.altitude_m) == ((48.2082, 16.3738), 171.0)
    assert said.others["video codec"].startswith("H.264") and said.others["frames a second"] == "10"


def test_a_picture_that_says_nothing_and_one_that_is_broken(tmp_path: Path):
    save(tmp_path / "a.png", solid(RED))
    assert list(properties(tmp_path / "a.png", "image")) == [{"others": {}}]
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff\xe1\x00\x10Exif\0\0nonsense")
    with pytest.raises(MediaError):
        list(properties(tmp_path / "b.jpg", "image"))
