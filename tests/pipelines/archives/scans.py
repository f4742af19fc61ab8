"""A scan of containers in this process: they are opened as by cutting, and their members analysed by stand-ins."""

import asyncio
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from PIL import Image

from cluster.records import Result
from cluster.settings import Scanning, Settings
from pipelines.analysis import fetched_file
from pipelines.archives.limits import Limits
from pipelines.detect.detecting import analyze
from pipelines.ledger.cutting import Cut
from pipelines.ledger.listing import UNCUT, unit_id
from pipelines.ledger.unpacked import MOST_BYTES, Unpacked
from pipelines.media.pool import Decoder
from tests.pipelines.decoder import shared_decoder
from tests.pipelines.detect.stand_ins import ALL, StandIn

SETTINGS = Settings(scanning=Scanning(roots=("/",)))

Row = dict[str, Any]


def png(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(file, "PNG")
    return file.getvalue()


def listed(path: Path) -> Row:
    """A container's row of UNCUT."""
    uri, status = path.as_uri(), path.stat()
    etag = f"{status.st_size}-{status.st_mtime_ns}"
    row = dict.fromkeys(UNCUT.names) | {"unit_id": unit_id(uri, etag), "uri": uri, "size": status.st_size}
    more = {"etag": etag, "kind": "container", "detectors": list(ALL), "everything": list(ALL), "reason": "new"}
    return row | more | {"answered": []}


class Scan:
    """One replica of the analysis."""

    def __init__(self, decoder: Decoder, limits: Limits | None, most_bytes: int) -> None:
        self.decoder = decoder
        self.unpacked = Unpacked(decoder, limits, most_bytes)
        self.detectors = StandIn()

    def rows(self, *containers: Path) -> list[Row]:
        """The rows of LEDGER."""
        units = pa.Table.from_pylist([listed(path) for path in containers], UNCUT)
        return Cut(SETTINGS, self.decoder, self.unpacked)(units).to_pylist()

    def results(self, folder: Path, rows: list[Row]) -> list[Result]:
        folder.mkdir(exist_ok=True)
        files = [fetched_file(row, folder / str(n), SETTINGS, self.unpacked) for n, row in enumerate(rows)]
        return asyncio.run(analyze(files, self.detectors, self.decoder, SETTINGS.decoding))

    def found(self, container: Path) -> dict[str, Result]:
        """Result by path in the container; "" is the container itself."""
        results = self.results(container.with_suffix(".unpacked"), self.rows(container))
        begin = len(container.as_uri())
        return {unquote(result.item.uri[begin:].removeprefix("!")): result for result in results}


@contextmanager
def scan(limits: Limits | None = None, most_bytes: int = MOST_BYTES, decoder: Decoder | None = None) -> Iterator[Scan]:
    scanning = Scan(decoder or shared_decoder(), limits, most_bytes)
    yield scanning
    scanning.unpacked.close()


def labels(result: Result) -> set[str]:
    return {finding.detection.label for finding in result.findings if finding.detector == "eye"}


def reasons(result: Result) -> str:
    return "; ".join(f"{failure.step}: {failure.reason}" for failure in result.failures)


def contents(result: Result) -> str:
    return "; ".join(f.detection.evidence or "" for f in result.findings if f.detection.label == "members")
