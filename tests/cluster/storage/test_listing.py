"""Listing of local folders, and of buckets through pyarrow."""

import os
import shutil
import socket
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pyarrow import fs

from cluster.errors import SettingsError
from cluster.storage.buckets import fetch, filesystem, normalize
from cluster.storage.listing import list_media, list_store
from cluster.storage.roots import Roots
from tests.support.listed import complaint, item_of, listed, put


def test_a_bare_path_becomes_an_absolute_uri_and_others_stay():
    assert normalize("a/../b c/") == Path("b c").absolute().as_uri()
    assert normalize("s3://bucket/prefix/") == "s3://bucket/prefix"


def test_every_file_of_a_folder_is_listed_with_the_kind_that_its_suffix_tells(tmp_path):
    kinds = {"a.JPG": "image", "b.mp4": "video", "c.flac": "audio", "no_suffix": None, "d.txt": None, "g.tar.gz": None}
    kinds |= {"_e.jpg": "image", ".f.jpg": "image", "IMG.HEIC": "image"}
    for name, folder in zip(kinds, ("", "deep/er", "deep", "", "", "", "_hidden", ".cache", "DCIM"), strict=True):
        put(tmp_path / folder / name)
    assert listed(tmp_path) == kinds


def test_names_that_match_an_exclude_pattern_are_left_out_with_everything_below_them(tmp_path):
    for name in ("a.jpg", "b.tmp", ".git/c.jpg", "deep/d.jpg", "deep/er/e 1.jpg", "deep/f.png"):
        put(tmp_path / name)
    assert left_out(tmp_path, exclude=("*.tmp", ".git", "deep/er/e ?.jpg")) == (
        ["a.jpg", "d.jpg", "f.png"],
        dict.fromkeys(["b.tmp", "c.jpg", "e%201.jpg"], "its name matches an exclude pattern"),
    )


def test_a_named_file_is_listed_whatever_its_suffix(tmp_path):
    assert listed(put(tmp_path / "evidence.dat")) == {"evidence.dat": None}
    assert listed(put(tmp_path / "_b.png").as_uri()) == {"_b.png": "image"}


def test_an_empty_folder_lists_nothing_and_a_missing_one_is_a_settings_error(tmp_path):
    assert listed(tmp_path) == {}
    assert "does not exist" in complaint(tmp_path / "gone")
    assert "does not exist" in complaint(put(tmp_path / "file") / "below")


def test_links_to_files_and_folders_are_followed_once_and_the_others_are_left_out_with_their_reason(tmp_path):
    put(tmp_path / "in" / "a.jpg")
    put(tmp_path / "elsewhere" / "album" / "c.jpg")
    links = {"b.jpg": "a.jpg", "album": tmp_path / "elsewhere" / "album", "again": tmp_path / "elsewhere" / "album"}
    links |= {"loop": tmp_path / "in", "above": "..", "self.jpg": "self.jpg", "gone.jpg": "nothing"}
    for name, target in links.items():
        (tmp_path / "in" / name).symlink_to(target)
    (tmp_path / "elsewhere" / "album" / "back").symlink_to(tmp_path / "elsewhere")
    names, reasons = left_out(tmp_path / "in")
    assert names == ["a.jpg", "b.jpg", "c.jpg"]
    twice = reasons.keys() & {"album", "again"}
    assert len(twice) == 1, "one of two links to the same folder is followed"
    listed_already, nothing = "it is a link to a folder that is listed already", "it is a link to nothing"
    assert reasons == {
        **dict.fromkeys(twice | {"loop", "above", "back"}, listed_already),
        "self.jpg": nothing,
        "gone.jpg": nothing,
    }


def test_a_link_to_a_folder_outside_the_roots_is_not_entered(tmp_path):
    put(tmp_path / "secret" / "s.jpg")
    scanned = put(tmp_path / "in" / "a.jpg").parent
    (scanned / "album").symlink_to(tmp_path / "secret")
    names, reasons = left_out(scanned, Roots((scanned.as_uri(),)))
    assert names == ["a.jpg"] and "scanning.roots" in reasons["album"]


def left_out(
    folder: Path, roots: Roots | None = None, exclude: tuple[str, ...] = ()
) -> tuple[list[str], dict[str, str]]:
    """The names of the files that are listed, and why the others are not."""
    reasons: dict[str, str] = {}
    items = list_media(str(folder), roots=roots, left_out=reasons.__setitem__, exclude=exclude)
    names = sorted(item.uri.rpartition("/")[2] for item in items)
    return names, {uri.rpartition("/")[2]: reason for uri, reason in reasons.items()}


def test_an_unreadable_folder_below_is_left_out_with_its_reason_and_the_others_are_listed():
    with TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        put(Path(name) / "a.jpg")
        put(Path(name) / "other" / "c.jpg")
        closed = put(Path(name) / "closed" / "b.jpg").parent
        nameless = put(Path(name) / "nameless" / "d.jpg").parent  # its names may be read, its files may not
        os.chmod(closed, 0)
        os.chmod(nameless, 0o744)
        root = os.geteuid() == 0
        if root:  # which may read everything
            os.seteuid(65534)
        try:
            names, reasons = left_out(Path(name))
            assert f"{str(closed)!r} may not be read" in complaint(closed)
        finally:
            if root:
                os.seteuid(0)
            os.chmod(closed, 0o755)
    assert names == ["a.jpg", "c.jpg"]
    assert reasons == dict.fromkeys(["closed", "d.jpg"], "it may not be read by this user")


def test_a_folder_that_vanishes_while_it_is_listed_is_left_out_with_its_reason(tmp_path):
    for name in ("a", "b"):
        put(tmp_path / name / f"{name}.jpg")
    put(tmp_path / "first.jpg")
    reasons: dict[str, str] = {}
    items = list_media(str(tmp_path), left_out=reasons.__setitem__)
    names = [next(items).uri.rpartition("/")[2]]  # both folders may have been seen, neither has been opened
    shutil.rmtree(tmp_path / "a")
    names += [item.uri.rpartition("/")[2] for item in items]
    assert sorted(names) == ["b.jpg", "first.jpg"]
    assert reasons in ({}, {(tmp_path / "a").as_uri(): "it was deleted while its folder was listed"})


@pytest.fixture
def odd_files(tmp_path):
    """A folder with a picture, and special files with the names of pictures."""
    put(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "fifo.jpg")
    # relative: the path of a socket is limited to 107 characters
    with socket.socket(socket.AF_UNIX) as listener, chdir(tmp_path):
        listener.bind("socket.jpg")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    (tmp_path / "link.jpg").symlink_to("fifo.jpg")
    return tmp_path


def test_special_files_are_left_out_with_their_reason_and_do_not_block(odd_files):
    names, reasons = left_out(odd_files)
    assert names == ["a.jpg"]
    assert reasons == {
        "fifo.jpg": "it is a FIFO, not a file",
        "socket.jpg": "it is a socket, not a file",
        "device.jpg": "it is a device, not a file",
        "link.jpg": "it is a FIFO, not a file",
    }


def test_a_special_file_that_is_named_is_refused(odd_files):
    assert "is a FIFO, not a file" in complaint(odd_files / "fifo.jpg")
    assert "is a socket, not a file" in complaint(odd_files / "socket.jpg")
    assert "is a device, not a file" in complaint("/dev/zero")
    for uri in ("/proc/self/environ", "/proc", "/sys/kernel", "/proc/self/root/proc"):
        assert "is a view of the system's kernel" in complaint(uri)


def test_a_link_that_leads_out_of_the_roots_is_left_out_and_one_that_stays_is_listed(tmp_path):
    secret = put(tmp_path / "secret.txt")
    scanned = put(tmp_path / "in" / "a.jpg").parent
    (scanned / "b.jpg").symlink_to("a.jpg")
    (scanned / "x.jpg").symlink_to(secret)
    (scanned / "y.jpg").symlink_to("../secret.txt")
    names, reasons = left_out(scanned, Roots((scanned.as_uri(),)))
    assert names == ["a.jpg", "b.jpg"]
    assert set(reasons) == {"x.jpg", "y.jpg"} and "scanning.roots" in reasons["x.jpg"]


def test_a_folder_that_is_swapped_for_a_link_while_its_parent_is_listed_is_not_entered(tmp_path):
    put(tmp_path / "secret" / "s.jpg")
    scanned = put(tmp_path / "in" / "a.jpg").parent
    put(scanned / "deep" / "b.jpg")
    reasons: dict[str, str] = {}
    items = list_media(str(scanned), roots=Roots((scanned.as_uri(),)), left_out=reasons.__setitem__)
    names = []
    for item in items:
        names.append(item.uri.rpartition("/")[2])
        if (scanned / "deep").is_dir() and not (scanned / "deep").is_symlink():
            shutil.rmtree(scanned / "deep")
            (scanned / "deep").symlink_to(tmp_path / "secret")
    assert names == ["a.jpg"]


def test_names_that_are_not_utf_8_keep_their_bytes(tmp_path):
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


def test_lists_one_folder_at_a_time_through_pyarrow():
    store = fs.SubTreeFileSystem("bucket", fs._MockFileSystem())
    for name in ("in/a.jpg", "in/deep/b.mov", "in/_raysift/c.jpg", "in/d.txt", "other/e.jpg"):
        store.create_dir(name.rpartition("/")[0])
        store.open_output_stream(name).close()
    found = ["gs://in/_raysift/c.jpg", "gs://in/a.jpg", "gs://in/d.txt", "gs://in/deep/b.mov"]
    assert sorted(item.uri for item in list_store("gs://in", store, "in")) == found
    assert [item.uri for item in list_store("gs://in/a.jpg", store, "in/a.jpg")] == ["gs://in/a.jpg"]
    with pytest.raises(SettingsError, match="nothing lies under gs://gone"):
        list(list_store("gs://gone", store, "gone"))


class Store:
    """A bucket whose folders are listed by pyarrow; some raise an error."""

    def __init__(self, store, errors):
        self.store, self.errors = store, errors

    def get_file_info(self, what):
        if isinstance(what, fs.FileSelector) and what.base_dir in self.errors:
            raise self.errors[what.base_dir]
        return self.store.get_file_info(what)


def test_a_forbidden_folder_of_a_bucket_is_left_out_and_a_network_that_fails_ends_the_listing():
    mock = fs.SubTreeFileSystem("bucket", fs._MockFileSystem())
    for name in ("in/a.jpg", "in/closed/b.jpg"):
        mock.create_dir(name.rpartition("/")[0])
        mock.open_output_stream(name).close()
    reasons: dict[str, str] = {}
    store = Store(mock, {"in/closed": OSError("google::cloud::Status(PERMISSION_DENIED: no)")})
    assert [item.uri for item in list_store("gs://in", store, "in", reasons.__setitem__)] == ["gs://in/a.jpg"]
    assert reasons == {"gs://in/closed": "access is denied or it was deleted"}
    with pytest.raises(SettingsError, match="gs://in cannot be listed"):
        list(list_store("gs://in", Store(mock, {"in/closed": OSError("timed out")}), "in"))
    with pytest.raises(SettingsError, match="gs://in cannot be listed"):
        list(list_store("gs://in", Store(mock, {"in": PermissionError("ACCESS_DENIED")}), "in"))


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("ftp://host/a", "ftp:// is not read here"),
        ("s3://", "the name of a bucket is missing"),
        ("file://tmp/a", "three slashes"),
        ("az://container/a", "AZURE_STORAGE_ACCOUNT"),
    ],
)
def test_an_invalid_uri_is_a_settings_error(uri, says, monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_KEY", raising=False)
    assert says in complaint(uri)


def test_an_endpoint_without_a_scheme_is_a_settings_error():
    assert "s3_endpoint_url" in complaint("s3://bucket", "localhost:9000")
    with pytest.raises(SettingsError, match="is not a URL"):
        filesystem("s3://bucket/a", "localhost:9000")
