import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pyarrow import fs

from cluster.errors import MediaError, SettingsError
from cluster.records import MediaItem
from cluster.storage.buckets import fetch, filesystem, list_media, list_store, normalize, read_range, size
from cluster.storage.s3_listing import LISTERS
from tests.support.servers.http import running
from tests.support.servers.many_objects import Counted, Lister, lister
from tests.support.servers.seaweed import Seaweed

BODY = bytes(range(256)) * 40


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def listed(uri: str | Path, s3_endpoint: str | None = None) -> dict[str, str | None]:
    return {item.uri.rpartition("/")[2]: item.kind for item in list_media(str(uri), s3_endpoint)}


def item_of(path: Path) -> MediaItem:
    (item,) = list_media(str(path))
    return item


def complaint(uri: str | Path, s3_endpoint: str | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        list(list_media(str(uri), s3_endpoint))
    return str(caught.value)


def test_a_bare_path_becomes_an_absolute_uri_and_others_stay():
    assert normalize("a/../b c/") == Path("b c").absolute().as_uri()
    assert normalize("s3://bucket/prefix/") == "s3://bucket/prefix"


def test_lists_a_folder_by_suffix_and_leaves_out_what_is_hidden_or_no_media(tmp_path):
    for name in ("a.JPG", "deep/er/b.mp4", "deep/c.flac", "no_suffix", "d.txt", "_raysift/e.jpg", ".f.jpg", "g.tar.gz"):
        put(tmp_path / name)
    assert listed(tmp_path) == {"a.JPG": "image", "b.mp4": "video", "c.flac": "audio", "no_suffix": None}


def test_hidden_parts_above_the_listed_folder_do_not_matter(tmp_path):
    put(tmp_path / ".cache" / "_in" / "a.jpg")
    assert listed(tmp_path / ".cache" / "_in") == {"a.jpg": "image"}


def test_lists_the_one_file_that_is_named_whatever_its_suffix(tmp_path):
    assert listed(put(tmp_path / "evidence.dat")) == {"evidence.dat": None}
    assert listed(put(tmp_path / "_b.png").as_uri()) == {"_b.png": "image"}


def test_an_empty_folder_lists_nothing_and_a_missing_one_is_the_operators_fault(tmp_path):
    assert listed(tmp_path) == {}
    assert "does not exist" in complaint(tmp_path / "gone")
    assert "does not exist" in complaint(put(tmp_path / "file") / "below")


def test_follows_links_to_files_and_reports_those_it_does_not_follow(tmp_path, caplog):
    put(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "b.jpg").symlink_to("a.jpg")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "self.jpg").symlink_to("self.jpg")
    assert listed(tmp_path / "in") == {"a.jpg": "image", "b.jpg": "image"}
    assert "2 links to folders or to nothing were not followed" in caplog.text


def test_a_folder_that_may_not_be_read_is_not_lost_in_silence():
    with TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        put(Path(name) / "a.jpg")
        closed = put(Path(name) / "closed" / "b.jpg").parent
        os.chmod(closed, 0)
        root = os.geteuid() == 0
        if root:  # who may read everything
            os.seteuid(65534)
        try:
            assert f"{str(closed)!r} may not be read" in complaint(name)
        finally:
            if root:
                os.seteuid(0)
            os.chmod(closed, 0o755)


def test_odd_names_come_back_as_the_same_bytes(tmp_path):
    names = (b"caf\xe9 #1?%20.jpg", "日本 語.png".encode(), b"line\nbreak.gif")
    for name in names:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(name)
    items = list(list_media(str(tmp_path)))
    assert len(items) == 3
    for item in items:
        fetch(item, tmp_path / "_copy")
        assert (tmp_path / "_copy").read_bytes() in names


def test_the_etag_changes_when_the_content_does(tmp_path):
    before = item_of(put(tmp_path / "a.jpg", b"12"))
    os.utime(put(tmp_path / "a.jpg", b"34"), ns=(1, 1))
    assert item_of(tmp_path / "a.jpg").etag != before.etag


def test_lists_through_pyarrow_a_folder_at_a_time():
    store = fs.SubTreeFileSystem("bucket", fs._MockFileSystem())
    for name in ("in/a.jpg", "in/deep/b.mov", "in/_raysift/c.jpg", "in/d.txt", "other/e.jpg"):
        store.create_dir(name.rpartition("/")[0])
        store.open_output_stream(name).close()
    assert sorted(item.uri for item in list_store("gs://in", store, "in")) == ["gs://in/a.jpg", "gs://in/deep/b.mov"]
    assert [item.uri for item in list_store("gs://in/a.jpg", store, "in/a.jpg")] == ["gs://in/a.jpg"]
    with pytest.raises(SettingsError, match="nothing lies under gs://gone"):
        list(list_store("gs://gone", store, "gone"))


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("ftp://host/a", "ftp:// is not read here"),
        ("s3://", "the name of a bucket is missing"),
        ("file://tmp/a", "three slashes"),
        ("az://container/a", "AZURE_STORAGE_ACCOUNT"),
    ],
)
def test_a_uri_that_cannot_be_meant_is_the_operators_fault(uri, says, monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_KEY", raising=False)
    assert says in complaint(uri)


def test_an_endpoint_without_a_scheme_is_the_operators_fault():
    assert "s3_endpoint_url" in complaint("s3://bucket", "localhost:9000")
    with pytest.raises(SettingsError, match="is no URL"):
        filesystem("s3://bucket/a", "localhost:9000")


def test_fetches_and_hashes(tmp_path):
    item = item_of(put(tmp_path / "a.jpg", BODY))
    assert fetch(item, tmp_path / "copy") == hashlib.sha256(BODY).hexdigest()
    assert (tmp_path / "copy").read_bytes() == BODY


def test_what_cannot_be_fetched_says_why_and_leaves_nothing_behind(tmp_path):
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


def test_reads_a_range_and_the_size(tmp_path):
    uri = put(tmp_path / "a.mp4", BODY).as_uri()
    assert size(uri) == len(BODY)
    assert read_range(uri, 250, 10) == BODY[250:260]
    assert read_range(uri, len(BODY) - 2, 10) == BODY[-2:]
    with pytest.raises(MediaError, match="is not there"):
        read_range(uri + "x", 0, 1)


class FaultyS3(BaseHTTPRequestHandler):
    """One object; its body has a flipped byte as often as `flips` says."""

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


@pytest.fixture
def credentials(monkeypatch):
    for name, value in Seaweed("").environment().items():
        monkeypatch.setenv(name, value)


STORED = MediaItem("s3://bucket/a.jpg", len(BODY), hashlib.md5(BODY).hexdigest())


def test_a_byte_that_flipped_on_the_way_is_fetched_again(tmp_path, credentials):
    with faulty_s3(flips=1) as endpoint:
        assert fetch(STORED, tmp_path / "copy", endpoint) == hashlib.sha256(BODY).hexdigest()
    assert FaultyS3.gets == 2
    assert (tmp_path / "copy").read_bytes() == BODY


def test_an_etag_that_is_no_md5_costs_one_more_look_and_no_failure(tmp_path, credentials):
    with faulty_s3(flips=9) as endpoint:
        assert fetch(STORED, tmp_path / "copy", endpoint) == hashlib.sha256(b"\xff" + BODY[1:]).hexdigest()
    assert FaultyS3.gets == 2


def test_an_object_that_changed_since_it_was_listed_is_not_mixed_up_with_the_new_one(tmp_path, credentials):
    with faulty_s3(flips=0) as endpoint, pytest.raises(MediaError, match="has changed since it was listed"):
        fetch(MediaItem("s3://bucket/a.jpg", len(BODY), "0" * 32), tmp_path / "copy", endpoint)


def test_a_server_that_does_not_answer_is_said_within_seconds(credentials):
    assert "does not answer (EndpointConnectionError). Check s3_endpoint_url" in complaint(
        "s3://bucket/a", "http://127.0.0.1:1"
    )


@pytest.fixture(scope="module")
def server(s3):
    client = s3.client()
    client.create_bucket(Bucket="media")
    for key in ("in/a b#?%20.jpg", "in/deep/b.mp4", "in/_raysift/c.jpg", "in/d.txt", "in-other/e.jpg", "in.jpg"):
        client.put_object(Bucket="media", Key=key, Body=BODY)
    return s3


@pytest.mark.ray
def test_s3_lists_a_prefix_an_object_and_a_bucket(server, credentials):
    assert listed("s3://media/in", server.endpoint) == {"a b#?%20.jpg": "image", "b.mp4": "video"}
    assert listed("s3://media/in.jpg", server.endpoint) == {"in.jpg": "image"}
    assert set(listed("s3://media/", server.endpoint)) == {"a b#?%20.jpg", "b.mp4", "e.jpg", "in.jpg"}


@pytest.mark.ray
def test_s3_fetches_hashes_and_reads_ranges(server, credentials, tmp_path):
    (item,) = list_media("s3://media/in/a b#?%20.jpg", server.endpoint)
    assert (item.size, item.etag) == (len(BODY), hashlib.md5(BODY).hexdigest())
    assert fetch(item, tmp_path / "copy", server.endpoint) == hashlib.sha256(BODY).hexdigest()
    assert read_range(item.uri, 250, 10, server.endpoint) == BODY[250:260]
    assert size(item.uri, server.endpoint) == len(BODY)
    with pytest.raises(MediaError, match=r"s3://media/in/gone.jpg is not there"):
        fetch(MediaItem("s3://media/in/gone.jpg", 1, "x"), tmp_path / "copy", server.endpoint)


@pytest.mark.ray
def test_s3_writes_what_is_read_again(server, credentials):
    store, path = filesystem("s3://media/out/rows.bin", server.endpoint)
    with store.open_output_stream(path) as stream:
        stream.write(BODY)
    assert read_range("s3://media/out/rows.bin", 0, 3, server.endpoint) == BODY[:3]


@pytest.mark.ray
def test_s3_says_what_is_missing(server, credentials, monkeypatch):
    assert "there is no bucket 'nowhere'" in complaint("s3://nowhere/in", server.endpoint)
    assert "nothing lies under s3://media/gone" in complaint("s3://media/gone/", server.endpoint)
    assert "'Not A Bucket' cannot be the name" in complaint("s3://Not A Bucket", server.endpoint)
    assert "does not answer (SSLError)" in complaint("s3://media", server.endpoint.replace("http:", "https:"))
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "there are no S3 credentials" in complaint("s3://media", server.endpoint)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert "refuses the credentials (SignatureDoesNotMatch)" in complaint("s3://media", server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.stranger_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.stranger_secret)
    assert "access denied. Allow these credentials s3:ListBucket" in complaint("s3://media", server.endpoint)


@pytest.mark.ray
def test_s3_lists_every_object_once_however_the_folders_lie(server, credentials):
    client = server.client()
    client.create_bucket(Bucket="many")
    keys = [f"in/{n % 12}/{n}.jpg" for n in range(60)] + [f"in/deep/er/and/deeper/{n}.jpg" for n in range(1010)]
    keys += ["in/a.jpg", "in/a/b.jpg", "in/a-b.jpg", "in/_hidden/c.jpg"]
    for key in keys:
        client.put_object(Bucket="many", Key=key, Body=b"")
    found = [item.uri.removeprefix("s3://many/") for item in list_media("s3://many/in", server.endpoint)]
    assert sorted(found) == sorted(key for key in keys if "_hidden" not in key)


def uris(server: Lister, uri: str = "s3://bucket/in") -> list[str]:
    return sorted(item.uri.removeprefix("s3://bucket/") for item in list_media(uri, server.endpoint))


def test_folders_are_listed_apart_and_each_object_comes_once(credentials):
    keys = Counted(25_000, 1200)
    with lister(keys) as server:
        assert uris(server) == list(keys)
        # one to see whether it is a file, one for the folders, two for each of 20, and the last has a thousand
        assert len(server.asked) == 2 + 2 * 20 + 1
        assert sum("delimiter" in asked for asked in server.asked) == 1


def test_a_tree_of_many_small_folders_does_not_cost_a_request_each(credentials):
    keys = [f"in/{n % 20:02}/{n % 500:03}/{n}.jpg" for n in range(3000)]
    with lister(keys) as server:
        assert uris(server) == sorted(keys)
        assert len(server.asked) < 30


def test_a_folder_with_too_many_folders_is_listed_in_one(credentials):
    keys = [f"in/{n:05}/a.jpg" for n in range(2500)]
    with lister(keys) as server:
        assert uris(server) == sorted(keys)
        assert len(server.asked) == 1 + 3 + 3


def test_few_folders_are_opened_until_there_is_enough_to_list_at_a_time(credentials):
    keys = [f"in/year/{month:02}/{n}.jpg" for month in range(12) for n in range(5)] + ["in/a.jpg", "in/year/b.jpg"]
    with lister(keys) as server:
        assert uris(server) == sorted(keys)
        opened = [asked["prefix"] for asked in server.asked if "delimiter" in asked]
        assert opened[:2] == ["in/", "in/year/"]


def test_hidden_folders_are_not_even_listed(credentials):
    with lister(["in/a.jpg", "in/_raysift/b.jpg", "in/.cache/c.jpg", "in/deep/_d/e.jpg", "in/f/.g.jpg"]) as server:
        assert uris(server) == ["in/a.jpg"]
        assert not any("_raysift" in asked["prefix"] or ".cache" in asked["prefix"] for asked in server.asked)
    with lister(["in/_raysift/b.jpg"]) as server:
        assert uris(server) == []  # and it does not say that nothing lies there
    with lister(["in/a.jpg"]) as server:
        assert "nothing lies under s3://bucket/out" in complaint("s3://bucket/out", server.endpoint)


def test_names_that_xml_and_urls_must_escape_come_back_as_they_are(credentials):
    keys = ["in/a b&<c>+%20.jpg", "in/d e/\u65e5\u672c.png", "in/d e/f#?.gif"]
    with lister(keys) as server:
        assert uris(server) == sorted(keys)


def test_who_reads_slowly_is_not_listed_ahead_of(credentials):
    with lister(Counted(100_000, 50_000)) as server:
        found = list_media("s3://bucket/in", server.endpoint)
        assert len(list(islice(found, 1500))) == 1500
        ended = [thread for thread in threading.enumerate() if thread.name.startswith("listing")]
        found.close()
        for thread in ended:  # with what they were asking
            thread.join(10)
            assert not thread.is_alive()
        # of a hundred: a look at each folder, what was read, and what its listers held ready
        assert len(server.asked) <= 2 + 2 + 2 + LISTERS


def test_a_server_that_asks_to_be_asked_more_slowly_is(credentials):
    keys = Counted(3000, 1000)
    with lister(keys, refusals=2) as server:
        assert uris(server) == list(keys)
        assert server.refusals == 0


class Circular(Lister):
    """Says again and again that there is more after the same place."""

    def listing(self, asked: dict[str, str]) -> str:
        return "<R><IsTruncated>true</IsTruncated><NextContinuationToken>7</NextContinuationToken></R>"


def test_a_server_that_cannot_go_on_is_named_and_does_not_look_like_an_end(credentials):
    with running(Circular([])) as server:
        assert "s3://bucket/in/ cannot be listed: the server says that there is more" in complaint(
            "s3://bucket/in", server.endpoint
        )
