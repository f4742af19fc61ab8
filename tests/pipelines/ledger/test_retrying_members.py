"""Retry jobs on members of containers."""

import os
from pathlib import Path
from zipfile import ZipFile

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.records import ModelVersion
from cluster.storage.members import member_etag, member_uri
from pipelines.ledger import retrying
from pipelines.ledger.listing import LEDGER, unit_id
from tests.support.stored import commit, row

WANTED = {name: ModelVersion(name, "m1") for name in ("nsfw", "ocr")}


def place(tmp_path: Path) -> tuple[Path, str]:
    """A container and its ETag."""
    path = tmp_path / "a.zip"
    with ZipFile(path, "w") as archive:
        archive.writestr("x.png", b"x")
    status = os.stat(path)
    return path, f"{status.st_size}-{status.st_mtime_ns}"


def unit(uri: str, etag: str, **more) -> dict:
    plain = dict.fromkeys(LEDGER.names) | {"unit_id": unit_id(uri, etag), "uri": uri, "etag": etag, "size": 1}
    return plain | {"kind": "image", "detectors": ["nsfw", "ocr"], "reason": "new"} | more


def retried(tmp_path: Path, units: list[dict], failures: dict[str, str]) -> tuple[list[dict], list[dict]]:
    """The rows of LEDGER and UNCUT of a retry job. `failures`: URI of a unit -> the step at which it failed."""
    for folder in ("old", "ledger", "uncut"):
        (tmp_path / folder).mkdir()
    pq.write_table(pa.Table.from_pylist(units, LEDGER), tmp_path / "old" / "a.parquet")
    rows = [
        row(one["uri"], unit=one["unit_id"], etag=one["etag"], failures=[(failures[one["uri"]], "why")])
        for one in units
        if one["uri"] in failures
    ]
    commit(tmp_path / "out", "a.parquet", *rows)
    places = [(tmp_path / folder).as_uri() for folder in ("out", "old", "ledger", "uncut")]
    retrying.write_ledger(places[0], "job", *places[1:], WANTED, None)
    return tuple(  # type: ignore[return-value]
        [one for file in (tmp_path / folder).glob("*.parquet") for one in pq.read_table(file).to_pylist()]
        for folder in ("ledger", "uncut")
    )


def test_a_member_that_failed_is_a_unit_again_while_its_container_is_unchanged(tmp_path):
    path, etag = place(tmp_path)
    uri = member_uri(path.as_uri(), "x.png")
    member = unit(uri, member_etag(etag, 0, "1"), parent=path.as_uri())
    units, uncut = retried(tmp_path, [member], {uri: "ocr"})
    assert (units[0]["uri"], units[0]["detectors"], units[0]["parent"]) == (uri, ["ocr"], path.as_uri())
    assert not uncut


def test_members_of_a_container_that_has_changed_open_it_again_once(tmp_path):
    path, _ = place(tmp_path)
    members = [
        unit(member_uri(path.as_uri(), name), member_etag("older", n, "1"), parent=path.as_uri())
        for n, name in enumerate("ab")
    ]
    units, uncut = retried(tmp_path, members, {one["uri"]: "nsfw" for one in members})
    assert not units
    assert [(one["uri"], one["reason"], one["parent"]) for one in uncut] == [(path.as_uri(), "changed", None)]


def test_a_container_that_could_not_be_opened_is_opened_again(tmp_path):
    path, etag = place(tmp_path)
    container = unit(path.as_uri(), etag, kind="container")
    units, uncut = retried(tmp_path, [container], {path.as_uri(): "fetch"})
    assert not units and [one["uri"] for one in uncut] == [path.as_uri()]
    assert uncut[0]["everything"] == ["nsfw", "ocr"]


def test_a_container_with_locked_members_is_not_opened_again(tmp_path):
    path, etag = place(tmp_path)
    container = unit(path.as_uri(), etag, kind="container")
    assert retried(tmp_path, [container], {path.as_uri(): "members"}) == ([], [])


def test_ledgers_of_earlier_versions_are_read(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    status = path.stat()
    old = unit(path.as_uri(), f"{status.st_size}-{status.st_mtime_ns}")
    short = pa.schema([field for field in LEDGER if field.name not in ("parent", "members", "failures", "contents")])
    read = retrying._with_all_columns(pa.Table.from_pylist([old], short))
    assert read.schema == LEDGER and read.to_pylist() == [old]
