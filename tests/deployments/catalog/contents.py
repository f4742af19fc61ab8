"""What a catalogue holds, as tests compare it, and rows of a video in segments."""

from operator import itemgetter
from typing import Any

from cluster.access.identity import Prefixes
from cluster.api_queries import AssetFilter, AssetQuery
from cluster.records import Finding
from deployments.catalog.catalog import EVERYTHING, Catalog
from deployments.catalog.shapes import Json
from tests.support.stored import row


def all_lines(catalog: Catalog, query: AssetFilter = EVERYTHING, within: Prefixes = None) -> list[Json]:
    """The lines of an export, as the API and the command get them part by part."""
    lines: list[Json] = []
    after = 0
    while part := catalog.some_lines(after, query, within):
        more, after = part
        lines += more
    return lines


def answers(catalog: Catalog) -> tuple[Any, ...]:
    """Every answer of the catalogue: equal for equal rows, in whatever order they are loaded."""
    ids = [item["id"] for item in catalog.assets(AssetQuery(sort="name"))["items"]]
    return (
        sorted(all_lines(catalog), key=itemgetter("uri")),
        [catalog.asset(id) for id in ids],
        [catalog.thumbnail(id) for id in ids],
        catalog.facets(AssetQuery()),
        catalog.jobs(),
        {job: catalog.summary(job) for job in catalog.jobs()},
    )


def film(segment: tuple[int, int, float], *findings: Finding, **more: Any) -> dict[str, Any]:
    """A row of one segment of s3://b/film. `segment`: its number, how many there are, their length in seconds."""
    return row("s3://b/film", *findings, kind="video", segment=segment, unit=segment[0], **more)


def expected_detections(rows: list[dict[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """URI -> (detector, label) of its detections, worked out row by row: of each segment of the newest row's content,
    the newest answer of each detector."""
    newest = sorted(rows, key=lambda row: (row["analyzed_at"], row["job"], row["unit_id"]))
    current = {row["uri"]: (row["etag"], row["segment_s"]) for row in newest}
    answered = {
        (row["uri"], version["detector"], row["segment"] or 0): row
        for row in newest
        for version in row["model_versions"]
        if current[row["uri"]] == (row["etag"], row["segment_s"])
    }
    expected: dict[str, list[tuple[str, str]]] = {uri: [] for uri in sorted(current)}
    for (uri, detector, _), newest_row in sorted(answered.items(), key=lambda item: item[0]):
        labels = [found["label"] for found in newest_row["detections"] if found["detector"] == detector]
        expected[uri] += [(detector, label) for label in labels]
    return expected
