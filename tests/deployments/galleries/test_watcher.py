"""A detector follows its gallery: files that are added, removed, damaged, or unreadable for a while."""

import numpy as np
import pytest
from PIL import Image

from deployments import events
from deployments.galleries import watcher as watchers
from deployments.galleries.pictures import UnusablePicture
from deployments.galleries.store import Gallery
from deployments.galleries.watcher import REFRESH_S, SKIPPED, GalleryWatcher


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def gallery(tmp_path):
    gallery = Gallery(str(tmp_path / "gallery"))

    def put(name, px=20):
        Image.fromarray(np.full((px, px, 3), px, np.uint8)).save(tmp_path / "new.png")
        (reference,) = gallery.add(name, tmp_path / "new.png")
        return tmp_path / "gallery" / name / reference.file

    gallery.put = put
    return gallery


def names(watcher):
    return [reference.name for reference in watcher.current()]


def test_each_picture_is_prepared_once_and_a_listing_is_made_at_most_every_few_seconds(gallery, clock):
    sizes = []
    gallery.put("Ann", 20)
    watcher = GalleryWatcher(gallery, lambda picture: sizes.append(picture.size), clock)
    gallery.put("Bob", 30)
    assert names(watcher) == ["Ann"]
    clock.now += REFRESH_S
    assert names(watcher) == ["Ann", "Bob"] and sizes == [(20, 20), (30, 30)]
    before = watcher.current()
    clock.now += REFRESH_S
    assert watcher.current() is before
    gallery.remove("Ann")
    clock.now += REFRESH_S
    assert names(watcher) == ["Bob"] and len(sizes) == 2


def test_a_listing_that_was_declared_to_be_out_of_date_is_made_again_at_once(gallery, clock):
    watcher = GalleryWatcher(gallery, lambda picture: picture.size, clock)
    gallery.put("Ann")
    assert names(watcher) == []
    watchers.expire()
    assert names(watcher) == ["Ann"]
    gallery.put("Bob")
    assert names(watcher) == ["Ann"], "once"


def test_a_picture_that_is_still_being_copied_is_used_when_it_is_complete(gallery, clock):
    file = gallery.put("Ann")
    whole = file.read_bytes()
    file.write_bytes(whole[:-30])
    watcher = GalleryWatcher(gallery, lambda picture: picture.size, clock)
    assert names(watcher) == []
    file.write_bytes(whole)
    clock.now += REFRESH_S
    assert names(watcher) == ["Ann"]


def test_a_skipped_picture_is_logged_and_counted_once(gallery, clock, caplog):
    gallery.put("Ann").write_bytes(b"no picture")
    before = events.counts().get(SKIPPED, 0)
    watcher = GalleryWatcher(gallery, lambda picture: picture.size, clock)
    for _ in range(3):
        clock.now += REFRESH_S
        assert names(watcher) == []
    assert caplog.text.count("is not used") == 1
    assert events.counts()[SKIPPED] == before + 1


def test_a_picture_that_the_detector_cannot_use_is_skipped_with_its_reason(gallery, clock, caplog):
    def prepare(picture):
        raise UnusablePicture("has no face that can be told from others")

    gallery.put("Ann")
    assert names(GalleryWatcher(gallery, prepare, clock)) == []
    assert "has no face" in caplog.text


class Disk:
    """A gallery some of whose files cannot be read."""

    def __init__(self, gallery, error):
        self.uri, self.references, self.error, self.whole = gallery.uri, gallery.references, error, gallery

    def read(self, reference):
        if self.error:
            raise self.error
        return self.whole.read(reference)


def test_a_file_deleted_after_it_was_listed_is_left_out_without_a_warning(gallery, clock, caplog):
    gallery.put("Ann")
    assert names(GalleryWatcher(Disk(gallery, FileNotFoundError()), lambda picture: 1, clock)) == []
    assert "not used" not in caplog.text


def test_a_file_that_cannot_be_read_is_logged_once_and_tried_again(gallery, clock, caplog):
    gallery.put("Ann")
    disk = Disk(gallery, PermissionError(13, "Permission denied"))
    watcher = GalleryWatcher(disk, lambda picture: 1, clock)
    clock.now += REFRESH_S
    assert names(watcher) == [] and caplog.text.count("Permission denied") == 1
    disk.error = None
    clock.now += REFRESH_S
    assert names(watcher) == ["Ann"]


def test_a_gallery_that_cannot_be_listed_for_a_while_stays_as_it_was(gallery, clock, caplog, tmp_path):
    gallery.put("Ann")
    watcher = GalleryWatcher(gallery, lambda picture: 1, clock)
    before = watcher.current()
    (tmp_path / "gallery").rename(tmp_path / "elsewhere")
    (tmp_path / "gallery").write_text("in its way")
    clock.now += REFRESH_S
    assert watcher.current() is before
    assert "stays as it was" in caplog.text


def test_without_a_gallery_nothing_is_watched():
    assert GalleryWatcher(None, lambda picture: 1).current() == {}
