"""Whether files are still those that were analysed: members of containers, roots, and the time for reading."""

import hashlib
import io
import os
import time
from pathlib import Path

import pytest

from cluster.errors import MediaError
from cluster.settings import Scanning, Settings
from cluster.storage.listing import listed
from deployments.reports.originals import State, state

CONTENT = b"the bytes of a member"
HASH = hashlib.sha256(CONTENT).hexdigest()
FOREVER = time.monotonic() + 1e6


@pytest.fixture
def box(tmp_path: Path) -> Path:
    path = tmp_path / "box.zip"
    path.write_bytes(b"a container")
    return path


def member(box: Path, sha256: str | None = HASH) -> dict:
    """The line of a picture in a folder in the container."""
    parent = box.as_uri()
    etag = f"{listed(parent).etag}!3-abc"
    return {"uri": f"{parent}!in/a.jpg", "parent": parent, "etag": etag, "size": len(CONTENT), "sha256": sha256}


def judged(line: dict, roots: str = "/", until: float = FOREVER, content: bytes | None = CONTENT) -> State:
    def open_member(uri: str, parent: str, settings: Settings) -> io.BytesIO:
        if content is None:
            raise MediaError("decode", "it is not in its container any more")
        return io.BytesIO(content)

    return state(line, Settings(scanning=Scanning(roots=(roots,))), open_member, until)


def test_a_member_of_a_container_that_has_not_changed_is_not_unpacked(box):
    found = judged(member(box), content=None)
    assert found.sound and found.sha256 == HASH and "Size and version" in found.says


def test_a_member_of_a_container_that_has_changed_is_compared_by_its_own_bytes(box):
    line = member(box)
    os.utime(box, (1, 1))
    assert judged(line).sound and "the bytes are those that were analysed" in judged(line).says
    other = judged(line, content=b"others")
    assert not other.sound and hashlib.sha256(b"others").hexdigest() in other.says and other.sha256 == HASH
    gone = judged(line, content=None)
    assert (gone.sound, gone.says) == (False, "It cannot be read now: it is not in its container any more.")


def test_a_file_without_a_hash_is_read_and_one_that_has_changed_meanwhile_says_both(box):
    line = member(box, sha256=None)
    assert judged(line) == State(HASH, "The results have no hash: it was read for this report.", True)
    os.utime(box, (1, 1))
    assert judged(line).sha256 == HASH and "has changed since" in judged(line).says and not judged(line).sound


def test_a_file_outside_of_what_may_be_read_is_not_touched(box, tmp_path):
    found = judged(member(box), roots=str(tmp_path / "elsewhere"))
    assert not found.sound and "may not be read" in found.says


def test_the_time_for_reading_ends(box):
    for sha256 in (None, HASH):
        found = judged(member(box, sha256), until=time.monotonic() - 1)
        assert found == State(sha256, "It was not read: the time in which a report reads files was over.", False)
