"""ZIP archives: their members are units."""

from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from cluster.records import ModelVersion
from tests.pipelines.archives.scans import contents, labels, png, reasons, scan


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


def test_a_member_whose_name_is_that_of_a_folder_is_found_if_it_has_bytes(tmp_path):
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("photos/", b"")
        archive.writestr("secret.png/", png())
    with scan() as scanning:
        found = scanning.found(tmp_path / "a.zip")
    assert list(found) == ["", "secret.png"] and "red" in labels(found["secret.png"])


def test_files_that_the_index_of_a_zip_does_not_name_stand_in_its_row(tmp_path):
    content = []
    for colour in ("red", "blue"):
        with ZipFile(tmp_path / "one.zip", "w") as archive:
            archive.writestr(f"{colour}.png", png(colour))
        content.append((tmp_path / "one.zip").read_bytes())
    with ZipFile(tmp_path / "one.zip", "a") as archive:
        archive.writestr("x.png", png())
        del archive.filelist[0], archive.NameToInfo["blue.png"]  # as programs do that only mark a member as deleted
    hidden = "that its index does not name, such as deleted ones: they were not looked at"
    for name, bytes_ in {"both.zip": b"".join(content), "deleted.zip": (tmp_path / "one.zip").read_bytes()}.items():
        (tmp_path / name).write_bytes(bytes_)
        with scan() as scanning:
            found = scanning.found(tmp_path / name)
        assert len(found) == 2 and hidden in reasons(found[""])
    with ZipFile(tmp_path / "plain.zip", "w", ZIP_DEFLATED) as archive:
        archive.writestr("inner.zip", content[0])
        archive.comment = b"a comment"
    with scan() as scanning:
        assert not scanning.found(tmp_path / "plain.zip")[""].failures


@pytest.mark.parametrize(
    ("name", "head", "what"),
    [
        ("a.cab", b"MSCF\0\0\0\0" + bytes(40), "a Cabinet archive"),
        ("winmail.dat", b"\x78\x9f\x3e\x22" + bytes(40), "winmail.dat"),
        ("smime.p7m", bytes.fromhex("308006092a864886f70d010703a080") + bytes(40), "encrypted (S/MIME)"),
        ("mail.asc", b"-----BEGIN PGP MESSAGE-----\n\nhQEMA\n", "encrypted (PGP)"),
    ],
)
def test_what_holds_files_that_cannot_be_read_is_named(tmp_path, name, head, what):
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, head)
    with scan() as scanning:
        found = scanning.found(tmp_path / "a.zip")
    assert f"{name} in it was not looked at" in reasons(found[""]) and what in reasons(found[""])
