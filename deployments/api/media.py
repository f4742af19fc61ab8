"""A file of a folder or bucket as an HTTP response: whole, or the byte range that a player requests."""

import asyncio
import mimetypes
import os
import re
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from fastapi import HTTPException, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from cluster.access.identity import Identity
from cluster.errors import MediaError, SettingsError
from cluster.records import Box, Kind
from cluster.settings import Settings
from cluster.storage import buckets
from cluster.storage.roots import Roots
from deployments.reports.originals import OpenMember

T = TypeVar("T")
PIECE_BYTES = 1 << 20
PRIVATE = {
    "Cache-Control": "private, no-store",  # nothing explicit stays on the disk of who looks at it
    "Vary": "Authorization",  # what a viewer and a reviewer get of one file differs
    "X-Content-Type-Options": "nosniff",
}
# what the OpenAPI document says of answers that are not JSON
JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}}
ANY_TYPE: dict[int | str, dict[str, Any]] = {
    200: {"description": "the whole file", "content": {"*/*": {}}},
    206: {"description": "the part that the Range header asks for", "content": {"*/*": {}}},
}
COPY: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "a part of a recording; a picture",
        "content": {"video/mp4": {}, "audio/mp4": {}, "image/jpeg": {}},
    }
}
TURN_S = 10.0  # that a request waits until another copy is made
ONE_VIEW_S = 60.0  # a player asks for many ranges of one file: they are one view
_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


class Originals(Protocol):
    """What the pipeline does with originals; passed in by the builder of the application, as it may not be imported.

    `uri` is that of a file, `parent` that of the file of the bucket that it lies in, if it is a member of a container.
    Everything raises MediaError: step `fetch` if the file cannot be had, else `decode`.
    """

    def open_member(self, uri: str, parent: str, settings: Settings) -> BinaryIO:
        """The file of a member."""

    def part(
        self, uri: str, parent: str | None, from_s: float, settings: Settings
    ) -> Generator[str | bytes, None, None]:
        """The media type of a part that browsers can play, then its bytes; nothing if the recording ends before."""

    def still(self, uri: str, parent: str | None, at_s: float, settings: Settings) -> bytes:
        """The frame of a film at a second, as JPEG."""

    def pixels_at(
        self, uri: str, parent: str | None, kind: Kind, time_s: float | None, settings: Settings
    ) -> npt.NDArray[np.uint8]:
        """One frame of a file, (height, width, 3) RGB: that at a second; of a still image (None) the picture."""

    def picture(self, uri: str, parent: str | None, settings: Settings) -> bytes:
        """A picture as JPEG."""

    def reference(self, path: Path, transparent: bool, settings: Settings) -> bytes:
        """A file of this machine as a picture for a gallery: PNG without metadata. `transparent`: as far as it was."""

    def region(self, uri: str, parent: str | None, kind: Kind, box: Box, at_s: float, settings: Settings) -> bytes:
        """A part of a picture, or of the frame that a film shows at a second, as PNG."""

    def properties(self, uri: str, parent: str | None, kind: Kind, settings: Settings) -> dict[str, Any]:
        """What a file says about itself: the fields of Properties."""


class Viewed:
    """Which originals were viewed by whom within the last ONE_VIEW_S, so that each view is recorded once."""

    def __init__(self) -> None:
        self._at: dict[tuple[str, str], float] = {}
        self._recording: dict[tuple[str, str], asyncio.Lock] = {}

    async def once(self, who: Identity, asset: str, record: Callable[[], Awaitable[object]]) -> None:
        """Record a view, unless it goes on. It returns when the record is written, and raises what `record` raises."""
        view = who.id, asset
        lock = self._recording.setdefault(view, asyncio.Lock())
        try:
            async with lock:  # a second request of the view waits for its record
                if time.monotonic() - self._at.get(view, -ONE_VIEW_S) < ONE_VIEW_S:
                    return
                await record()
                now = time.monotonic()
                self._at = {other: at for other, at in self._at.items() if now - at < ONE_VIEW_S} | {view: now}
        finally:
            if not lock.locked():
                self._recording.pop(view, None)


class Turns:
    """How many copies are made at a time: `async with`, or `take` and later `release`."""

    def __init__(self, at_a_time: int) -> None:
        self._free = asyncio.Semaphore(at_a_time)
        self.release = self._free.release

    async def take(self) -> None:
        """Wait for a turn. HTTPException 503 if none is free within TURN_S."""
        try:
            await asyncio.wait_for(self._free.acquire(), TURN_S)
        except TimeoutError:
            sentence = "this machine makes as many copies of media as it may at a time. Try again in a moment."
            raise HTTPException(503, sentence, {"Retry-After": "5"}) from None

    async def __aenter__(self) -> None:
        await self.take()

    async def __aexit__(self, *_: object) -> None:
        self.release()


class Streamed(StreamingResponse):
    """A part of a copy, whose making ends with the response, also if the client goes away."""

    def __init__(self, part: Generator[Any, None, None], media_type: str, turns: Turns) -> None:
        """`turns`: of which one was taken for the part; it is released at the end."""
        super().__init__(part, media_type=media_type, headers=PRIVATE)
        self._part, self._turns = part, turns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._turns.release()
            self._part.close()  # it ends the process that decodes


def content_of(media_types: Iterable[str]) -> dict[int | str, dict[str, Any]]:
    """What the OpenAPI document says of a download that has one of these media types."""
    return {200: {"content": {media_type.partition(";")[0]: {} for media_type in media_types}}}


async def decoded(uri: str, decode: Callable[[], T]) -> T:
    """The result of a function that decodes a file, in a thread. HTTPException 404: it is gone, 422: it is broken."""
    try:
        return await asyncio.to_thread(decode)
    except MediaError as error:
        raise HTTPException(404 if error.step == "fetch" else 422, error.reason) from error
    except SettingsError as error:
        raise HTTPException(404, f"{uri} is not where it was scanned: {error}") from error


def answer(uri: str, wanted: str | None, s3_endpoint: str | None, roots: Roots) -> Response:
    """The bytes that a Range header wants (None: all), streamed from one open file.

    HTTPException 404 if the file is gone or lies under none of the roots, 416 if it has no such part.
    """
    try:
        with buckets.reading(uri):
            file = buckets.open_file(uri, s3_endpoint, roots)
            size = file.seek(0, os.SEEK_END)
    except (OSError, MediaError, SettingsError) as error:
        raise HTTPException(404, f"{uri} is not where it was scanned: {error}") from error
    return _streamed(uri, file, size, wanted)


def answer_member(uri: str, parent: str, wanted: str | None, open_member: OpenMember, settings: Settings) -> Response:
    """The same of a member of a container.

    HTTPException 404 if the container is gone, too large, or lies under none of the roots, 422 if the member cannot be
    unpacked.
    """
    try:
        file = open_member(uri, parent, settings)
    except MediaError as error:
        raise HTTPException(404 if error.step == "fetch" else 422, f"{uri}: {error.reason}") from error
    except SettingsError as error:
        raise HTTPException(404, f"{uri} is not where it was scanned: {error}") from error
    return _streamed(uri, file, file.seek(0, os.SEEK_END), wanted)


def _streamed(uri: str, file: Any, size: int, wanted: str | None) -> Response:
    """Bytes of an open file, which is closed after the last one. HTTPException 416 as of `byte_range`."""
    try:
        first, last = byte_range(wanted, size)
    except HTTPException:
        file.close()
        raise

    def pieces() -> Iterator[bytes]:
        with buckets.reading(uri), file:
            file.seek(first)
            left = last + 1 - first
            while left > 0 and (piece := file.read(min(PIECE_BYTES, left))):
                left -= len(piece)
                yield piece

    headers = PRIVATE | {"Accept-Ranges": "bytes", "Content-Length": str(last + 1 - first)}
    if wanted is not None:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return StreamingResponse(pieces(), 200 if wanted is None else 206, headers=headers, media_type=media_type(uri))


def byte_range(wanted: str | None, size: int) -> tuple[int, int]:
    """First and last byte that a Range header wants of a file of `size` bytes; without a header, of all of it.

    HTTPException 416 for a range that the file does not have, and for any but a single one in bytes (RFC 9110, 14.1.2).
    """
    if wanted is None:
        return 0, size - 1
    parts = _RANGE.fullmatch(wanted)
    first, last = size, -1  # no part, also of an empty file
    if parts and parts[1]:
        first, last = int(parts[1]), min(int(parts[2] or size), size - 1)
    elif parts and parts[2]:  # a suffix range: the last bytes
        first, last = max(0, size - int(parts[2])), size - 1
    if first > last:
        raise HTTPException(
            416, f"{wanted} cannot be had of {size} bytes", headers={"Content-Range": f"bytes */{size}"}
        )
    return first, last


def media_type(uri: str) -> str:
    """The media type by the file's suffix; application/octet-stream for types that a browser would run (HTML, SVG)."""
    guessed = mimetypes.guess_type(uri)[0] or ""
    shown = guessed.startswith(("image/", "video/", "audio/")) and "svg" not in guessed
    return guessed if shown else "application/octet-stream"
