"""A file of a bucket as an HTTP answer: whole, or the part that a player asks for."""

import mimetypes
from collections.abc import Iterator

from fastapi import HTTPException, Response
from fastapi.responses import StreamingResponse

from cluster.errors import MediaError, SettingsError
from cluster.storage import buckets

PIECE_BYTES = 1 << 20
PRIVATE = {"Cache-Control": "private, max-age=3600", "X-Content-Type-Options": "nosniff"}


def answer(uri: str, wanted: str | None, s3_endpoint: str | None) -> Response:
    """The bytes that a Range header wants (None: all), streamed. 404 if it is gone, 416 if it has no such part."""
    try:
        size = buckets.size(uri, s3_endpoint)
    except (OSError, MediaError, SettingsError) as error:
        raise HTTPException(404, f"{uri} is not where it was scanned: {error}") from error
    first, last = byte_range(wanted, size)

    def pieces() -> Iterator[bytes]:
        for start in range(first, last + 1, PIECE_BYTES):
            yield buckets.read_range(uri, start, min(PIECE_BYTES, last + 1 - start), s3_endpoint)

    headers = PRIVATE | {"Accept-Ranges": "bytes", "Content-Length": str(last + 1 - first)}
    if wanted:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return StreamingResponse(pieces(), 206 if wanted else 200, headers=headers, media_type=media_type(uri))


def byte_range(wanted: str | None, size: int) -> tuple[int, int]:
    """First and last byte that a Range header wants; only the single-range form is answered (RFC 9110, 14.1.2)."""
    if wanted is None:
        return 0, size - 1
    unit, _, range = wanted.partition("=")
    start, dash, end = range.partition("-")
    try:
        first = int(start) if start else max(0, size - int(end))
        last = min(int(end), size - 1) if start and end else size - 1
    except ValueError:
        first, last = size, 0
    if unit != "bytes" or not dash or first > last:
        headers = {"Content-Range": f"bytes */{size}"}
        raise HTTPException(416, f"{wanted} cannot be had of {size} bytes", headers=headers)
    return first, last


def media_type(uri: str) -> str:
    """By its name, and never one that a browser would run, like HTML or SVG."""
    guessed = mimetypes.guess_type(uri)[0] or ""
    shown = guessed.startswith(("image/", "video/", "audio/")) and "svg" not in guessed
    return guessed if shown else "application/octet-stream"
