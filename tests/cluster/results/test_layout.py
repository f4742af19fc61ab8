import json
from urllib.parse import unquote

import pytest

from cluster.errors import SettingsError
from cluster.results import files as results_files
from cluster.results import layout
from deployments.catalog.database import folders_of
from tests.support.stored import commit, row

RUN = "run-20261122T120000-0123abcd"


def manifest(folder, runs=(), **replaced):
    (folder / "current").mkdir(parents=True, exist_ok=True)
    facts = {"runs": list(runs), "replaced": {run.replace("_", "-"): files for run, files in replaced.items()}}
    (folder / layout.MANIFEST).write_text(json.dumps(facts))


def names(tmp_path, uris):
    return sorted(unquote(uri.removeprefix(f"{tmp_path.as_uri()}/")) for uri in uris)


def test_files_of_all_jobs_are_found_beside_those_of_earlier_versions(tmp_path):
    commit(tmp_path, "old.parquet", row("s3://b/old"))
    commit(tmp_path / "job=one", "a b.parquet", row("s3://b/a", job="one"))
    commit(tmp_path / "job=two", "a.parquet", row("s3://b/b", job="two"))
    commit(tmp_path / "job=two", "_a.parquet", row("s3://b/c", job="two"))
    assert names(tmp_path, results_files.committed(str(tmp_path))) == [
        "job=one/a b.parquet",
        "job=two/a.parquet",
        "old.parquet",
    ]
    assert {uri for table in results_files.scan(str(tmp_path), ["uri"]) for uri in table["uri"].to_pylist()} == {
        f"s3://b/{name}" for name in ("old", "a", "b")
    }


def test_the_rows_of_a_job_are_looked_for_in_no_other_jobs_folder(tmp_path):
    commit(tmp_path, "old.parquet", row("s3://b/old", job="one"), row("s3://b/other", job="two"))
    commit(tmp_path / "job=one", "a.parquet", row("s3://b/a", job="one"))
    (tmp_path / "job=two").mkdir()
    (tmp_path / "job=two" / "broken.parquet").write_bytes(b"no Parquet")
    assert names(tmp_path, results_files.of_job(str(tmp_path), "one")) == ["job=one/a.parquet", "old.parquet"]
    tables = results_files.scan(str(tmp_path), ["uri", "job"], job="one")
    assert sorted(uri for table in tables for uri in table["uri"].to_pylist()) == ["s3://b/a", "s3://b/old"]


def test_files_of_a_compaction_count_once_its_manifest_is_written(tmp_path):
    commit(tmp_path / "job=one", "a.parquet", row("s3://b/a", job="one"))
    manifest(tmp_path)
    commit(tmp_path / "current", f"{RUN}-00000.parquet", row("s3://b/a", job="one"))
    record = tmp_path / "_raysift" / "jobs" / "one" / "compacted"
    commit(record, f"{RUN}-00000.parquet", row("s3://b/a", job="one"))
    assert names(tmp_path, results_files.committed(str(tmp_path))) == ["job=one/a.parquet"]
    assert names(tmp_path, results_files.of_job(str(tmp_path), "one")) == ["job=one/a.parquet"]
    manifest(tmp_path, [RUN], **{RUN: {"at": 0, "files": ["job=one/a.parquet"]}})
    assert names(tmp_path, results_files.committed(str(tmp_path))) == [f"current/{RUN}-00000.parquet"]
    recorded = names(tmp_path, results_files.of_job(str(tmp_path), "one"))
    assert recorded == [f"_raysift/jobs/one/compacted/{RUN}-00000.parquet"]


def test_a_lost_or_damaged_manifest_is_no_empty_folder(tmp_path):
    commit(tmp_path / "current", f"{RUN}-00000.parquet", row("s3://b/a"))
    with pytest.raises(SettingsError, match=r"current/_manifest\.json is missing.*Restore"):
        results_files.committed(str(tmp_path))
    (tmp_path / layout.MANIFEST).write_text("{")
    with pytest.raises(SettingsError, match=r"it is damaged\. Restore it from a backup"):
        results_files.committed(str(tmp_path))


def test_a_folder_of_the_operators_that_is_called_current_is_none_of_ours(tmp_path):
    commit(tmp_path / "current", "a.parquet", row("s3://b/a"))
    commit(tmp_path, "b.parquet", row("s3://b/b"))
    assert names(tmp_path, results_files.committed(str(tmp_path))) == ["b.parquet"]
    assert names(tmp_path / "current", results_files.committed(str(tmp_path / "current"))) == ["a.parquet"]


def test_a_catalogue_names_the_folder_of_results_of_every_file(tmp_path):
    from deployments.catalog.catalog import Catalog

    out = tmp_path / "results" / "current"
    catalog = Catalog(tmp_path / "catalog.duckdb")
    catalog.load(commit(out, "a.parquet", row("s3://b/a")))
    catalog.load(commit(out / "job=one", "a.parquet", row("s3://b/b")))
    catalog.load(commit(out / "current", f"{RUN}-00000.parquet", row("s3://b/c")))
    catalog.close()
    assert folders_of(tmp_path / "catalog.duckdb") == {out.as_uri()}
