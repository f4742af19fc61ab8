"""Objects whose keys have an empty part: listed, and read as others are."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest

from cluster.errors import MediaError
from cluster.storage.buckets import fetch, open_file, read_range
from cluster.storage.listing import list_media
from cluster.storage.roots import Roots
from cluster.storage.s3_objects import is_refused
from tests.cluster.storage.conftest import BODY
from tests.support.servers.http import running
from tests.support.servers.many_objects import lister

ETAG = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
KEYS = ["in//a.png", "/b.png", "in/c.png/", "in/d.png"]


class Objects(ThreadingHTTPServer):
    """S3 with BODY under each of some keys."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(BODY)

    def _answer(self, body: bytes) -> None:
        key = unquote(self.path.partition("?")[0].removeprefix("/bucket/"))
        if key not in KEYS:
            self.send_response(403 if key.startswith("closed") else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        part = body[int(wanted[1]) : int(wanted[2]) + 1] if wanted else body
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(part) if body else len(BODY)))
        self.send_header("ETag", f'"{ETAG}"')
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def objects(credentials) -> Iterator[Objects]:
    with running(Objects(("127.0.0.1", 0), _Handler)) as server:
        yield server


def item(key: str):
    with lister(sorted(KEYS)) as server:
        (found,) = [one for one in list_media("s3://bucket", server.endpoint) if one.uri == f"s3://bucket/{key}"]
    return found


@pytest.mark.parametrize("key", KEYS[:3])
def test_an_object_with_an_empty_part_in_its_key_is_listed_with_its_kind(credentials, key):
    assert item(key).kind == "image"


@pytest.mark.parametrize("key", KEYS[:3])
def test_such_an_object_is_fetched_and_read_by_ranges(objects, tmp_path, key):
    listed = replace(item(key), size=len(BODY), etag=ETAG)
    sha256 = fetch(listed, tmp_path / "copy", objects.endpoint)
    assert sha256 == hashlib.sha256(BODY).hexdigest() and (tmp_path / "copy").read_bytes() == BODY
    assert read_range(listed.uri, 300, 20, objects.endpoint) == BODY[300:320]
    with open_file(listed.uri, objects.endpoint) as file:
        assert file.seek(-10, 2) == len(BODY) - 10 and file.read(100) == BODY[-10:] and file.read(5) == b""
    with pytest.raises(MediaError, match="has changed since it was listed"):
        fetch(replace(listed, etag="other"), tmp_path / "copy", objects.endpoint)


def test_errors_of_such_objects_have_their_reason_and_roots_hold(objects):
    with pytest.raises(MediaError, match="is not there"):
        read_range("s3://bucket/no//a", 0, 1, objects.endpoint)
    with pytest.raises(MediaError, match="may not be read with the rights"):
        read_range("s3://bucket/closed//a", 0, 1, objects.endpoint)
    with pytest.raises(MediaError, match="outside the buckets"):
        read_range("s3://bucket/in//a.png", 0, 1, objects.endpoint, Roots(("s3://bucket/out",)))
    assert read_range("s3://bucket/in//a.png", 0, 1, objects.endpoint, Roots(("s3://bucket/in",))) == BODY[:1]


def test_only_keys_that_pyarrow_refuses_are_read_this_way():
    assert not is_refused("s3://bucket/in/d.png") and not is_refused("file:///a//b") and is_refused("s3://b/a//b")
