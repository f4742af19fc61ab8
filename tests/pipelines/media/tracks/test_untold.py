"""What a recording holds and is not looked at stands in its row."""

import io
import re
from fractions import Fraction
from pathlib import Path
from zipfile import ZipFile

import av
import numpy as np

from cluster.settings import Decoding
from pipelines.media.decoding import frames, sound
from tests.support.files.captions import captioned
from tests.support.media import BLUE, DECODING, RED, encoded_tone, film, near, solid, until_it_breaks


def element(name: str, body: bytes) -> bytes:
    return bytes.fromhex(name) + (1 << 56 | len(body)).to_bytes(8) + body


def with_attachments(path: Path, files: dict[str, bytes]) -> Path:
    """A Matroska film with attached files, before its first cluster."""
    content = film(path, [solid(RED)] * 10).read_bytes()
    attached = b"".join(
        element("61A7", element("466E", name.encode()) + element("4660", b"application/octet-stream")
                + element("465C", body) + element("46AE", bytes([n])))
        for n, (name, body) in enumerate(files.items(), 1)
    )  # fmt: skip
    at, begin = content.index(bytes.fromhex("1F43B675")), content.index(bytes.fromhex("18538067")) + 4
    content = content[:at] + element("1941A469", attached) + content[at:]
    path.write_bytes(content[:begin] + (1 << 56 | len(content) - begin - 8).to_bytes(8) + content[begin + 8 :])
    return path


def test_files_that_are_attached_to_a_film_are_said_if_they_are_media_or_hold_files(tmp_path):
    archive = io.BytesIO()
    with ZipFile(archive, "w") as file:
        file.writestr("a.txt", "hello")
    path = with_attachments(tmp_path / "a.mkv", {"a.zip": archive.getvalue(), "font.ttf": b"\0\1\0\0" + bytes(60)})
    found, reason = until_it_breaks(frames(path, "video", DECODING))
    assert found and near(found[0].sample.pixels[60, 80], RED)
    size = len(archive.getvalue())
    assert reason == f"the attached file a.zip (container, {size} bytes) was not looked at"


def with_closed_captions(path: Path, text: str) -> Path:
    """A transport stream whose pictures carry captions of CEA-608, two characters each."""
    stream = path.with_suffix(".h264")
    film(stream, [solid(BLUE)] * 20)
    pairs = [text[at : at + 2].encode().ljust(2, b"\0") for at in range(0, len(text), 2)]
    content = b""
    for unit in re.split(rb"(?=\x00\x00\x00\x01|(?<!\x00)\x00\x00\x01)", stream.read_bytes()):
        if unit.lstrip(b"\0")[1:2] and unit.lstrip(b"\0")[1] & 31 in (1, 5):  # the data of a picture
            pair = pairs.pop(0) if pairs else b"\0\0"
            body = b"\xb5\0\x31GA94\3\x41\xff\xfc" + pair + b"\xff"
            content += b"\0\0\0\1\6\4" + bytes([len(body)]) + body + b"\x80"
        content += unit
    stream.write_bytes(content)
    with av.open(str(stream)) as source, av.open(str(path), "w") as container:
        copy = container.add_stream_from_template(source.streams.video[0])
        for n, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            packet.stream, packet.time_base, packet.pts, packet.dts = copy, Fraction(1, 10), n, n
            container.mux(packet)
    return path


def test_captions_within_the_pictures_of_a_film_are_said(tmp_path):
    path = with_closed_captions(tmp_path / "a.ts", "SAFFRON CARGO")
    assert "closed captions" in until_it_breaks(frames(path, "video", DECODING))[1]
    path = with_closed_captions(tmp_path / "b.ts", "")
    assert "closed captions" not in until_it_breaks(frames(path, "video", DECODING))[1]


def test_subtitles_of_a_sound_file_that_are_not_read_are_said(tmp_path):
    path = tmp_path / "a.mka"
    with av.open(str(path), "w", format="matroska") as container:
        tone, words = container.add_stream("aac", rate=48_000, layout="stereo"), container.add_stream("subrip")
        words.codec_context.subtitle_header = b"[Script Info]\n\n[Events]\n"
        packet = av.Packet(b"saffron")
        packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration = words, Fraction(1, 1000), 0, 0, 900
        for each in [packet, *encoded_tone(tone, 440.0, 48_000, 1)]:
            container.mux(each)
    assert until_it_breaks(sound(path, DECODING))[1] == ""
    path.write_bytes(path.read_bytes().replace(b"S_TEXT/UTF8", b"S_TEXT/XYZW"))
    found, reason = until_it_breaks(sound(path, DECODING))
    assert np.abs(found[0].sound).max() > 0.4 and reason == "its subtitle track 1: nothing in it was read"


def test_captions_beyond_the_most_are_said(tmp_path):
    from pipelines.media.containers import WHOLE, opened
    from pipelines.media.films.captions import captions

    path = captioned(tmp_path / "a.mkv", (0.5, 1.0, "ONE"), (1.5, 2.0, "TWO"), (2.5, 3.0, "THREE"))
    with opened(path) as container:
        found, reason = until_it_breaks(captions(container, WHOLE, most=2))
    assert len(found) == 2 and "only the first 2 were looked at" in reason


def test_frames_that_are_reduced_much_are_said(tmp_path):
    path = film(tmp_path / "a.mov", [solid(RED, 640, 320)], codec="mjpeg")
    reason = until_it_breaks(frames(path, "video", Decoding(max_side_px=200)))[1]
    assert reason.startswith("its frames of 640 x 320 px were reduced to 200 px")
    assert until_it_breaks(frames(path, "video", Decoding(max_side_px=300)))[1] == ""
