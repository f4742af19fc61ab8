"""Containers whose name tells another kind: what lies in them is found all the same, as parts of their row."""

import gzip
import io
import tarfile
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from cluster.records import Result
from pipelines.archives.limits import Limits
from tests.pipelines.archives.scans import contents, labels, png, reasons, scan
from tests.pipelines.archives.test_documents import file_texts
from tests.pipelines.archives.test_mails import mail

Files = dict[str, bytes]


def zipped(files: Files) -> bytes:
    file = io.BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(files: Files) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def result_of(path: Path, content: bytes, kind: str | None) -> Result:
    """The row of a file that the listing takes for that kind."""
    path.write_bytes(content)
    with scan() as scanning:
        row = scanning.rows(path)[0] | {"kind": kind, "failures": None, "contents": None, "members": None}
        (result,) = scanning.results(path.parent / "work", [row])
    return result


def where(result: Result, label: str) -> list[str]:
    return [f.detection.evidence for f in result.findings if f.detection.label == label and f.detector == "eye"]


TWO = {"photos/a.png": png("red"), "b.png": png("blue"), "c.txt": b"hello"}


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("x.jpg", zipped(TWO), "image"),
        ("x.mp4", tarred(TWO), "video"),
        ("x.mp3", gzip.compress(tarred(TWO)), "audio"),
        ("upload", zipped(TWO), None),
    ],
)
def test_members_of_a_container_with_another_name_are_found_in_its_row(tmp_path, name, content, kind):
    result = result_of(tmp_path / name, content, kind)
    assert (result.item.kind, result.failures, result.frames) == ("container", (), 2)
    assert where(result, "red") == ["in photos/a.png"] and where(result, "blue") == ["in b.png"]
    assert "whatever its name says" in contents(result) and contents(result).endswith("2 image, 1 .txt (no media)")
    assert result.thumbnail and any(finding.detection.vectors for finding in result.findings)


def test_containers_in_it_are_opened_too_and_their_texts_are_kept(tmp_path):
    message = mail("the cargo", png("blue"), "pier.png").as_bytes()
    result = result_of(tmp_path / "x.png", zipped({"in.zip": zipped({"a.png": png()}), "b.eml": message}), "image")
    assert where(result, "red") == ["in in.zip!a.png"] and where(result, "blue") == ["in b.eml!pier.png"]
    assert ("It leaves from the northern pier.", "in b.eml; body") in file_texts(result)
    assert not result.failures


def test_what_is_not_looked_at_stands_in_its_row(tmp_path):
    deep = png()
    for n in range(Limits().depth + 1):
        deep = zipped({f"{n}.zip" if n else "a.png": deep})
    result = result_of(tmp_path / "x.jpg", zipped({"deep.zip": deep, "cut.png": png()[:40]}), "image")
    assert not labels(result) & {"red", "blue"}
    assert "3 containers" in reasons(result) and "cut.png in it was not looked at" in reasons(result)


def test_a_bomb_with_another_name_is_refused(tmp_path):
    result = result_of(tmp_path / "x.jpg", zipped({"zeros.bmp": b"BM" + bytes(50_000_000)}), "image")
    assert "unpacks to more than" in reasons(result)


def test_a_broken_container_with_another_name_has_a_reason(tmp_path):
    result = result_of(tmp_path / "x.png", zipped(TWO)[:200], "image")
    assert result.item.kind == "container" and result.failures


def test_many_members_are_analysed_a_few_at_a_time_and_none_stays_on_disk(tmp_path):
    result = result_of(tmp_path / "x.jpg", tarred({f"{n}.png": png() for n in range(20)}), "image")
    assert len(where(result, "red")) == 20
    assert [path.name for path in (tmp_path / "work").rglob("*") if path.is_file()] == ["0"]
