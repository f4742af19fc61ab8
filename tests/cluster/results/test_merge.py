"""What is stored of containers, for the next scan."""

from cluster.records import ModelVersion
from cluster.results.merge import merge
from cluster.storage.members import member_etag, member_name, member_uri, numbers, outer_etag
from pipelines.ledger.stored import Stored
from tests.support.stored import commit, found, row

ZIP = "s3://b/a!b.zip"
EVERYTHING = {ModelVersion("nsfw", "m1"), ModelVersion("ocr", "m1")}


def known(tmp_path, *rows):
    from cluster.results import files
    from cluster.results.merge import COLUMNS

    commit(tmp_path / "out", "a.parquet", *rows)
    stored = Stored(merge(files.scan((tmp_path / "out").as_uri(), COLUMNS)))
    return stored.known([(ZIP, "e1")])[0]


def member(n: int, *answered: str, **more):
    etag = member_etag(more.pop("container", "e1"), n, "00")
    return row(member_uri(ZIP, f"{n}.jpg"), unit=n, etag=etag, parent=ZIP, answered=answered, **more)


def container(members: int, **more):
    return row(ZIP, unit=99, kind="container", answered=("nsfw", "ocr"), members=members, **more)


def test_an_unchanged_container_is_known_when_all_of_its_members_are_stored(tmp_path):
    every = known(tmp_path, container(2), member(0, "nsfw", "ocr"), member(1, "nsfw", "ocr"))
    assert every.model_versions == EVERYTHING and every.complete and not every.failed


def test_a_container_with_a_member_that_was_lost_is_opened_again(tmp_path):
    lost = known(tmp_path, container(2), member(0, "nsfw", "ocr"), member(1, "nsfw", "ocr", container="older"))
    assert lost.model_versions == frozenset() and not lost.complete


def test_a_container_is_analysed_again_by_a_detector_that_failed_in_a_member(tmp_path):
    failed = member(1, "nsfw", failures=[("ocr", "it is tired")])
    half = known(tmp_path, container(2), member(0, "nsfw", "ocr"), failed)
    assert half.model_versions == {ModelVersion("nsfw", "m1")} and half.failed


def test_the_newest_row_of_a_member_counts(tmp_path):
    again = known(tmp_path, container(1), member(0, "nsfw"), member(0, "ocr", minutes=5, job="later"))
    assert again.model_versions == EVERYTHING


def test_rows_without_a_container_are_as_they_were(tmp_path):
    assert known(tmp_path, row(ZIP, found("nsfw", "x", 0.5), kind="image")).model_versions == {
        ModelVersion("nsfw", "m1")
    }


def test_the_place_of_a_member_is_in_its_uri_and_etag():
    inner = member_uri(ZIP, "in/b!.zip"), member_etag("e!1", 3, "ff")
    uri, etag = member_uri(inner[0], "c d.jpg"), member_etag(inner[1], 12, "")
    assert uri == "s3://b/a!b.zip!in/b%21.zip!c%20d.jpg" and member_name(uri, ZIP) == "c d.jpg"
    assert outer_etag(uri, ZIP, etag) == "e!1" and numbers(uri, ZIP, etag) == [3, 12]
