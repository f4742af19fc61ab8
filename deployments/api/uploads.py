"""An uploaded file, streamed from the request's body to one file on disk as it arrives.

FastAPI's own UploadFile is made only when the whole form has been read, and cannot be handed to a decoder by its path.
"""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from fastapi import HTTPException, Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

FIELD = b"file"
FORM_BYTES = 64 << 10  # most that a form may have beside the file: boundaries, headers, other fields
MAX_PARTS = 100
PIECE_BYTES = 1 << 20  # handed to the disk at a time
NO_LIMIT = 1 << 62  # max_body_size of a route that takes an upload: `received` applies the limit of the settings

# what a route that takes an upload says of its body in the OpenAPI document
FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}},
                }
            }
        },
    }
}


@dataclass(frozen=True)
class Upload:
    """An uploaded file: its path until the request is answered, and the name that its sender gave it."""

    path: Path
    name: str


def declared_bytes(request: Request, most_bytes: int) -> int | None:
    """The bytes of the body as its headers declare them; None if they do not.

    HTTPException 413 if a file of `most_bytes` would have fewer, before anything is read.
    """
    declared = request.headers.get("content-length")
    if declared is None:
        return None
    if int(declared) > most_bytes + FORM_BYTES:
        raise _too_large(most_bytes)
    return int(declared)


@asynccontextmanager
async def received(request: Request, most_bytes: int, count: Callable[[int], None]) -> AsyncIterator[Upload]:
    """The file of the form field `file`, which is deleted at the end. `count` is called with the bytes that arrive.

    HTTPException 413 as soon as more than `most_bytes` have come, 422 for a request without such a file, 400 for a form
    that cannot be parsed, 507 for a full disk.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise HTTPException(422, "body.file: field required. Send a form (multipart/form-data) with a field `file`.")
    with TemporaryDirectory(prefix="raysift-upload-") as folder:
        path = Path(folder) / "upload"  # an upload's own name never reaches a disk
        try:
            with path.open("wb") as file:
                name = await _store(request, _Form(options[b"boundary"], file, most_bytes), count)
        except FormParserError as error:
            raise HTTPException(400, f"the form cannot be read: {error}") from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise HTTPException(507, f"{folder} has no room for this file: free some, or set TMPDIR") from error
        yield Upload(path, name)


async def _store(request: Request, form: "_Form", count: Callable[[int], None]) -> str:
    """Write the form's file and return its name. Writing happens in a thread, so that other requests are answered."""
    piece = bytearray()
    async for chunk in request.stream():
        count(len(chunk))
        piece += chunk
        if len(piece) >= PIECE_BYTES:
            await asyncio.to_thread(form.feed, bytes(piece))
            piece.clear()
    await asyncio.to_thread(form.feed, bytes(piece))
    return form.finished()


class _Form:
    """Callbacks of a multipart parser that keep one file and drop all other fields."""

    def __init__(self, boundary: bytes, file: IO[bytes], most_bytes: int) -> None:
        self._file = file
        self._most_bytes = most_bytes
        self._fed = self._written = self._parts = 0
        self._header = self._value = b""
        self._disposition = b""
        self._name: str | None = None  # of the file, once its part has begun
        self._in_file = self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_to_header,
                "on_header_value": self._add_to_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._take,
                "on_end": self._end,
            },
        )

    def feed(self, data: bytes) -> None:
        """Parse the next bytes of the form. HTTPException 413 if the file or what is beside it is too large."""
        self._fed += len(data)
        self._parser.write(data)
        if self._fed - self._written > FORM_BYTES:
            raise HTTPException(413, f"the form has more than {FORM_BYTES >> 10} KiB beside its file")

    def finished(self) -> str:
        """The file's name. HTTPException 400 for a form that breaks off, 422 for one without a file."""
        if not self._ended:
            raise HTTPException(400, "the form breaks off before its end")
        if self._name is None:
            raise HTTPException(422, "body.file: field required. The form has no file of that name.")
        return self._name

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise HTTPException(400, f"the form has more than {MAX_PARTS} fields")
        self._in_file, self._disposition = False, b""

    def _add_to_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != FIELD or b"filename" not in options:
            return
        if self._name is not None:
            raise HTTPException(400, "the form has two fields `file`: send one file at a time")
        self._in_file = True
        self._name = options[b"filename"].decode(errors="replace") or "upload"

    def _take(self, data: bytes, start: int, end: int) -> None:
        if not self._in_file:
            return
        self._written += end - start
        if self._written > self._most_bytes:
            raise _too_large(self._most_bytes)
        self._file.write(data[start:end])

    def _end(self) -> None:
        self._ended = True


def _too_large(most_bytes: int) -> HTTPException:
    return HTTPException(413, f"the file is too large: {most_bytes:,} bytes are taken at most")
