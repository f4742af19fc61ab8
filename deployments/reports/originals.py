"""Whether a file is still the one that was analysed, and the SHA-256 of one that has none in the results."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from cluster.errors import MediaError, SettingsError
from cluster.settings import Settings
from cluster.storage import buckets
from cluster.storage.filesystems import split
from cluster.storage.listing import listed
from cluster.storage.members import outer_etag
from cluster.storage.roots import Roots
from deployments.catalog.shapes import Json

PIECE_BYTES = 4 << 20

# (URI of a member, URI of the file of the bucket that it lies in, settings) -> its open file; MediaError if there is
# none. The pipeline's function, passed in by the builder of the application: deployments may not import pipelines.
OpenMember = Callable[[str, str, Settings], BinaryIO]


@dataclass(frozen=True, slots=True)
class State:
    """The SHA-256 to report (None: there is none), whether the bytes are those analysed, and a sentence on it."""

    sha256: str | None
    says: str
    sound: bool


class OutOfTime(Exception):
    """The time in which a report may read files is over."""


def state(line: Json, settings: Settings, open_member: OpenMember, until: float) -> State:
    """The state of the file of a line of Catalog.report_part.

    A file whose size and ETag (of a local file: its time) are those of the analysis is not read again; a member is
    judged by the file of the bucket that it lies in. All others, and those without a hash, are read, until
    `time.monotonic()` is `until`.
    """
    analysed: str | None = line["sha256"]
    try:
        if time.monotonic() > until:  # a store that does not answer costs seconds for each file
            raise OutOfTime
        unchanged = _is_unchanged(line, settings)
        if unchanged and analysed:
            return State(analysed, "Size and version are those that were analysed; the hash is of that time.", True)
        now = _sha256(line, settings, open_member, until)
    except (MediaError, SettingsError, OSError, RuntimeError) as error:  # the last one: a fault of the decoder
        return State(analysed, f"It cannot be read now: {error}.", False)
    except OutOfTime:
        return State(analysed, "It was not read: the time in which a report reads files was over.", False)
    if analysed is None:
        changed = "" if unchanged else " It has changed since it was analysed."
        return State(now, f"The results have no hash: it was read for this report.{changed}", unchanged)
    if now == analysed:
        return State(analysed, "It was read for this report: the bytes are those that were analysed.", True)
    return State(analysed, f"It has changed since it was analysed: the SHA-256 is now {now}.", False)


def _is_unchanged(line: Json, settings: Settings) -> bool:
    """Whether the file, or that of the bucket in which it lies, is listed as it was. MediaError if it is not there."""
    uri, parent = line["uri"], line["parent"]
    where = parent or uri, settings.s3_endpoint, Roots(settings.scanning.roots)
    if split(where[0])[0] == "s3":  # a listing takes several requests, and a client for each
        etag, size = buckets.s3_version(*where)
    else:
        item = listed(*where)
        etag, size = item.etag, item.size
    if parent:
        return etag == outer_etag(uri, parent, line["etag"] or "")
    return (etag, size) == (line["etag"], line["size"])


def _sha256(line: Json, settings: Settings, open_member: OpenMember, until: float) -> str:
    uri, parent = line["uri"], line["parent"]
    digest = hashlib.sha256()
    with buckets.reading(uri), _opened(uri, parent, settings, open_member) as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            if time.monotonic() > until:
                raise OutOfTime
    return digest.hexdigest()


def _opened(uri: str, parent: str | None, settings: Settings, open_member: OpenMember) -> Any:
    if parent:
        return open_member(uri, parent, settings)
    return buckets.open_file(uri, settings.s3_endpoint, Roots(settings.scanning.roots))
