"""Exports that are written in several parts, and their boxes in COCO's format."""

import csv
import io
import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from deployments.catalog import queries
from deployments.catalog.catalog import Catalog
from deployments.catalog.exports.formats import FORMATS
from tests.support.stored import commit, found, row

FILES = 7


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory):
    """Pictures with 0 to 6 boxes and a line of text, and a film with a box."""
    rows = [
        row(
            f"s3://b/{n}.jpg",
            found("ocr", "text", 0.5, box=(0.5, 0.25, 1.0, 0.75), text="Straße"),
            *(found("face", "face", 0.9, box=(0.1 * i, 0.2, 0.1 * i + 0.2, 0.6)) for i in range(n)),
            found("clip", "street", 0.3),
            unit=n,
            width=1000,
            height=500,
        )
        for n in range(FILES)
    ]
    film = row("s3://b/a.mp4", found("face", "face", 1.0, box=(0, 0, 1, 1), time_s=1.0), kind="video", unit=99, width=9)
    unread = row("s3://b/b.jpg", kind=None, failures=[("decode", "it is empty")], unit=100)
    catalog = Catalog(":memory:")
    catalog.load(commit(tmp_path_factory.mktemp("results"), "a.parquet", *rows, film, unread))
    yield catalog
    catalog.close()


@pytest.fixture(params=[(1, 10**6), (3, 10**6), (10**6, 5), (10**6, 10**6)], ids=str)
def parts(request: pytest.FixtureRequest, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """The catalogue's lines in parts of so many files, or of so many detections."""
    monkeypatch.setattr(queries, "EXPORTED_FILES", request.param[0])
    monkeypatch.setattr(queries, "EXPORTED_ROWS", request.param[1])
    parts, after = [], 0
    while part := catalog.some_lines(after):
        lines, after = part
        parts.append(lines)
    return parts


def encoded(format: str, parts: list[list[Any]]) -> bytes:
    encoder = FORMATS[format].encoder()
    return b"".join(encoder.add(lines) for lines in parts) + b"".join(encoder.end())


def test_each_file_is_in_one_part_and_no_part_has_more_detections_than_allowed(parts, request):
    files, rows = request.node.callspec.params["parts"]
    assert sorted(line["uri"] for lines in parts for line in lines) == [
        *(f"s3://b/{n}.jpg" for n in range(FILES)),
        "s3://b/a.mp4",
        "s3://b/b.jpg",
    ]
    for lines in parts:
        assert len(lines) <= files
        assert len(lines) == 1 or sum(len(line["detections"]) for line in lines) <= rows


def test_formats_do_not_depend_on_the_parts(parts, catalog):
    lines = [line for part in parts for line in part]
    assert [json.loads(line) for line in encoded("jsonl", parts).splitlines()] == lines
    assert pq.read_table(io.BytesIO(encoded("parquet", parts))).to_pylist() == lines
    rows = list(csv.DictReader(io.StringIO(encoded("csv", parts).decode(), newline="")))
    assert [row["uri"] for row in rows] == [line["uri"] for line in lines for _ in line["detections"] or [0]]
    assert encoded("coco", parts) == encoded("coco", [lines])


def test_coco_has_the_pictures_and_their_boxes_in_pixels(parts):
    coco = json.loads(encoded("coco", parts))
    images = {image["id"]: image for image in coco["images"]}
    assert sorted(image["file_name"] for image in images.values()) == [f"s3://b/{n}.jpg" for n in range(FILES)]
    assert {(image["width"], image["height"]) for image in images.values()} == {(1000, 500)}
    categories = {category["id"]: (category["supercategory"], category["name"]) for category in coco["categories"]}
    assert sorted(categories.values()) == [("face", "face"), ("ocr", "text")]
    assert len({annotation["id"] for annotation in coco["annotations"]}) == len(coco["annotations"])
    shown: dict[str, list[Any]] = {}
    for annotation in coco["annotations"]:
        assert annotation["area"] == pytest.approx(annotation["bbox"][2] * annotation["bbox"][3])
        name = categories[annotation["category_id"]][1]
        shown.setdefault(images[annotation["image_id"]]["file_name"], []).append((name, annotation["bbox"]))
    assert shown["s3://b/0.jpg"] == [("text", [500.0, 125.0, 500.0, 250.0])]
    assert shown["s3://b/2.jpg"][:2] == [("face", [0.0, 100.0, 200.0, 200.0]), ("face", [100.0, 100.0, 200.0, 200.0])]
    (text,) = {annotation["text"] for annotation in coco["annotations"] if "text" in annotation}
    assert text == "Straße"


def test_an_empty_export_is_valid():
    assert encoded("jsonl", []) == b""
    assert encoded("csv", []).startswith(b"uri,sha256,kind,") and encoded("csv", []).count(b"\n") == 1
    assert pq.read_table(io.BytesIO(encoded("parquet", []))).num_rows == 0
    coco = json.loads(encoded("coco", []))
    assert (coco["images"], coco["annotations"], coco["categories"]) == ([], [], [])
