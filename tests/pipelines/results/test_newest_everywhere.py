"""The worker that commits first has a clock one hour ahead of the other's: the later commit counts everywhere."""

import io
import json

import pytest

from cluster.api_queries import ExportQuery
from cluster.records import Vector, asset_id
from cluster.results import embeddings
from cluster.results import files as results_files
from cluster.results.newest import newest_answers, newest_contents
from deployments.catalog.catalog import Catalog
from pipelines.evaluation import answers
from pipelines.ledger.stored import stored
from pipelines.people import match
from pipelines.results.exporting import export
from tests.support.stored import commit, found, row

URI = "s3://b/a"


def face(model):
    return found("face", "face", 1.0, model, vectors=(Vector("faces", (1.0, 0.0)),))


@pytest.fixture(params=[False, True], ids=["read in order", "read in reverse"])
def out(tmp_path, request):
    """Two attempts at two jobs; the order in which their files are read varies."""
    first, later = ("b.parquet", "a.parquet") if request.param else ("a.parquet", "b.parquet")
    commit(tmp_path, first, row(URI, face("old"), job="1", etag="e1", clock_ahead=60))
    commit(tmp_path, later, row(URI, face("new"), job="2", etag="e1", minutes=1))
    return str(tmp_path)


def test_the_later_commit_counts_in_the_catalogue(out):
    for turn in (1, -1):
        catalog = Catalog(":memory:")
        for file in results_files.committed(out)[::turn]:
            catalog.load(file)
        assert [d["model"] for d in catalog.asset(asset_id(URI))["detections"]] == ["new"]
        catalog.close()


def test_the_later_commit_counts_in_an_export(out):
    to = io.BytesIO()
    export(out, ExportQuery(), to)
    assert [d["model"] for d in json.loads(to.getvalue())["detections"]] == ["new"]


def test_the_later_commit_counts_as_stored_for_a_scan(out):
    (known,) = stored(out).known([(URI, "e1")])
    assert [version.model for version in known.model_versions] == ["new"]


def test_the_later_commit_counts_among_the_vectors(out):
    for rows in results_files.scan(out, embeddings.COLUMNS):
        key, _ = newest_answers(rows, newest_contents(rows))[asset_id(URI), None, "face"]
        assert (key[1] == "2") == (rows["model_versions"].to_pylist()[0][0]["model"] == "new")
    keys = [newest_contents(rows)[asset_id(URI)][0] for rows in results_files.scan(out, embeddings.COLUMNS)]
    assert max(keys)[1] == "2"


def test_the_later_commit_counts_for_people_match(out):
    assert [answer.model for answer in match.current(out)] == ["new"]


def test_the_later_commit_counts_in_an_evaluation(out):
    assert answers.stored(out, [URI])[URI].models == {"face": "new"}


def test_the_content_of_the_later_commit_is_the_files_content(tmp_path):
    commit(tmp_path, "a.parquet", row(URI, face("old"), etag="e1", clock_ahead=60))
    commit(tmp_path, "b.parquet", row(URI, answered=["ocr"], etag="e2", minutes=1, unit=1))
    assert stored(str(tmp_path)).known([(URI, "e2")])[0].model_versions
    assert list(match.current(str(tmp_path))) == []
    catalog = Catalog(":memory:")
    catalog.load_all(str(tmp_path))
    assert catalog.asset(asset_id(URI))["detections"] == []
