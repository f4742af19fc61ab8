"""Folders of results loaded into the catalogue."""

import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.api_queries import AssetQuery
from cluster.errors import SettingsError
from deployments.catalog.catalog import Catalog
from tests.deployments.catalog.contents import answers
from tests.support.stored import commit, found, row


def test_loading_again_changes_nothing(tmp_path):
    file = commit(tmp_path, "a.parquet", row("s3://b/a", found("nsfw", "nude", 0.9)))
    catalog = Catalog(":memory:")
    assert (catalog.load(file), catalog.load(file), catalog.load_all(str(tmp_path))) == (1, 0, 0)
    before = answers(catalog)
    commit(tmp_path, "copy.parquet", row("s3://b/a", found("nsfw", "nude", 0.9)))
    catalog.load_all(str(tmp_path))
    assert answers(catalog)[0] == before[0]
    assert catalog.job("job") == {"done": 1, "failed": 0}


def test_bookkeeping_and_incomplete_files_are_not_loaded(tmp_path):
    commit(tmp_path, "a.parquet", row("s3://b/a"))
    commit(tmp_path / "_raysift" / "jobs", "ledger.parquet", row("s3://b/ledger"))
    for name in ("_b.parquet", ".c.parquet", "d.parquet.tmp"):
        commit(tmp_path, name, row(f"s3://b/{name}"))
    catalog = Catalog(":memory:")
    assert catalog.load_all(str(tmp_path)) == 1
    assert catalog.load_all(str(tmp_path / "not there")) == 0


def test_foreign_parquet_files_are_refused_and_the_rest_is_loaded(tmp_path):
    commit(tmp_path, "b.parquet", row("s3://b/a"))
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    (tmp_path / "c.parquet").write_bytes(b"PAR1 no more PAR1")
    catalog = Catalog(":memory:")
    with pytest.raises(SettingsError, match=r"a\.parquet holds no results .* Move it"):
        catalog.load((tmp_path / "a.parquet").as_uri())
    with pytest.raises(SettingsError, match=r"c\.parquet cannot be read"):
        catalog.load((tmp_path / "c.parquet").as_uri())
    assert catalog.load_all(str(tmp_path)) == 1


def test_a_file_whose_merge_fails_leaves_nothing_behind(tmp_path):
    good = commit(tmp_path, "a.parquet", row("s3://b/a", found("nsfw", "nude", 0.9)))
    text = pa.schema([("width", pa.string())])
    table = pq.read_table(tmp_path / "a.parquet")
    at = table.schema.get_field_index("width")
    pq.write_table(table.set_column(at, text.field("width"), pa.array(["wide"])), tmp_path / "b.parquet")
    catalog = Catalog(":memory:")
    with pytest.raises(Exception, match="wide"):
        catalog.load((tmp_path / "b.parquet").as_uri())
    assert catalog.assets(AssetQuery())["total"] == 0
    assert catalog.job("job") == {"done": 0, "failed": 0}
    assert catalog.load(good) == 1
    assert catalog.facets(AssetQuery())["detectors"] == [
        {"detector": "nsfw", "label": "nude", "count": 1, "score": 0.9}
    ]


def test_the_catalogue_of_a_new_head_loads_earlier_results(tmp_path):
    commit(tmp_path / "out", "a.parquet", row("s3://b/1", unit=1), row("s3://b/2", unit=2))
    catalog = Catalog(tmp_path / "catalog.duckdb", of=(tmp_path / "out").as_uri())
    deadline = time.monotonic() + 20
    while catalog.job("job")["done"] < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert catalog.load_all(str(tmp_path / "out")) == 0
    catalog.close()


def test_labels_of_more_detections_than_a_row_group_of_duckdb_are_counted(tmp_path):
    film = row("s3://b/film.mp4", found("ocr", "text", 0.9), kind="video")
    film["detections"] *= 122_880
    catalog = Catalog(":memory:")
    catalog.load(commit(tmp_path, "a.parquet", film))
    (facet,) = catalog.facets(AssetQuery())["detectors"]
    assert (facet["detector"], facet["label"], facet["count"]) == ("ocr", "text", 1)
    catalog.close()
