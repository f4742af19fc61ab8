"""The export of a folder of results, without a running cluster."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Literal

from cluster.api_queries import ExportQuery
from cluster.errors import SettingsError
from deployments.catalog.catalog import Catalog
from deployments.catalog.exports.formats import FORMATS


def export(
    from_uri: str, query: ExportQuery, to: BinaryIO, s3_endpoint: str | None = None, decisions: Path | None = None
) -> int:
    """Write the query's files in a results folder, with their newest detections, to `to`; returns their number.

    `decisions`: the file of the reviewers' decisions on them; without it, or if it is not seen, there are none.
    Scores and boxes are rounded to 4 digits, times to 3. SettingsError if the folder holds no results.
    """
    there: Path | Literal[":memory:"] = decisions if decisions and os.path.exists(decisions) else ":memory:"
    encoder, files, after = FORMATS[query.format].encoder(), 0, 0
    with TemporaryDirectory(prefix="raysift-export-") as folder:
        catalog = Catalog(Path(folder) / "catalog.duckdb", thumbnails=False, decisions=there)
        try:
            if not catalog.load_all(from_uri, s3_endpoint):
                raise SettingsError(
                    f"{from_uri} holds no results. Name the folder that a scan stored into (its --out)."
                )
            while part := catalog.some_lines(after, query):
                lines, after = part
                to.write(encoder.add(lines))
                files += len(lines)
        finally:
            catalog.close()
    for piece in encoder.end():
        to.write(piece)
    return files
