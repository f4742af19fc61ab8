"""Reads of files in folders and in buckets."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cluster.errors import DiskFull, MediaError
from cluster.records import MediaItem, asset_id
from cluster.storage.buckets import fetch, filesystem, read_range, s3_version, size
from cluster.storage.listing import list_media
from cluster.storage.roots import Roots
from tests.cluster.metrics.recorded import recorded
from tests.cluster.storage.conftest import BODY
from tests.support.listed import item_of, put
from tests.support.servers.http import running


def test_fetches_and_hashes(tmp_path):
    item = item_of(put(tmp_path / "a.jpg", BODY))
    assert fetch(item, tmp_path / "copy") == hashlib.sha256(BODY).hexdigest()
    assert (tmp_path / "copy").read_bytes() == BODY


def test_a_failed_fetch_gives_the_reason_and_leaves_no_file(tmp_path):
    def reason(item: MediaItem, **limits: int) -> str:
        with pytest.raises(MediaError) as caught:
            fetch(item, tmp_path / "copy", **limits)
        assert caught.value.step == "fetch" and item.uri in caught.value.reason
        assert not (tmp_path / "copy").exists()
        return caught.value.reason

    item = item_of(put(tmp_path / "a.jpg", BODY))
    assert "has 10,240 bytes; decoding.max_bytes allows 100" in reason(item, max_bytes=100)
    (tmp_path / "a.jpg").write_bytes(BODY[:-1])
    assert "was listed with 10,240 bytes and has only 10,239; tried 1 times" in reason(item, attempts=1)
    (tmp_path / "a.jpg").write_bytes(BODY + b"!")
    assert "and has more" in reason(item, attempts=1)
    (tmp_path / "a.jpg").unlink()
    assert "is not there" in reason(item)
    (tmp_path / "a.jpg").mkdir()
    assert "is a folder" in reason(item)


def test_a_full_temporary_folder_is_named_and_is_not_an_error_of_the_file(tmp_path):
    item = item_of(put(tmp_path / "a.jpg", BODY))
    with pytest.raises(DiskFull, match="no space is left in /dev on the machine"):
        fetch(item, Path("/dev/full"))


@pytest.mark.parametrize("read", [size, lambda uri, **more: read_range(uri, 0, 9, **more)], ids=["size", "range"])
def test_a_file_is_opened_only_where_it_lies_under_a_root(tmp_path, read):
    inside, outside = put(tmp_path / "in" / "a.jpg"), put(tmp_path / "in-2" / "secret.txt")
    (tmp_path / "in" / "x.jpg").symlink_to(outside)
    roots = Roots(((tmp_path / "in").as_uri(),))
    read(inside.as_uri(), roots=roots)
    for uri in (outside.as_uri(), f"{tmp_path.as_uri()}/in/../in-2/secret.txt", (tmp_path / "in" / "x.jpg").as_uri()):
        with pytest.raises(MediaError, match=r"outside the folders that may be read \(scanning.roots\)"):
            read(uri, roots=roots)
    with pytest.raises(MediaError, match="outside the buckets"):
        read("s3://bucket/case-10/a.jpg", roots=Roots(("s3://bucket/case-1",)))


def test_a_file_that_becomes_a_link_after_it_was_listed_is_not_followed_out_of_the_roots(tmp_path):
    path, secret = put(tmp_path / "in" / "a.jpg", b"12"), put(tmp_path / "secret.txt", b"34")
    item, roots = item_of(path), Roots(((tmp_path / "in").as_uri(),))
    assert fetch(item, tmp_path / "copy", roots=roots) == hashlib.sha256(b"12").hexdigest()
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(MediaError, match="leads outside the folders"):
        fetch(item, tmp_path / "copy", roots=roots)
    assert not (tmp_path / "copy").exists()


def test_special_files_are_refused_at_once_and_do_not_block(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    for path, kind in ((tmp_path / "a.jpg", "a FIFO"), (Path("/dev/zero"), "a device"), (tmp_path, "a folder")):
        with pytest.raises(MediaError, match=f"is {kind}, not a file"):
            fetch(MediaItem(path.as_uri(), 5, "e"), tmp_path / "copy")
    with pytest.raises(MediaError, match="is a view of the system's kernel"):
        fetch(MediaItem("file:///proc/self/environ", 0, "e"), tmp_path / "copy")


def test_reads_a_range_and_the_size(tmp_path):
    uri = put(tmp_path / "a.mp4", BODY).as_uri()
    assert size(uri) == len(BODY)
    assert read_range(uri, 250, 10) == BODY[250:260]
    assert read_range(uri, len(BODY) - 2, 10) == BODY[-2:]
    with pytest.raises(MediaError, match="is not there"):
        read_range(uri + "x", 0, 1)


class FaultyS3(BaseHTTPRequestHandler):
    """One object; its body has a flipped byte in the first `flips` responses."""

    flips = 0
    gets = 0

    def do_HEAD(self) -> None:
        self.answer(b"")

    def do_GET(self) -> None:
        FaultyS3.gets += 1
        self.answer(b"\xff" + BODY[1:] if FaultyS3.gets <= FaultyS3.flips else BODY)

    def answer(self, body: bytes) -> None:
        self.send_response(206 if body else 200)
        self.send_header("Content-Length", str(len(BODY)))
        self.send_header("ETag", f'"{hashlib.md5(BODY).hexdigest()}"')
        self.send_header("Last-Modified", "Sun, 22 Nov 2026 12:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def faulty_s3(flips: int) -> Iterator[str]:
    FaultyS3.flips, FaultyS3.gets = flips, 0
    with running(ThreadingHTTPServer(("127.0.0.1", 0), FaultyS3)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


STORED = MediaItem("s3://bucket/a.jpg", len(BODY), hashlib.md5(BODY).hexdigest())


def test_a_file_with_a_byte_flipped_in_transit_is_fetched_again(tmp_path, credentials):
    with faulty_s3(flips=1) as endpoint:
        assert fetch(STORED, tmp_path / "copy", endpoint) == hashlib.sha256(BODY).hexdigest()
    assert FaultyS3.gets == 2
    assert (tmp_path / "copy").read_bytes() == BODY


def test_an_etag_that_is_not_an_md5_costs_one_more_fetch_and_no_failure(tmp_path, credentials):
    with faulty_s3(flips=9) as endpoint:
        assert fetch(STORED, tmp_path / "copy", endpoint) == hashlib.sha256(b"\xff" + BODY[1:]).hexdigest()
    assert FaultyS3.gets == 2


def test_an_object_that_changed_since_it_was_listed_is_refused(tmp_path, credentials):
    with faulty_s3(flips=0) as endpoint, pytest.raises(MediaError, match="has changed since it was listed"):
        fetch(MediaItem("s3://bucket/a.jpg", len(BODY), "0" * 32), tmp_path / "copy", endpoint)


@pytest.mark.ray
def test_s3_fetches_hashes_and_reads_ranges(server, credentials, tmp_path):
    (item,) = list_media("s3://media/in/a b#?%20.jpg", server.endpoint)
    assert (item.size, item.etag) == (len(BODY), hashlib.md5(BODY).hexdigest())
    assert fetch(item, tmp_path / "copy", server.endpoint) == hashlib.sha256(BODY).hexdigest()
    assert read_range(item.uri, 250, 10, server.endpoint) == BODY[250:260]
    assert size(item.uri, server.endpoint) == len(BODY)
    assert s3_version(item.uri, server.endpoint) == (item.etag, item.size)
    with pytest.raises(MediaError, match=r"s3://media/in/gone.jpg is not there"):
        fetch(MediaItem("s3://media/in/gone.jpg", 1, "x"), tmp_path / "copy", server.endpoint)


@pytest.mark.ray
def test_s3_reads_back_what_was_written(server, credentials):
    server.client().create_bucket(Bucket="written")  # other tests compare the list of the whole bucket `media`
    store, path = filesystem("s3://written/out/rows.bin", server.endpoint)
    with store.open_output_stream(path) as stream:
        stream.write(BODY)
    assert read_range("s3://written/out/rows.bin", 0, 3, server.endpoint) == BODY[:3]


def test_fetches_are_measured_without_the_names_of_files(tmp_path):
    item = item_of(put(tmp_path / "a.jpg", BODY))
    with recorded() as values:
        fetch(item, tmp_path / "copy")
        (tmp_path / "a.jpg").unlink()
        with pytest.raises(MediaError):
            fetch(item, tmp_path / "copy")
    size, done, failed = values
    assert size == ("raysift_storage_read_bytes_total", len(BODY), {"scheme": "file"})
    assert done[2] == {"operation": "fetch", "scheme": "file", "outcome": "done"} and failed[2]["outcome"] == "failed"


def test_a_failed_try_is_logged_without_the_name_of_the_file(tmp_path, caplog):
    item = item_of(put(tmp_path / "a secret name.jpg", BODY))
    (tmp_path / "a secret name.jpg").write_bytes(BODY[:-1])
    with pytest.raises(MediaError):
        fetch(item, tmp_path / "copy", attempts=1)
    assert f"asset {asset_id(item.uri)} was not fetched (try 1 of 1)" in caplog.text and "secret" not in caplog.text
