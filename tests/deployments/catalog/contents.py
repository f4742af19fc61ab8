"""What a catalogue holds, as tests compare it, and rows of a video in segments."""

from typing import Any

from cluster.api_queries import AssetQuery
from cluster.records import Finding
from deployments.catalog.catalog import Catalog
from tests.support.stored import row


def answers(catalog: Catalog) -> tuple[Any, ...]:
    """Everything the catalogue answers: the same for the same rows, whatever the order in which they are loaded."""
    ids = [item["id"] for item in catalog.assets(AssetQuery(sort="name"))["items"]]
    return (
        list(catalog.lines()),
        [catalog.asset(id) for id in ids],
        [catalog.thumbnail(id) for id in ids],
        catalog.facets(AssetQuery()),
        catalog.jobs(),
        {job: catalog.summary(job) for job in catalog.jobs()},
    )


def film(segment: tuple[int, int, float], *findings: Finding, **more: Any) -> dict[str, Any]:
    """A row of one segment of s3://b/film. `segment`: its number, how many there are, their length in seconds."""
    return row("s3://b/film", *findings, kind="video", segment=segment, unit=segment[0], **more)
