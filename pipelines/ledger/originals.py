"""Originals for the API, decoded in child processes: parts that browsers can play, frames, pictures, properties."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from cluster.errors import MediaError
from cluster.records import Box, Kind
from cluster.settings import Settings
from cluster.storage.listing import listed
from cluster.storage.roots import Roots
from pipelines.ledger.member_files import MemberFiles
from pipelines.media.decoding import Pixels
from pipelines.media.originals.properties import Properties
from pipelines.media.pool import Decoder
from pipelines.media.sources import Remote, Source


class Originals:
    """What the API shows of files that were scanned; threads may share it. Nothing is stored. It can be pickled.

    `uri` is that of a file, `parent` that of the file of the bucket that it lies in, if it is a member of a container.
    MediaError: step `fetch` if the file is gone or lies under none of the roots; else `decode`.
    """

    def __init__(self, decoder: Callable[[], Decoder]) -> None:
        """`decoder`: the decoder of this process, which is made at the first call."""
        self._decoder = decoder

    @cached_property
    def _members(self) -> MemberFiles:
        return MemberFiles(self._decoder())

    def open_member(self, uri: str, parent: str, settings: Settings) -> BinaryIO:
        """The file of a member of a container, as of `MemberFiles.open`."""
        return self._members.open(uri, parent, settings)

    def part(
        self, uri: str, parent: str | None, from_s: float, settings: Settings
    ) -> Generator[str | bytes, None, None]:
        """The media type of a part of a recording, then its bytes, as of `copies.part`."""
        with self._source(uri, parent, settings) as source:
            yield from self._decoder().part(source, from_s, settings.decoding)

    def still(self, uri: str, parent: str | None, at_s: float, settings: Settings) -> bytes:
        """The frame of a film at a time as JPEG."""
        with self._source(uri, parent, settings) as source:
            return self._decoder().still(source, at_s, settings.decoding)

    def pixels_at(self, uri: str, parent: str | None, kind: Kind, time_s: float | None, settings: Settings) -> Pixels:
        """One frame of a file, (height, width, 3) RGB: that at a second; of a still image (None) the picture."""
        with self._source(uri, parent, settings) as source:
            return self._decoder().pixels_at(source, kind, settings.decoding, time_s)

    def picture(self, uri: str, parent: str | None, settings: Settings) -> bytes:
        """A picture as JPEG."""
        with self._source(uri, parent, settings) as source:
            return self._decoder().picture(source, settings.decoding)

    def reference(self, path: Path, transparent: bool, settings: Settings) -> bytes:
        """An upload as a picture for a gallery, as of `copies.reference`."""
        return self._decoder().reference(path, transparent, settings.decoding)

    def region(self, uri: str, parent: str | None, kind: Kind, box: Box, at_s: float, settings: Settings) -> bytes:
        """A part of a picture, or of the frame that a film shows at a second, as PNG."""
        with self._source(uri, parent, settings) as source:
            return self._decoder().region(source, kind, box, at_s, settings.decoding)

    def properties(self, uri: str, parent: str | None, kind: Kind, settings: Settings) -> Properties:
        """What a file says about itself."""
        with self._source(uri, parent, settings) as source:
            return self._decoder().properties(source, kind, settings.decoding)

    @contextmanager
    def _source(self, uri: str, parent: str | None, settings: Settings) -> Iterator[Source]:
        if parent is not None:
            with self._members.open(uri, parent, settings) as file:
                yield Path(file.name)
            return
        roots = Roots(settings.scanning.roots)
        if not roots.allow(uri):
            raise MediaError("fetch", f"{uri} lies outside the folders and buckets that may be read")
        item = listed(uri, settings.s3_endpoint)
        if item.size > settings.decoding.max_bytes:
            allowed = f"decoding.max_bytes allows {settings.decoding.max_bytes:,}"
            raise MediaError("fetch", f"{uri} has {item.size:,} bytes; {allowed}")
        yield Remote(item, settings.s3_endpoint, settings.scanning.attempts, roots)
