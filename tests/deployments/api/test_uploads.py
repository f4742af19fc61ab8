"""Uploads: streamed to one file, and refused as soon as they are known to be too large, by every route."""

import errno
import os
import socket
import tempfile
import time
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import httpx
import pytest

from cluster.records import MediaItem, Result
from cluster.settings import Settings
from deployments.api import uploads
from deployments.api.searches.search import Found
from tests.support.api_server import application, serving

MOST = 200_000
UPLOAD = dict.fromkeys(("sha256", "kind", "width", "height", "duration_s")) | {
    "uri": "a.jpg",
    "errors": [],
    "detections": [],
}
ROUTES = ["/v1/analyze", "/v1/detect/nsfw", "/v1/search"]


class Searching:
    """A search that finds nothing."""

    def maker(self, by):
        return "nsfw"

    def vectors_of(self, result, by):
        return ()

    async def by_picture(self, *_):
        return Found([])


class Seen:
    """Stands in for the pipeline: records the name and content of each upload, and all temporary files."""

    def __init__(self, folder):
        self.folder = folder
        self.uploads = []
        self.files = []

    async def __call__(self, path, name, wanted, detectors, settings):
        self.uploads.append((name, path.read_bytes()))
        self.files = [file for file in self.folder.rglob("*") if file.is_file()]
        return Result(MediaItem(name, 1, "", "image"), "0" * 64, ())


@pytest.fixture
def seen(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("deployments.api.searches.routes.MOST_BYTES", MOST)
    monkeypatch.setattr("deployments.api.upload_routes.as_upload", lambda result: UPLOAD)
    return Seen(tmp_path)


@contextmanager
def serving_api(seen):
    async def nothing(ids, within):
        return []

    versions = {"nsfw": SimpleNamespace(model="m")}
    with (
        application(
            settings=Settings(decoding={"max_bytes": MOST}),
            detectors=SimpleNamespace(handles={"nsfw": None}, model_versions=versions),
            analyze=seen,
            searching=Searching(),
            catalog=SimpleNamespace(items=SimpleNamespace(remote=nothing)),
        ) as app,
        serving(app) as port,
    ):
        yield httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20)


def form(*parts, end=b"--b--\r\n"):
    return b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end


def part(content, disposition=b'name="file"; filename="a.jpg"', header=b""):
    return b"Content-Disposition: form-data; " + disposition + b"\r\n" + header + b"\r\n" + content


def post(client, body, path="/v1/analyze", boundary="b"):
    return client.post(path, content=body, headers={"Content-Type": f"multipart/form-data; boundary={boundary}"})


@pytest.mark.parametrize("route", ROUTES)
def test_an_upload_is_one_file_on_disk_until_it_is_answered(seen, route):
    content = os.urandom(MOST - 7)
    with serving_api(seen) as client:
        answer = client.post(route, files={"file": ("holiday.jpg", content)}, data={"other": "field"})
    assert answer.status_code == 200, answer.text
    assert seen.uploads == [("holiday.jpg", content)]
    assert [file.stat().st_size if file.exists() else None for file in seen.files] == [None]
    assert len(seen.files) == 1 and not list(seen.folder.iterdir())


@pytest.mark.parametrize("route", ROUTES)
def test_a_file_whose_declared_size_is_too_large_is_refused_before_it_is_read(seen, route):
    with serving_api(seen) as client:
        with socket.create_connection((client.base_url.host, client.base_url.port), 10) as raw:
            raw.sendall(
                f"POST {route} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                f"Content-Length: {MOST + uploads.FORM_BYTES + 1}\r\n\r\n".encode()
            )
            answer = b""
            while received := raw.recv(10_000):
                answer += received
        assert answer.split()[1] == b"413" and b"200,000 bytes are taken at most" in answer
    assert seen.uploads == []


@pytest.mark.parametrize("route", ROUTES)
def test_a_file_of_undeclared_size_is_cut_off_once_it_is_too_large(seen, route):
    sent = 0

    def endless():
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        while sent < 1 << 30:
            sent += 1 << 16
            yield bytes(1 << 16)

    # the connection may be closed while there is more to send
    with serving_api(seen) as client, suppress(httpx.TransportError):
        assert post(client, endless(), route).status_code == 413
    assert sent < 1 << 30 and seen.uploads == [] and not list(seen.folder.iterdir())


@pytest.mark.parametrize("size", [0, 1, MOST])
def test_a_file_of_the_largest_allowed_size_is_accepted(seen, size):
    with serving_api(seen) as client:
        assert client.post("/v1/analyze", files={"file": ("a.jpg", bytes(size))}).status_code == 200
    assert len(seen.uploads[0][1]) == size


def test_a_file_of_one_byte_more_is_refused(seen):
    with serving_api(seen) as client:
        assert client.post("/v1/analyze", files={"file": ("a.jpg", bytes(MOST + 1))}).status_code == 413
    assert seen.uploads == []


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (form(part(b"x", b'name="other"; filename="a"')), 422, "has no file of that name"),
        (form(part(b"x", b'name="file"')), 422, "has no file of that name"),
        (form(), 422, "has no file of that name"),
        (b"", 400, "breaks off"),
        (form(part(b"x"), end=b""), 400, "breaks off"),
        (b"no form", 400, "cannot be read"),
        (form(part(b"x"), part(b"y")), 400, "one file at a time"),
        (form(*[part(b"", b'name="n"')] * 101), 400, "more than 100 fields"),
        (form(part(bytes(70_000), b'name="n"'), part(b"x")), 413, "more than 64 KiB beside its file"),
        (form(part(b"x"), part(bytes(70_000), b'name="n"')), 413, "more than 64 KiB beside its file"),
        (form(part(b"x"), end=b"--b--\r\n" + bytes(70_000)), 413, "more than 64 KiB beside its file"),
        (form(part(b"x", header=b"X: " + b"y" * 5000 + b"\r\n")), 400, "cannot be read"),
        (form(part(b"x", header=b"X: y\r\n" * 20)), 400, "cannot be read"),
    ],
)
def test_an_invalid_form_is_refused_with_a_message(seen, body, status, sentence):
    with serving_api(seen) as client:
        answer = post(client, body)
    assert (answer.status_code, sentence in answer.json()["detail"]) == (status, True), answer.text
    assert seen.uploads == []


def test_a_body_that_is_no_form_is_refused(seen):
    with serving_api(seen) as client:
        assert client.post("/v1/analyze", content=b"x").status_code == 422
        assert client.post("/v1/analyze", data={"file": "x"}).status_code == 422
        assert post(client, form(part(b"x")), boundary="b" * 300).status_code == 400


@pytest.mark.parametrize("name", ["../../../../pwn.jpg", "..\\pwn.jpg", "x" * 3000, "", "\N{SNOWMAN}.jpg"])
def test_a_files_own_name_never_reaches_the_disk(seen, name):
    with serving_api(seen) as client:
        assert post(client, form(part(b"x", b'name="file"; filename="' + name.encode() + b'"'))).status_code == 200
    assert [file.name for file in seen.files] == ["upload"]
    assert len(seen.uploads[0][0]) >= 1


def test_a_full_disk_is_reported(seen, monkeypatch):
    def full(form, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(uploads._Form, "feed", full)
    with serving_api(seen) as client:
        answer = client.post("/v1/analyze", files={"file": ("a.jpg", b"x")})
    assert answer.status_code == 507 and "TMPDIR" in answer.json()["detail"]


def test_a_client_that_disconnects_in_the_middle_leaves_no_file(seen):
    body = form(part(bytes(100_000)))
    with serving_api(seen) as client:
        with socket.create_connection((client.base_url.host, client.base_url.port), 10) as raw:
            raw.sendall(
                b"POST /v1/analyze HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body) + body[:50_000]
            )
            until(lambda: any(seen.folder.iterdir()))
        until(lambda: not any(seen.folder.iterdir()))
    assert seen.uploads == []


def until(condition):
    """Wait for a condition that the server fulfils in the background."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_openapi_document_shows_the_field():
    with application() as app:
        paths = app.openapi()["paths"]
    for route in ("/v1/analyze", "/v1/detect/{name}", "/v1/search"):
        schema = paths[route]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert schema["required"] == ["file"] and "file" in schema["properties"]
