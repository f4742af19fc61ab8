"""ZIP archives: their members are units."""

from zipfile import ZIP_DEFLATED, ZipFile

from cluster.records import ModelVersion
from tests.pipelines.archives.scans import contents, labels, png, scan


def test_a_picture_in_a_zip_is_analysed_and_the_zip_has_a_row_of_its_own(tmp_path):
    path = tmp_path / "evidence.zip"
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.writestr("photos/a.png", png("red"))
        archive.writestr("no suffix", png("blue"))
        archive.writestr("notes/readme.txt", "hello")
    with scan() as scanning:
        found = scanning.found(path)
    assert list(found) == ["", "photos/a.png", "no suffix"]
    zipped, red, blue = found.values()
    assert (zipped.item.kind, zipped.frames, zipped.members, zipped.failures) == ("container", 0, 2, ())
    assert contents(zipped) == "2 image, 1 .txt (no media)"
    assert ModelVersion("eye", "eye-1", 0.5) in zipped.model_versions and len(zipped.sha256) == 64
    assert red.item.uri == f"{path.as_uri()}!photos/a.png" and red.item.parent == path.as_uri()
    assert blue.item.uri == f"{path.as_uri()}!no%20suffix"
    assert "red" in labels(red) and "blue" in labels(blue) and not red.failures
    assert red.item.etag.startswith(f"{zipped.item.etag}!0-") and red.item.etag != blue.item.etag
