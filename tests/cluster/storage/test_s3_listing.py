"""Listing of S3 buckets."""

import threading
from itertools import islice

import pytest

from cluster.storage.listing import list_media
from cluster.storage.s3_listing import LISTERS
from tests.support.listed import complaint, listed
from tests.support.servers.http import running
from tests.support.servers.many_objects import Counted, Lister, Refusal, lister


@pytest.mark.ray
def test_s3_lists_a_prefix_an_object_and_a_bucket(server, credentials):
    within = {"a b#?%20.jpg": "image", "b.mp4": "video", "c.jpg": "image", "d.txt": None}
    assert listed("s3://media/in", server.endpoint) == within
    assert listed("s3://media/in.jpg", server.endpoint) == {"in.jpg": "image"}
    assert set(listed("s3://media/", server.endpoint)) == {*within, "e.jpg", "in.jpg"}


@pytest.mark.ray
def test_s3_errors_say_what_is_missing(server, credentials, monkeypatch):
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
def test_s3_lists_every_object_once_in_any_layout_of_folders(server, credentials):
    client = server.client()
    client.create_bucket(Bucket="many")
    keys = [f"in/{n % 12}/{n}.jpg" for n in range(60)] + [f"in/deep/er/and/deeper/{n}.jpg" for n in range(1010)]
    keys += ["in/a.jpg", "in/a/b.jpg", "in/a-b.jpg", "in/_hidden/c.jpg"]
    for key in keys:
        client.put_object(Bucket="many", Key=key, Body=b"")
    found = [item.uri.removeprefix("s3://many/") for item in list_media("s3://many/in", server.endpoint)]
    assert sorted(found) == sorted(keys)


def uris(server: Lister, uri: str = "s3://bucket/in") -> list[str]:
    return sorted(item.uri.removeprefix("s3://bucket/") for item in list_media(uri, server.endpoint))


def test_folders_are_listed_separately_and_each_object_once(credentials):
    keys = Counted(25_000, 1200)
    with lister(keys) as server:
        assert uris(server) == list(keys)
        # one request for an object of this key, one for the folders, two for each of 20, one for the last 1000 objects
        assert len(server.asked) == 2 + 2 * 20 + 1
        assert sum("delimiter" in asked for asked in server.asked) == 1


def test_many_small_folders_do_not_cost_a_request_each(credentials):
    keys = [f"in/{n % 20:02}/{n % 500:03}/{n}.jpg" for n in range(3000)]
    with lister(keys) as server:
        assert uris(server) == sorted(keys)
        assert len(server.asked) < 30


def test_a_folder_with_too_many_folders_is_listed_flat(credentials):
    keys = [f"in/{n:05}/a.jpg" for n in range(2500)]
    with lister(keys) as server:
        assert uris(server) == sorted(keys)
        assert len(server.asked) == 1 + 3 + 3


def test_few_folders_are_split_until_there_is_work_for_all_listers(credentials):
    keys = [f"in/year/{month:02}/{n}.jpg" for month in range(12) for n in range(5)] + ["in/a.jpg", "in/year/b.jpg"]
    with lister(keys) as server:
        assert uris(server) == sorted(keys)
        opened = [asked["prefix"] for asked in server.asked if "delimiter" in asked]
        assert opened[:2] == ["in/", "in/year/"]


def test_names_that_begin_with_a_dot_or_an_underscore_are_listed(credentials):
    keys = ["in/.cache/c.jpg", "in/_raysift/b.jpg", "in/a.jpg", "in/deep/_d/e.jpg", "in/f/.g.jpg"]
    with lister(keys) as server:
        assert uris(server) == keys
    with lister(["in/a.jpg"]) as server:
        assert "nothing lies under s3://bucket/out" in complaint("s3://bucket/out", server.endpoint)


def test_names_that_xml_and_urls_escape_are_unchanged(credentials):
    keys = ["in/a b&<c>+%20.jpg", "in/d e/\u65e5\u672c.png", "in/d e/f#?.gif"]
    with lister(keys) as server:
        assert uris(server) == sorted(keys)


def test_the_listing_does_not_run_far_ahead_of_a_slow_reader(credentials):
    with lister(Counted(100_000, 50_000)) as server:
        found = list_media("s3://bucket/in", server.endpoint)
        assert len(list(islice(found, 1500))) == 1500
        ended = [thread for thread in threading.enumerate() if thread.name.startswith("listing")]
        found.close()
        for thread in ended:  # after their last requests
            thread.join(10)
            assert not thread.is_alive()
        # of a hundred requests: one for each folder, those that were read, and those that the listers hold
        assert len(server.asked) <= 2 + 2 + 2 + LISTERS


def test_requests_that_a_server_throttles_are_retried(credentials):
    keys = Counted(3000, 1000)
    with lister(keys, refusals=2) as server:
        assert uris(server) == list(keys)
        assert server.refusals == 0


class Guarded(Lister):
    """Denies access to some prefixes."""

    forbidden: tuple[str, ...] = ()

    def listing(self, asked: dict[str, str]) -> str:
        if asked["prefix"] in self.forbidden:
            raise Refusal(403, "AccessDenied")
        return super().listing(asked)


def test_a_forbidden_prefix_is_left_out_with_its_reason_and_the_others_are_listed(credentials):
    keys = sorted(f"in/{folder}/{n}.jpg" for folder in ("open", "closed", "other") for n in range(3))
    reasons: dict[str, str] = {}
    with running(Guarded(keys)) as server:
        server.forbidden = ("in/closed/",)
        items = list_media("s3://bucket/in", server.endpoint, left_out=reasons.__setitem__)
        assert sorted(item.uri.removeprefix("s3://bucket/") for item in items) == [
            key for key in keys if "closed" not in key
        ]
        assert list(reasons) == ["s3://bucket/in/closed/"] and "s3:ListBucket" in reasons["s3://bucket/in/closed/"]
        server.forbidden = ("in/",)
        assert "access denied. Allow these credentials" in complaint("s3://bucket/in", server.endpoint)


class Circular(Lister):
    """Returns the same continuation token for ever."""

    def listing(self, asked: dict[str, str]) -> str:
        return "<R><IsTruncated>true</IsTruncated><NextContinuationToken>7</NextContinuationToken></R>"


def test_a_repeated_continuation_token_is_an_error_and_not_the_end(credentials):
    with running(Circular([])) as server:
        assert "s3://bucket/in/ cannot be listed: the server says that there is more" in complaint(
            "s3://bucket/in", server.endpoint
        )


def test_a_server_that_does_not_answer_is_reported_within_seconds(credentials):
    assert "does not answer (EndpointConnectionError). Check s3_endpoint_url" in complaint(
        "s3://bucket/a", "http://127.0.0.1:1"
    )
