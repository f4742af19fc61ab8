"""Galleries of reference pictures, in a folder and in a bucket."""

import os

import pytest
from PIL import Image

from cluster.errors import SettingsError
from deployments.galleries.store import Gallery


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.PNG".lower())
    return tmp_path / "red.png"


def check(gallery, picture):
    empty = gallery.version()
    assert gallery.references() == []
    (added,) = gallery.add("Grace Hopper", picture)
    assert gallery.add("Grace Hopper", picture) == [added]  # the same bytes again change nothing
    assert gallery.references() == [added]
    assert gallery.read(added) == picture.read_bytes()
    assert (added.name, added.file.endswith(".png")) == ("Grace Hopper", True)
    assert gallery.version() != empty
    assert gallery.remove("Grace Hopper") == 1
    assert gallery.references() == [] and gallery.version() == empty


def test_pictures_are_stored_by_name_in_a_folder(tmp_path, picture):
    check(Gallery(str(tmp_path / "a gallery")), picture)


def test_only_a_regular_file_is_added(tmp_path):
    gallery, path = Gallery(str(tmp_path / "gallery")), tmp_path / "x.png"
    for target, says in (
        ("/dev/zero", "a device"),
        ("/proc/self/environ", "a view of the system's kernel"),
        ("/", "a folder"),
    ):
        path.symlink_to(target)
        with pytest.raises(SettingsError, match=f"x.png is {says}"):
            gallery.add("Grace Hopper", path)
        path.unlink()
    os.mkfifo(path)
    with pytest.raises(SettingsError, match=r"x.png is a FIFO, not a file\. Give another"):
        gallery.add("Grace Hopper", path)
    assert gallery.references() == []


@pytest.mark.ray
def test_pictures_are_stored_by_name_in_a_bucket(s3, picture, monkeypatch):
    for key, value in s3.environment().items():
        monkeypatch.setenv(key, value)
    s3.client().create_bucket(Bucket="galleries")
    check(Gallery("s3://galleries/face", s3.endpoint), picture)


def test_two_galleries_of_the_same_pictures_have_the_same_version(tmp_path, picture):
    one, two = Gallery(str(tmp_path / "1")), Gallery(str(tmp_path / "2"))
    one.add("x", picture)
    two.add("x", picture)
    assert one.version() == two.version()


@pytest.mark.parametrize("name", ["", "../up", "_own", ".hidden", "a/b", "x" * 200])
def test_a_name_that_could_leave_its_folder_is_refused(tmp_path, picture, name):
    with pytest.raises(SettingsError, match="cannot be a name"):
        Gallery(str(tmp_path / "g")).add(name, picture)


def test_a_file_that_is_no_picture_is_refused_with_a_message(tmp_path):
    (tmp_path / "letter.png").write_text("Dear reader")
    with pytest.raises(SettingsError, match="cannot be read as a picture"):
        Gallery(str(tmp_path / "g")).add("x", tmp_path / "letter.png")
    with pytest.raises(SettingsError, match="no picture by its name"):
        Gallery(str(tmp_path / "g")).add("x", tmp_path / "letter.txt")


def test_removing_an_unknown_name_lists_the_names(tmp_path, picture):
    gallery = Gallery(str(tmp_path / "g"))
    gallery.add("acme", picture)
    with pytest.raises(SettingsError, match="there are acme"):
        gallery.remove("acne")


def test_a_picture_appears_when_it_is_completely_on_disk(tmp_path, picture, monkeypatch):
    gallery, listed = Gallery(str(tmp_path / "g")), []
    monkeypatch.setattr("os.fsync", lambda file: listed.append(gallery.references()))
    (added,) = gallery.add("acme", picture)
    assert listed == [[]] and gallery.references() == [added]


def test_a_picture_that_cannot_be_written_completely_does_not_appear(tmp_path, picture, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    gallery = Gallery(str(tmp_path / "g"))
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        gallery.add("acme", picture)
    assert gallery.references() == [] and gallery.flaws() == []


def test_adding_a_picture_again_repairs_a_damaged_copy(tmp_path, picture):
    gallery = Gallery(str(tmp_path / "g"))
    (added,) = gallery.add("acme", picture)
    path = tmp_path / "g" / "acme" / added.file
    path.write_bytes(b"x" * added.size)
    gallery.add("acme", picture)
    assert path.read_bytes() == picture.read_bytes()
