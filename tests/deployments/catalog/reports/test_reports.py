"""What the catalogue has for reports: files part by part, and the models that answered."""

import pytest

from cluster.access.identity import Identity
from cluster.api_queries import AssetFilter
from cluster.decisions.api_types import AssetDecision
from cluster.records import asset_id
from deployments.catalog import reports
from deployments.catalog.catalog import Catalog
from tests.support.stored import commit, found, row

ANN = Identity("Ann", "reviewer", id="a" * 12)
EVERYTHING = AssetFilter()


@pytest.fixture
def catalog(tmp_path):
    """Two pictures of case 1, the first scanned again by another model, and one of case 2."""
    boxes = [found("face", "face", 0.9 - n / 1000, box=(0.1, 0.1, 0.2, 0.2)) for n in range(40)]
    commit(
        tmp_path / "out",
        "a.parquet",
        row("s3://b/case-1/a.jpg", found("nsfw", "nude", 0.9, "old"), unit=1, job="first", sha256="aa", etag="e7"),
        row("s3://b/case-1/b.jpg", *boxes, found("face", "Ann", 0.3), unit=2, thumbnail=b"jpeg", answered=("nsfw",)),
        row("s3://b/case-2/c.jpg", found("nsfw", "nude", 0.8), unit=3, failures=[("ocr", "too large")]),
    )
    again = row("s3://b/case-1/a.jpg", found("nsfw", "nude", 0.7, "new"), unit=1, job="second", minutes=9, etag="e7")
    commit(tmp_path / "out", "b.parquet", again)
    catalog = Catalog(":memory:")
    catalog.load_all(str(tmp_path / "out"))
    yield catalog
    catalog.close()


def lines(catalog, query=EVERYTHING, within=None, pictures=True):
    found, after = [], 0
    while part := catalog.report_part(after, query, within, pictures):
        some, after = part
        found += some
    return {line["uri"].rpartition("/")[2]: line for line in found}


def test_a_line_has_the_newest_findings_and_all_that_tells_the_file(catalog):
    line = lines(catalog)["a.jpg"]
    assert (line["sha256"], line["size"], line["etag"]) == ("aa", 10, "e7")
    assert (line["job"], line["jobs"]) == ("second", ["first", "second"])
    assert [(one["model"], one["score"], one["total"]) for one in line["findings"]] == [("new", 0.7, 1)]
    assert lines(catalog)["c.jpg"]["errors"] == [{"step": "ocr", "reason": "too large"}]


def test_of_many_findings_each_label_has_its_best_and_the_number_of_all_is_there(catalog):
    findings = lines(catalog)["b.jpg"]["findings"]
    assert len(findings) == reports.MOST_FINDINGS and {one["total"] for one in findings} == {41}
    assert {one["label"] for one in findings} == {"face", "Ann"}
    assert min(one["score"] for one in findings if one["label"] == "face") == pytest.approx(0.9 - 28 / 1000)


def test_a_line_has_its_decision_with_the_history(catalog):
    id = asset_id("s3://b/case-1/b.jpg")
    for version, label in enumerate(("unsure", "relevant")):
        catalog.decide([AssetDecision(asset=id, version=version, label=label, note=f"note {version}")], ANN)
    line = lines(catalog)["b.jpg"]
    assert line["decision"].label == "relevant"
    assert [(entry.label, entry.note) for entry in line["history"]] == [("relevant", "note 1"), ("unsure", "note 0")]
    assert lines(catalog)["a.jpg"]["history"] == []


def test_parts_have_each_file_of_the_limits_once_and_pictures_on_demand(catalog, monkeypatch):
    monkeypatch.setattr(reports, "FILES_A_PART", 1)
    assert set(lines(catalog)) == {"a.jpg", "b.jpg", "c.jpg"}
    assert set(lines(catalog, within=("s3://b/case-1",))) == {"a.jpg", "b.jpg"}
    assert set(lines(catalog, AssetFilter(where=("face:",)))) == {"b.jpg"}
    assert lines(catalog)["b.jpg"]["jpeg"] == b"jpeg" and lines(catalog, pictures=False)["b.jpg"]["jpeg"] is None


def test_the_methods_are_the_models_whose_answers_count(catalog):
    methods = {(one["detector"], one["model"]): one for one in catalog.methods(EVERYTHING, None)}
    assert set(methods) == {("nsfw", "new"), ("nsfw", "m1"), ("face", "m1")}
    assert {key: methods["face", "m1"][key] for key in ("files", "found_in", "findings", "people")} == {
        "files": 1,
        "found_in": 1,
        "findings": 41,
        "people": ["Ann", "face"],
    }
    assert (methods["nsfw", "m1"]["files"], methods["nsfw", "m1"]["found_in"]) == (2, 1)
    assert [one["model"] for one in catalog.methods(EVERYTHING, ("s3://b/case-2",))] == ["m1"]
