"""Members of containers as open files, for the API."""

import io
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from cluster.errors import MediaError
from cluster.settings import Scanning, Settings
from cluster.storage.members import member_uri
from pipelines.ledger import member_files
from pipelines.ledger.member_files import MemberFiles
from tests.pipelines.archives.scans import png
from tests.pipelines.decoder import shared_decoder

SETTINGS = Settings(scanning=Scanning(roots=("/",)))


@pytest.fixture
def files() -> Iterator[MemberFiles]:
    made = MemberFiles(shared_decoder())
    yield made
    made.close()


def zipped(path: Path, members: dict[str, bytes]) -> str:
    with ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path.as_uri()


def test_a_member_is_opened_also_in_a_container_in_a_container_and_by_any_name(files, tmp_path):
    inner = io.BytesIO()
    with ZipFile(inner, "w") as archive:
        archive.writestr("d e/ü!.png", png("blue"))
    parent = zipped(tmp_path / "a!.zip", {"x/b.png": png("red"), "in.zip": inner.getvalue()})
    with files.open(member_uri(parent, "x/b.png"), parent, SETTINGS) as file:
        assert file.read() == png("red")
        assert file.seek(4) == 4 and file.read(3) == png("red")[4:7]
    with files.open(member_uri(member_uri(parent, "in.zip"), "d e/ü!.png"), parent, SETTINGS) as file:
        assert file.read() == png("blue")


def test_a_member_is_unpacked_once_for_many_requests(files, tmp_path, monkeypatch):
    parent = zipped(tmp_path / "a.zip", {"b.png": png()})
    asked = []
    extract = files._decoder.extract
    monkeypatch.setattr(files._decoder, "extract", lambda *a: asked.append(a) or extract(*a))
    for _ in range(3):
        files.open(member_uri(parent, "b.png"), parent, SETTINGS).close()
    assert len(asked) == 1


def test_a_changed_container_is_read_again_and_one_that_is_gone_is_told(files, tmp_path):
    parent = zipped(tmp_path / "a.zip", {"b.png": png("red")})
    files.open(member_uri(parent, "b.png"), parent, SETTINGS).close()
    zipped(tmp_path / "a.zip", {"other.png": png("red"), "b.png": png("blue")})
    with files.open(member_uri(parent, "b.png"), parent, SETTINGS) as file:
        assert file.read() == png("blue")
    (tmp_path / "a.zip").unlink()
    with pytest.raises(MediaError, match="is not there") as caught:
        files.open(member_uri(parent, "b.png"), parent, SETTINGS)
    assert caught.value.step == "fetch"


def test_roots_limits_and_missing_members_are_told(files, tmp_path, monkeypatch):
    parent = zipped(tmp_path / "a.zip", {"b.png": png()})
    uri = member_uri(parent, "b.png")
    with pytest.raises(MediaError, match="outside the folders"):
        files.open(uri, parent, Settings(scanning=Scanning(roots=("/other",))))
    with pytest.raises(MediaError, match="not in its container any more") as caught:
        files.open(member_uri(parent, "c.png"), parent, SETTINGS)
    assert caught.value.step == "decode"
    monkeypatch.setattr(member_files, "MOST_BYTES", 10)
    with pytest.raises(MediaError, match="only the whole can be had") as caught:
        files.open(uri, parent, SETTINGS)
    assert caught.value.step == "fetch"
