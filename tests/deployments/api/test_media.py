"""A file as an HTTP response: whole or a range, from one open file; and files that are no media."""

import asyncio
import io
from types import SimpleNamespace

import httpx
import pytest
from fastapi import HTTPException

from cluster.errors import MediaError
from cluster.settings import Scanning, Settings
from cluster.storage import buckets
from cluster.storage.roots import Roots
from deployments.api import media
from tests.support.api_server import application

SIZE = 3 * media.PIECE_BYTES + 10
ANYWHERE = Roots(("/", "s3://opened-once"))
CONTENT = bytes(range(256)) * (SIZE // 256 + 1)


@pytest.fixture
def picture(tmp_path):
    (tmp_path / "a.jpg").write_bytes(CONTENT[:SIZE])
    return (tmp_path / "a.jpg").as_uri()


@pytest.fixture
def opened(monkeypatch):
    """Every file that was opened."""
    files = []
    really_open = buckets.open_file

    def open_file(*arguments):
        files.append(really_open(*arguments))
        return files[-1]

    monkeypatch.setattr(buckets, "open_file", open_file)
    return files


def body_of(answer):
    async def read():
        return b"".join([piece async for piece in answer.body_iterator])

    return asyncio.run(read())


def test_a_file_is_opened_once_for_all_its_pieces(picture, opened):
    answer = media.answer(picture, None, None, ANYWHERE)
    assert body_of(answer) == CONTENT[:SIZE]
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(SIZE))
    assert len(opened) == 1 and opened[0].closed


def test_an_object_of_a_bucket_is_opened_once(s3, monkeypatch, opened):
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    client = s3.client()
    client.create_bucket(Bucket="opened-once")
    client.put_object(Bucket="opened-once", Key="a.jpg", Body=CONTENT[:SIZE])
    answer = media.answer("s3://opened-once/a.jpg", f"bytes=5-{SIZE - 2}", s3.endpoint, ANYWHERE)
    assert body_of(answer) == CONTENT[5 : SIZE - 1]
    assert len(opened) == 1 and opened[0].closed


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("bytes=0-", 0, 99),
        ("bytes=10-19", 10, 19),
        ("bytes=99-99", 99, 99),
        ("bytes=90-100000", 90, 99),
        ("bytes=-1", 99, 99),
        ("bytes=-100000", 0, 99),
    ],
)
def test_a_byte_range(tmp_path, wanted, first, last):
    (tmp_path / "a.mp4").write_bytes(CONTENT[:100])
    answer = media.answer((tmp_path / "a.mp4").as_uri(), wanted, None, ANYWHERE)
    assert body_of(answer) == CONTENT[first : last + 1]
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {first}-{last}/100"
    assert answer.headers["content-length"] == str(last + 1 - first)


@pytest.mark.parametrize(
    "wanted",
    [
        "bytes=1_0-2_0",
        "bytes= 1 - 5",
        "bytes=+1-5",
        "bytes=\N{ARABIC-INDIC DIGIT ONE}-5",
        "bytes=1-5 ",
        "bytes=1-5\n",
        "Bytes=1-5",
        "bytes=5-1",
        "bytes=100-",
        "bytes=-0",
        "bytes=-",
        "bytes=",
        "bytes=1",
        "bytes=1-2,4-5",
        "bytes=--5",
        "bytes=0x1-5",
        "bytes=" + "9" * 30 + "-",
        "items=1-5",
        "",
    ],
)
def test_a_range_that_the_file_does_not_have_is_refused(tmp_path, opened, wanted):
    (tmp_path / "a.mp4").write_bytes(CONTENT[:100])
    with pytest.raises(HTTPException) as refusal:
        media.answer((tmp_path / "a.mp4").as_uri(), wanted, None, ANYWHERE)
    assert (refusal.value.status_code, refusal.value.headers["Content-Range"]) == (416, "bytes */100")
    assert [file.closed for file in opened] == [True]


def test_an_empty_file_has_a_response_but_no_range(tmp_path):
    (tmp_path / "a.jpg").touch()
    answer = media.answer((tmp_path / "a.jpg").as_uri(), None, None, ANYWHERE)
    assert (body_of(answer), answer.headers["content-length"]) == (b"", "0")
    for wanted in ("bytes=0-", "bytes=-1", "bytes=-", "items=1-5", ""):
        with pytest.raises(HTTPException, match="416"):
            media.answer((tmp_path / "a.jpg").as_uri(), wanted, None, ANYWHERE)


def test_a_file_that_shrinks_while_it_is_sent_ends_early(picture, tmp_path):
    answer = media.answer(picture, None, None, ANYWHERE)
    (tmp_path / "a.jpg").write_bytes(CONTENT[:10])
    assert body_of(answer) == CONTENT[:10]


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(HTTPException, match="is not where it was scanned") as refusal:
        media.answer((tmp_path / "a.jpg").as_uri(), None, None, ANYWHERE)
    assert refusal.value.status_code == 404


def test_an_error_while_sending_names_the_file(picture, opened):
    answer = media.answer(picture, None, None, ANYWHERE)
    opened[0].close()
    with pytest.raises(MediaError, match=r"a\.jpg"):
        body_of(answer)


@pytest.mark.parametrize(
    ("uri", "type"),
    [("file:///a.jpg", "image/jpeg"), ("file:///a.html", None), ("file:///a.svg", None), ("file:///a", None)],
)
def test_types_that_a_browser_would_run_are_sent_as_octet_stream(uri, type):
    assert media.media_type(uri) == (type or "application/octet-stream")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("row", "status", "sentence"),
    [
        (None, 404, "has been scanned"),
        ({"kind": None, "job": "scan-1"}, 404, "it has no media"),
        ({"kind": "image", "job": "scan-1"}, 200, ""),
        ({"kind": "image", "parent": "s3://b/a.zip", "job": "scan-1"}, 422, "it is encrypted"),
    ],
)
async def test_a_row_without_a_kind_has_no_media(picture, row, status, sentence):
    async def location(asset, within):
        return row and row | {"id": asset, "uri": picture}

    async def no_job(job):
        return None

    catalog = SimpleNamespace(location=SimpleNamespace(remote=location))
    jobs = SimpleNamespace(one=SimpleNamespace(remote=no_job))
    settings = Settings(scanning=Scanning(roots=("/",)))

    def locked(uri, parent, settings):
        assert (uri, parent) == (picture, "s3://b/a.zip") and settings.scanning.roots
        raise MediaError("decode", "it is encrypted")

    with application(
        catalog=catalog, jobs=jobs, settings=settings, originals=SimpleNamespace(open_member=locked)
    ) as app:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            answer = await client.get(f"/v1/assets/{'0' * 32}/media")
    assert answer.status_code == status
    assert answer.content == CONTENT[:SIZE] if status == 200 else sentence in answer.json()["detail"]


@pytest.mark.parametrize(("wanted", "body"), [(None, CONTENT[:100]), ("bytes=10-19", CONTENT[10:20])])
def test_a_member_of_a_container_is_sent_as_a_file_is(wanted, body):
    file = io.BytesIO(CONTENT[:100])
    answer = media.answer_member("file:///a.zip!b.mp4", "file:///a.zip", wanted, lambda *_: file, Settings())
    assert body_of(answer) == body and file.closed
    assert (answer.media_type, answer.status_code) == ("video/mp4", 206 if wanted else 200)


def test_a_container_that_is_gone_is_not_found():
    def gone(uri, parent, settings):
        raise MediaError("fetch", "file:///a.zip is not there")

    with pytest.raises(HTTPException) as refusal:
        media.answer_member("file:///a.zip!b.mp4", "file:///a.zip", None, gone, Settings())
    assert refusal.value.status_code == 404 and "is not there" in refusal.value.detail
