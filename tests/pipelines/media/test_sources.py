import os
import re
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cluster.errors import MediaError
from cluster.records import MediaItem, Segment
from cluster.settings import Decoding
from cluster.storage.listing import list_media
from pipelines.media import decoding
from pipelines.media.decoding import sniff
from pipelines.media.guard import readable
from pipelines.media.pool import Decoder
from pipelines.media.segments import segments
from pipelines.media.sources import FIRST_BYTES, PIECES, Remote
from tests.support.media import BLUE, GREEN, RED, film, save, solid
from tests.support.servers.http import running
from tests.support.servers.seaweed import Seaweed

LIMITS = Decoding()


class Ranges(ThreadingHTTPServer):
    """Serves one object of a bucket by ranges; `faults` responses break off in the middle."""

    def __init__(self, content: bytes, faults: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Ranges)
        self.content, self.faults, self.read, self.gets = content, faults, 0, 0

    def item(self, etag: str = "e1") -> MediaItem:
        return MediaItem("s3://bucket/a.mp4", len(self.content), etag)

    def remote(self, attempts: int = 4, etag: str = "e1") -> Remote:
        return Remote(self.item(etag), f"http://127.0.0.1:{self.server_port}", attempts)


class _Ranges(BaseHTTPRequestHandler):
    server: Ranges

    def do_HEAD(self) -> None:
        self.answer(200, b"", len(self.server.content))

    def do_GET(self) -> None:
        self.server.gets += 1
        begin, end = map(int, re.findall(r"\d+", self.headers["Range"]))
        body = self.server.content[begin : end + 1]
        self.server.read += len(body)
        broken = self.server.faults > 0
        self.server.faults -= broken
        self.answer(206, body[: len(body) // 2] if broken else body, len(body))

    def answer(self, status: int, body: bytes, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", '"e1"')
        self.send_header("Last-Modified", "Sun, 22 Nov 2026 12:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def bucket(content: bytes, faults: int = 0) -> AbstractContextManager[Ranges]:
    return running(Ranges(content, faults))


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name, value in Seaweed("").environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pictures = [solid(color) for color in (RED, GREEN, BLUE) for _ in range(15)]
    return film(tmp_path_factory.mktemp("remote") / "a.mp4", pictures, sound_hz=440)


def complaint(server: Ranges, remote: Remote) -> str:
    with pytest.raises(MediaError) as caught:
        list(decoding.frames(remote, "video", LIMITS))
    assert caught.value.step == "fetch" and "s3://bucket/a.mp4" in caught.value.reason
    return caught.value.reason


def test_a_remote_file_is_read_and_sought_without_a_copy():
    content = os.urandom(3 * FIRST_BYTES + 5)
    with bucket(content) as server, readable(server.remote()) as file:
        for at in (0, 10, 2 * FIRST_BYTES, 7, len(content) - 3):
            file.seek(at)
            assert file.read(1000) == content[at : at + 1000]
        assert file.seek(-2, os.SEEK_END) == len(content) - 2 and file.read() == content[-2:] and file.read(1) == b""
        assert server.gets == PIECES  # the beginning was still in memory


def test_sequential_reading_fetches_larger_ranges():
    content = os.urandom(40 * FIRST_BYTES)
    with bucket(content) as server, readable(server.remote()) as file:
        assert file.read() == content
        assert server.gets == 6 and server.read == len(content)


def test_a_video_in_a_bucket_is_decoded_like_its_copy(video):
    with bucket(video.read_bytes()) as server:
        remote = server.remote()
        assert sniff(remote) == "video"
        assert decoding.probe(remote, "video", LIMITS) == decoding.probe(video, "video", LIMITS)
        for segment in (None, *segments(video, Decoding(segment_s=1.5))):
            ours, theirs = (list(decoding.frames(one, "video", LIMITS, segment)) for one in (remote, video))
            assert [frame.sample.time_s for frame in ours] == [frame.sample.time_s for frame in theirs] != []
            ours, theirs = (list(decoding.sound(one, LIMITS, segment)) for one in (remote, video))
            assert all((one.sound == other.sound).all() for one, other in zip(ours, theirs, strict=True))


def test_a_picture_in_a_bucket_is_decoded_like_its_copy(tmp_path):
    path = save(tmp_path / "a.png", solid(RED))
    with bucket(path.read_bytes()) as server, Decoder() as decoder:
        assert decoder.probe(server.remote(), LIMITS) == ("image", decoding.Media("image", 160, 120))
        (frame,) = decoder.frames(server.remote(), "image", LIMITS)
        assert (frame.sample.pixels == Image.open(path)).all()


def test_an_interrupted_range_is_read_again(video):
    with bucket(video.read_bytes(), faults=5) as server:
        found = list(decoding.frames(server.remote(), "video", LIMITS))
        assert len(found) == len(list(decoding.frames(video, "video", LIMITS))) and server.faults == 0


def test_a_failed_read_is_not_an_error_of_the_decoder(video):
    with bucket(video.read_bytes(), faults=99) as server:
        assert "tried 1 times" in complaint(server, server.remote(attempts=1))
    remote = server.remote(attempts=1)  # the server is down
    assert "could not be read" in complaint(server, remote)


def test_a_changed_file_is_not_mixed_with_its_former_content(video):
    with bucket(video.read_bytes()) as server:
        assert "has changed since it was listed; scan it again" in complaint(server, server.remote(etag="e0"))
        smaller = MediaItem("s3://bucket/a.mp4", 1000, "e1")
        assert "has changed" in complaint(server, Remote(smaller, server.remote().s3_endpoint))


def test_a_local_file_is_read_by_ranges_too(video):
    (item,) = list_media(str(video))
    assert decoding.probe(Remote(item), "video", LIMITS) == decoding.probe(video, "video", LIMITS)
    with pytest.raises(MediaError, match=r"b.mp4 is not there"):
        sniff(Remote(MediaItem(f"{item.uri[:-5]}b.mp4", 5, "e")))


def test_a_segment_transfers_about_its_own_bytes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (50, 480, 640, 3), np.uint8)
    path = film(tmp_path / "a.mp4", [*map(Image.fromarray, noise)] * 8, faststart=True, codec="mjpeg")
    middle = Segment(4, 10, 4, 16.0, 20.0, 15.9, 16.0, 20.0)
    with bucket(path.read_bytes()) as server:
        assert len(list(decoding.frames(server.remote(), "video", LIMITS, middle))) >= 4
        assert server.read < 0.25 * len(server.content)
