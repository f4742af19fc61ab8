"""Originals for the API: files and members, within the roots, decoded in child processes."""

import pickle
from pathlib import Path
from zipfile import ZipFile

import pytest

from cluster.errors import MediaError
from cluster.settings import Decoding, Scanning, Settings
from cluster.storage.members import member_uri
from pipelines.ledger.originals import Originals
from tests.pipelines.decoder import shared_decoder
from tests.support.media import RED, film, solid


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("originals") / "a b.avi", [solid(RED)] * 20, codec="mpeg4")


def settings(root: Path, **decoding: int) -> Settings:
    return Settings(scanning=Scanning(roots=(str(root),)), decoding=Decoding(**decoding))


def test_a_file_of_a_folder_is_copied_and_described(recording: Path):
    originals, uri, own = Originals(shared_decoder), recording.as_uri(), settings(recording.parent)
    media_type, *pieces = originals.part(uri, None, 0.0, own)
    assert media_type == 'video/mp4; codecs="avc1.4d4028"' and len(b"".join(map(bytes, pieces))) > 1000
    assert originals.still(uri, None, 1.0, own).startswith(b"\xff\xd8")
    assert originals.properties(uri, None, "video", own)["others"]["frames a second"] == "10"


def test_so_is_a_member_of_an_archive(recording: Path, tmp_path: Path):
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(recording, "in/a.avi")
    parent = (tmp_path / "a.zip").as_uri()
    part = Originals(shared_decoder).part(member_uri(parent, "in/a.avi"), parent, 0.0, settings(tmp_path))
    assert str(next(part)).startswith("video/mp4")
    part.close()


def test_what_lies_under_no_root_is_gone_or_is_too_large_is_refused(recording: Path, tmp_path: Path):
    originals, uri, home = Originals(shared_decoder), recording.as_uri(), recording.parent
    (home / "link.avi").symlink_to("/etc/passwd")
    for place, own, reason in (
        (uri, settings(tmp_path), "lies outside"),
        ((home / "link.avi").as_uri(), settings(home), "lies outside"),
        ((home / "gone.avi").as_uri(), settings(home), "is not there"),
        (uri, settings(home, max_bytes=100), "allows 100"),
    ):
        with pytest.raises(MediaError, match=reason) as refusal:
            next(originals.part(place, None, 0.0, own))
        assert refusal.value.step == "fetch"


def test_it_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(Originals(shared_decoder)))
