"""Which files and rows an erasure selects."""

import pytest

from cluster.records import Vector, asset_id
from pipelines.erasure.selection import Wanted, select
from tests.support.stored import NOON, aged, commit, found, row

ARCHIVE = "s3://b/z.zip"
INNER, DEEP, BESIDE = f"{ARCHIVE}!q.zip", f"{ARCHIVE}!q.zip!r.jpg", f"{ARCHIVE}!q.zipped.jpg"


@pytest.fixture
def out(tmp_path):
    image = found("clip", "", 1.0, vectors=(Vector("image", (0.1, 0.2)), Vector("image", (0.3, 0.4))))
    members = [row(uri, parent=ARCHIVE) for uri in (INNER, DEEP, BESIDE)]
    commit(tmp_path, "1.parquet", row("s3://b/a", image), row(ARCHIVE, kind="container"), *members)
    commit(tmp_path, "2.parquet", row("s3://b/a", job="j2", minutes=100), row("s3://bc/c", job="j2", minutes=100))
    return tmp_path


def chosen(out, **wanted):
    return select(Wanted(**wanted), [out.as_uri()])


def test_a_container_is_selected_with_its_members_and_a_member_with_its_own(out):
    assert set(chosen(out, assets={asset_id(ARCHIVE)}).files) == {ARCHIVE, INNER, DEEP, BESIDE}
    assert set(chosen(out, assets={asset_id(INNER)}).files) == {INNER, DEEP}
    assert set(chosen(out, assets={asset_id(DEEP)}).files) == {DEEP}
    assert set(chosen(out, under=(ARCHIVE,)).files) == {ARCHIVE, INNER, DEEP, BESIDE}
    assert set(chosen(out, under=(INNER,)).files) == {INNER, DEEP}


def test_a_folder_does_not_select_one_whose_name_begins_with_its_name(out):
    assert set(chosen(out, under=("s3://b",)).files) == {"s3://b/a", ARCHIVE, INNER, DEEP, BESIDE}


def test_rows_vectors_and_parquet_files_are_counted(out):
    counted = chosen(out, assets={asset_id("s3://b/a")})
    assert (counted.rows, counted.vectors, counted.parquet) == (2, 2, 2)


def test_a_job_selects_its_rows_and_only_files_that_no_other_job_has_scanned(out):
    counted = chosen(out, jobs={"j2"})
    assert set(counted.files) == {"s3://bc/c"} and set(counted.others) == {"s3://b/a"} and counted.rows == 2


def test_age_is_that_of_the_last_analysis_also_in_rows_of_the_previous_version(out):
    (before_first, between) = (NOON.timestamp() - 60, NOON.timestamp() + 60)
    assert not chosen(out, before_s=before_first).files
    old = {ARCHIVE, INNER, DEEP, BESIDE}
    assert set(chosen(out, before_s=between).files) == old
    aged(out, "2.parquet")
    assert set(chosen(out, before_s=between).files) == old


def test_a_container_stays_while_a_member_of_it_stays(out):
    again = row(DEEP, parent=ARCHIVE, job="retry", minutes=100)
    commit(out, "3.parquet", again)
    assert set(chosen(out, before_s=NOON.timestamp() + 60).files) == {BESIDE}
    of_job = chosen(out, jobs={"job"})
    assert set(of_job.files) == {BESIDE} and set(of_job.staying) == {DEEP}
    assert set(of_job.others) == {"s3://b/a", ARCHIVE, INNER, DEEP}, "the job's rows of them are erased"
    assert set(chosen(out, assets={asset_id(ARCHIVE)}).files) == {ARCHIVE, INNER, DEEP, BESIDE}
