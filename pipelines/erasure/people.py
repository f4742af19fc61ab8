"""What several folders of results hold of a person."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import pyarrow.compute as pc

from cluster.records import asset_id
from cluster.results import files as results_files
from deployments.galleries.watchlist import WatchList
from pipelines.erasure.pending import Person
from pipelines.erasure.rewriting import name_pattern
from pipelines.people import purge

_TEXTS = [f"detections.list.element.{name}" for name in ("text", "evidence")]


@dataclass(frozen=True, slots=True)
class Known:
    """A person in the results."""

    person: Person
    other: int  # files with vectors of another model, which cannot be compared with the photos
    mentions: list[str]  # ids of files whose address, or a text in them, has the name: these are not erased


def find(
    name: str,
    outs: Iterable[str],
    watch: WatchList,
    model: str,
    s3_endpoint: str | None = None,
    said: Collection[str] = frozenset(),
) -> Known:
    """Find the person's faces by the watch list (of that model), by hits of the name, and by `said`; see purge.find."""
    vectors, files, other, mentions = set[bytes](), dict[str, str | None](), 0, set[str]()
    for out in outs:
        found = purge.find(name, out, watch, model, s3_endpoint, said)
        vectors |= found.vectors
        files |= found.files
        other += found.other
        mentions |= _mentions(name, out, s3_endpoint)
    person = Person(name=name, vectors=sorted(vector.hex() for vector in vectors), files=files)
    return Known(person, other, sorted(mentions))


def _mentions(name: str, out: str, s3_endpoint: str | None) -> set[str]:
    found, pattern = set[str](), re.compile(name_pattern(name))
    for table in results_files.scan(out, ["uri", *_TEXTS], s3_endpoint):
        uris = table["uri"].to_pylist()
        found.update(asset_id(uri) for uri in uris if pattern.search(uri))
        column = table["detections"].combine_chunks()
        owners = pc.list_parent_indices(column)
        for text in column.flatten().flatten():
            hits = pc.match_substring_regex(pc.fill_null(text, ""), name_pattern(name))
            found.update(asset_id(uris[row]) for row in pc.unique(owners.filter(hits)).to_pylist())
    return found
