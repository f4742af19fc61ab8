"""Cutting of long videos and opening of containers: one unit of the listing in, one for each part or member out."""

import logging
import os
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from cluster.errors import MediaError
from cluster.records import Kind, MediaItem, Segment
from cluster.settings import Settings
from cluster.storage import buckets
from cluster.storage.disks import temporary_folder
from cluster.storage.roots import Roots
from pipelines.ledger.expanding import Expansion
from pipelines.ledger.listing import LEDGER, unit_id
from pipelines.ledger.unpacked import FETCHED, Unpacked
from pipelines.media.pool import Decoder
from pipelines.media.segments import LONG
from pipelines.media.sources import Remote

log = logging.getLogger(__name__)

Row = dict[str, Any]  # of UNCUT or LEDGER


class Cut:
    """Cuts long videos and opens containers within the limits and roots of the settings: UNCUT in, LEDGER out.

    `unpacked`: where fetched containers are kept for the analysis of their members.
    """

    def __init__(self, settings: Settings, decoder: Decoder, unpacked: Unpacked) -> None:
        self.settings = settings
        self.roots = Roots(settings.scanning.roots)
        self.decoder, self.unpacked = decoder, unpacked

    def __call__(self, units: pa.Table) -> pa.Table:
        """One row per segment or member to be analysed, and one per container; any other file stays one row."""
        rows: list[Row] = []
        cut = segments = 0
        for row in units.to_pylist():
            kind, sha256, parts = self._segments(row)
            if kind == "container":
                rows += Expansion(row, self.unpacked, self.settings).rows()
                continue
            rows += [part for segment in parts if (part := _part(row, segment, sha256))] if parts else [_whole(row)]
            cut, segments = cut + bool(parts), segments + len(parts)
        log.info("cut %d of %d videos into %d segments", cut, units.num_rows, segments)
        return pa.Table.from_pylist(rows, schema=LEDGER)

    def _segments(self, row: Row) -> tuple[Kind | None, str | None, tuple[Segment, ...]]:
        """The file's kind by its bytes, its SHA-256 and its segments; (..., None, ()) if it stays whole."""
        item = MediaItem(row["uri"], row["size"], row["etag"], row["kind"])
        endpoint, limits = self.settings.s3_endpoint, self.settings.decoding
        attempts = self.settings.scanning.attempts
        try:
            # the header is enough for most videos, which are short: they are not fetched
            kind, media = self.decoder.probe(Remote(item, endpoint, attempts, self.roots), limits)
            if kind != "video" or (media.duration_s or 0) <= LONG * limits.segment_s:
                return kind, None, ()
            with temporary_folder(f"{FETCHED}{os.getpid()}-") as folder:
                path = folder / "video"
                sha256 = buckets.fetch(item, path, endpoint, attempts, limits.max_bytes, self.roots)
                return kind, sha256, self.decoder.cut(path, limits)
        except MediaError:  # the analysis meets the same error and stores it
            return None, None, ()


def _whole(row: Row) -> Row:
    return {name: row[name] for name in LEDGER.names}


def _part(row: Row, segment: Segment, sha256: str | None) -> Row | None:
    """The row of a segment; None if every detector has answered for it."""
    answered = {name for part in row["answered"] or () if part["segment"] == segment.n for name in part["detectors"]}
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
