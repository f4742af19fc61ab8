"""Containers that are too deep, too large, encrypted or broken: each says what of it was not looked at."""

import io
import os
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from pipelines.archives.limits import Limits
from pipelines.archives.names import clean
from tests.pipelines.archives.scans import contents, labels, png, reasons, scan


def zipped(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def encrypted(archive: bytes) -> bytes:
    """The same archive with the flag of encryption in both of its headers of the first member."""
    content = bytearray(archive)
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    return bytes(content)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_members_of_nested_containers_are_units_with_the_path_through_all_of_them(tmp_path):
    inner = zipped(("c.png", png("blue")))
    path = written(tmp_path / "a.zip", zipped(("b!.zip", zipped(("deep/b.zip", inner), ("red.png", png("red"))))))
    with scan() as scanning:
        found = scanning.found(path)
    assert list(found) == ["", "b!.zip", "b!.zip!deep/b.zip", "b!.zip!red.png", "b!.zip!deep/b.zip!c.png"]
    blue = found["b!.zip!deep/b.zip!c.png"]
    assert blue.item.uri == f"{path.as_uri()}!b%21.zip!deep/b.zip!c.png" and blue.item.parent == path.as_uri()
    assert "blue" in labels(blue) and "red" in labels(found["b!.zip!red.png"])
    assert [result.item.kind for result in found.values()].count("container") == 3
    assert found[""].members == 4 and not any(result.failures for result in found.values())


def test_containers_below_the_limit_of_depth_are_not_opened_and_say_so(tmp_path):
    path = written(tmp_path / "a.zip", zipped(("b.zip", zipped(("c.zip", zipped(("d.png", png())))))))
    with scan(Limits(depth=2)) as scanning:
        found = scanning.found(path)
    assert list(found) == ["", "b.zip", "b.zip!c.zip"]
    assert reasons(found["b.zip!c.zip"]) == (
        "members: it lies in 2 containers, the most that are opened: nothing in it was seen"
    )


def test_a_zip_bomb_is_a_reason_and_the_files_beside_it_are_analysed(tmp_path):
    path = written(tmp_path / "bomb.zip", zipped(("zeros.png", bytes(50_000_000)), ("a.png", png())))
    with scan() as scanning:
        found = scanning.found(path)
    assert "zeros.png in it was not looked at: it unpacks to more than" in reasons(found[""])
    assert "red" in labels(found["a.png"])


def test_a_bomb_with_a_forged_size_ends_at_the_limit(tmp_path):
    content = bytearray(zipped(("a.png", png() + bytes(50_000_000))))
    size = (50_000_000 + len(png())).to_bytes(4, "little")
    while size in content:
        at = content.index(size)
        content[at : at + 4] = (5000).to_bytes(4, "little")
    with scan() as scanning:
        found = scanning.found(written(tmp_path / "bomb.zip", bytes(content)))
    assert found["a.png"].failures


def test_encrypted_members_are_a_reason_and_the_others_are_analysed(tmp_path):
    archive = zipped(("a.png", png()), ("b.png", png("blue")))
    with scan() as scanning:
        found = scanning.found(written(tmp_path / "locked.zip", encrypted(archive)))
    assert reasons(found[""]) == (
        "members: a.png in it was not looked at: it is encrypted, and its password is not known here"
    )
    assert list(found) == ["", "b.png"] and "blue" in labels(found["b.png"])


def test_too_many_members_are_a_reason(tmp_path):
    path = written(tmp_path / "many.zip", zipped(*((f"{n}.png", png()) for n in range(5))))
    with scan(Limits(members=3)) as scanning:
        found = scanning.found(path)
    assert list(found) == ["", "0.png", "1.png", "2.png"]
    assert "more than 3 members; the rest was not looked at" in reasons(found[""])


def test_more_bytes_than_the_limit_of_all_members_are_a_reason(tmp_path):
    pictures = [(f"{n}.bmp", b"BM" + os.urandom(1000)) for n in range(5)]
    path = written(tmp_path / "large.zip", zipped(*pictures))
    with scan(Limits(total_bytes=3500)) as scanning:
        found = scanning.found(path)
    assert list(found) == ["", "0.bmp", "1.bmp", "2.bmp"]
    assert "2 files in it were not looked at, for example 3.bmp" in reasons(found[""])


def test_a_broken_archive_has_one_row_with_the_reason(tmp_path):
    content = zipped(("a.png", png()))
    with scan() as scanning:
        found = scanning.found(written(tmp_path / "cut.zip", content[: len(content) // 2]))
    assert list(found) == [""] and reasons(found[""]).startswith("decode: it is damaged or not what it says it is")


def test_members_of_the_same_name_have_different_uris(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = zipped(("a.png", png("red")), ("a.png", png("blue")))
    with scan() as scanning:
        found = scanning.found(written(tmp_path / "twice.zip", content))
    assert list(found) == ["", "a.png", "a (2).png"]
    assert "red" in labels(found["a.png"]) and "blue" in labels(found["a (2).png"])


@pytest.mark.parametrize(
    ("page", "name"),
    [("cp932", "写真の一覧/証拠写真.png"), ("cp866", "Фотографии/снимок.png"), ("utf-8", "Größe.png")],
)
def test_names_of_old_systems_are_read_in_their_code_page(tmp_path, page, name):
    raw = name.encode(page)
    content = zipped((("x" * len(raw)), png())).replace(b"x" * len(raw), raw)
    with scan() as scanning:
        rows = scanning.rows(written(tmp_path / "old.zip", content))
    assert unquote(rows[1]["uri"]).endswith(f"!{name}")


def test_half_a_pair_of_utf_16_in_a_name_is_replaced_and_bytes_that_are_no_text_are_kept():
    assert clean("a\ud800.jpg") == "a\ufffd.jpg" and clean("a\udc80.jpg") == "a\udc80.jpg"


def test_names_cannot_lead_out_of_the_container(tmp_path):
    path = written(tmp_path / "a.zip", zipped(("../../etc/a.png", png()), ("/b.png", png()), ("c\\d.png", png())))
    with scan() as scanning:
        assert list(scanning.found(path)) == ["", "__/__/etc/a.png", "b.png", "c/d.png"]


def test_a_container_is_fetched_once_and_the_least_recently_used_one_is_deleted(tmp_path):
    paths = [written(tmp_path / f"{n}.zip", zipped(*((f"{m}.png", png()) for m in range(4)))) for n in range(3)]
    with scan(most_bytes=2 * paths[0].stat().st_size) as scanning:
        rows = scanning.rows(*paths)
        assert [key[0] for key in scanning.unpacked._kept] == [paths[1].as_uri(), paths[2].as_uri()]
        paths[2].write_bytes(b"other bytes")
        paths[2].write_bytes(paths[1].read_bytes())
        results = scanning.results(tmp_path / "work", rows)
    changed = [result for result in results if result.failures]
    assert {result.item.parent or result.item.uri for result in changed} == {paths[2].as_uri()}
    assert all("has changed since it was listed" in reasons(one) for one in changed if one.item.parent)


def test_what_a_container_holds_besides_media_is_told_in_its_row(tmp_path):
    files = [("a.txt", b"x"), ("b.TXT", b"x"), ("noname", b"x"), ("a.png", png()), ("b.zip", zipped())]
    with scan() as scanning:
        found = scanning.found(written(tmp_path / "a.zip", zipped(*files)))
    assert contents(found[""]) == "1 container, 1 image, 1 without a suffix (no media), 2 .txt (no media)"


def test_limits_can_only_be_used_up_once():
    limits = replace(Limits(), ratio=2, free_bytes=10, total_bytes=100)
    assert [limits.most_bytes(n) for n in (1, 20, 200)] == [10, 40, 100]
