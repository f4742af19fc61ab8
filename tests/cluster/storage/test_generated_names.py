"""URIs, roots and names of members over generated strings: nothing escapes, and refusals are sentences."""

import os
import posixpath
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import SettingsError
from cluster.storage import members
from cluster.storage.filesystems import local_path, normalize, split
from cluster.storage.roots import Roots
from tests.support.generated import thorough

pytestmark = pytest.mark.chaos

PIECES = [
    "/",
    "..",
    ".",
    "%2e%2e",
    "%2F",
    "%252e",
    "\\",
    "case-1",
    "case-2",
    "!",
    "a b",
    "é",
    "\udc80",
    "//",
    "~",
    "?",
    "#",
]
paths = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=12).map("".join)
schemes = st.sampled_from(["", "file://", "s3://", "gs://", "az://", "http://", "S3://", "file:"])
uris = st.builds(lambda scheme, path: scheme + path, schemes, paths) | st.text(max_size=40)
# surrogates only for bytes, as pipelines/archives/names.py cleans the names of members
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
names = texts | st.binary(min_size=1).map(lambda raw: os.fsdecode(raw.replace(b"\0", b"0")))


@thorough
@given(uris)
def test_a_place_is_refused_or_has_one_spelling(uri):
    try:
        once = normalize(uri)
        split(uri)
    except SettingsError:
        return
    assert normalize(once) == once
    if once.startswith("file://"):
        path = local_path(once)
        assert path.startswith("/") and ".." not in path.split("/") and "\0" not in path


@thorough
@given(uris)
def test_nothing_outside_a_prefix_of_a_bucket_is_allowed_however_it_is_encoded(uri):
    try:
        allowed = Roots(("s3://bucket/case-1",)).allow(uri)
    except SettingsError:
        return
    if allowed:
        key = normalize(uri).removeprefix("s3://")
        for _ in range(8):
            key = unquote(key).replace("\\", "/")
        resolved = posixpath.normpath(key)
        assert resolved == "bucket/case-1" or resolved.startswith("bucket/case-1/")


@thorough
@given(paths)
def test_nothing_outside_a_local_folder_is_allowed(path):
    try:
        allowed = Roots(("/srv/case-1",)).allow(f"/srv/case-1/{path}")
    except SettingsError:
        return
    real = os.path.realpath(local_path(f"/srv/case-1/{path}"))
    assert allowed == (real == "/srv/case-1" or real.startswith("/srv/case-1/"))


@thorough
@given(names, st.lists(st.tuples(names, st.integers(0, 10**9)), min_size=1, max_size=4))
def test_a_members_uri_and_etag_tell_where_it_lies(container, places):
    parent = normalize(f"/srv/{container}")
    uri, etag = parent, "an-etag"
    for path, number in places:
        uri, etag = members.member_uri(uri, path), members.member_etag(etag, number, "c0ffee")
    assert members.numbers(uri, parent, etag) == [number for _, number in places]
    assert members.outer_etag(uri, parent, etag) == "an-etag"
    last = places[-1][0].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    assert members.member_name(uri, parent) == last.rpartition("/")[2]
