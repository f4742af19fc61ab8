"""Long videos, cut: one unit of the listing in, one a segment out."""

import logging
import os
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from cluster.errors import MediaError
from cluster.records import MediaItem, Segment
from cluster.settings import Settings
from cluster.storage import buckets
from cluster.storage.disks import temporary_folder
from cluster.storage.roots import Roots
from pipelines.ledger.listing import LEDGER, unit_id
from pipelines.media.pool import Decoder
from pipelines.media.segments import LONG
from pipelines.media.sources import Remote

log = logging.getLogger(__name__)

FETCHED = "raysift-media-"  # how folders of fetched files begin; the process whose they are follows

Row = dict[str, Any]  # of UNCUT or LEDGER


class Cut:
    """An actor of the job: rows of UNCUT in, rows of LEDGER out. What cannot be cut passes as the whole unit it is."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.roots = Roots(settings.scanning.roots)
        self.decoder = Decoder()

    def __call__(self, units: pa.Table) -> pa.Table:
        told: list[Row] = []
        cut = segments = 0
        for row in units.to_pylist():
            sha256, parts = self._segments(row)
            told += [part for segment in parts if (part := _part(row, segment, sha256))] if parts else [_whole(row)]
            cut, segments = cut + bool(parts), segments + len(parts)
        log.info("cut %d of %d videos into %d segments", cut, units.num_rows, segments)
        return pa.Table.from_pylist(told, schema=LEDGER)

    def _segments(self, row: Row) -> tuple[str | None, tuple[Segment, ...]]:
        """The file's SHA-256 and its segments; none if it is to be left whole."""
        item = MediaItem(row["uri"], row["size"], row["etag"], row["kind"])
        endpoint, limits = self.settings.s3_endpoint, self.settings.decoding
        attempts = self.settings.scanning.attempts
        try:
            # of most videos, which are short, the header tells as much
            kind, media = self.decoder.probe(Remote(item, endpoint, attempts, self.roots), limits)
            if kind != "video" or (media.duration_s or 0) <= LONG * limits.segment_s:
                return None, ()
            with temporary_folder(f"{FETCHED}{os.getpid()}-") as folder:
                path = folder / "video"
                sha256 = buckets.fetch(item, path, endpoint, attempts, limits.max_bytes, self.roots)
                return sha256, self.decoder.cut(path, limits)
        except MediaError:  # its analysis will tell
            return None, ()


def _whole(row: Row) -> Row:
    return {name: row[name] for name in LEDGER.names}


def _part(row: Row, segment: Segment, sha256: str | None) -> Row | None:
    """The unit of a segment, None if it has been answered for."""
    answered = {name for one in row["answered"] or () if one["segment"] == segment.n for name in one["detectors"]}
    detectors = [name for name in row["everything"] if name not in answered]
    if not detectors:
        return None
    return _whole(row) | {
        "unit_id": unit_id(row["uri"], row["etag"], segment),
        "kind": "video",
        "detectors": detectors,
        "sha256": sha256,
        "segment": asdict(segment),
    }
