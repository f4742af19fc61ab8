"""Reads of files in folders and buckets, by URI: copies to this machine, and ranges of bytes."""

import hashlib
import logging
import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.errors import MediaError
from cluster.metrics.declared import STORAGE_BYTES, STORAGE_SECONDS
from cluster.metrics.recording import outcome_of, record
from cluster.records import MediaItem, asset_id
from cluster.storage.disks import naming_full_disk
from cluster.storage.filesystems import filesystem, is_forbidden, normalize, split
from cluster.storage.roots import Roots, open_local
from cluster.storage.s3_objects import S3Object, is_refused

if TYPE_CHECKING:  # see filesystems
    from pyarrow.fs import FileSystem

__all__ = ["fetch", "filesystem", "normalize", "open_file", "read_range", "size"]

log = logging.getLogger(__name__)

PIECE_BYTES = 4 << 20
RETRY_FOR_S = 300.0  # no further try to fetch a file begins later than this


def fetch(
    item: MediaItem,
    to: Path,
    s3_endpoint: str | None = None,
    attempts: int = 4,
    max_bytes: int = 20_000_000_000,
    roots: Roots | None = None,
) -> str:
    """Download a file to a local one, which is replaced. Returns the SHA-256 of the received bytes, in hex.

    Transient errors are retried with exponential back-off. MediaError names the file and the reason, also if it is
    under none of the `roots`. DiskFull: the local file system is full.
    """
    if item.size > max_bytes:
        raise MediaError("fetch", f"{item.uri} has {item.size:,} bytes; decoding.max_bytes allows {max_bytes:,}")
    give_up_at = time.monotonic() + RETRY_FOR_S
    suspect = ""
    for attempt in range(1, attempts + 1):
        try:
            with outcome_of(STORAGE_SECONDS, operation="fetch", scheme=split(item.uri)[0]):
                sha256, as_stored = _download(item, to, s3_endpoint, roots)
            # an ETag need not be an MD5, as with encryption: the same bytes twice are not a transmission error
            if as_stored or sha256 == suspect:
                return sha256
            suspect = sha256
            raise TransientFetchError("fetch", f"{item.uri} arrived with other bytes than were stored")
        except TransientFetchError as error:
            log.warning("asset %s was not fetched (try %d of %d)", asset_id(item.uri), attempt, attempts)
            pause_s = min(8.0, 0.5 * 2 ** (attempt - 1)) * random.uniform(0.5, 1.5)
            if attempt == attempts or time.monotonic() + pause_s > give_up_at:
                to.unlink(missing_ok=True)
                raise MediaError("fetch", f"{error.reason}; tried {attempt} times") from error
            time.sleep(pause_s)
        except MediaError:
            to.unlink(missing_ok=True)
            raise
    raise ValueError(f"attempts must be 1 or more, not {attempts}")


def open_file(uri: str, s3_endpoint: str | None = None, roots: Roots | None = None) -> Any:
    """Open a file to read and seek in, within `reading`. MediaError if it is under none of the roots."""
    if split(uri)[0] == "file":
        return open_local(uri, roots)
    if is_refused(uri):
        _require_root(uri, roots)
        return S3Object(uri, s3_endpoint)
    store, path = _in_store(uri, s3_endpoint, roots)
    return store.open_input_file(path)


def read_range(uri: str, start: int, length: int, s3_endpoint: str | None = None, roots: Roots | None = None) -> bytes:
    """Read up to `length` bytes from `start`. MediaError if the file cannot be read, or is under none of the roots."""
    with reading(uri), open_file(uri, s3_endpoint, roots) as file:
        file.seek(start)
        return bytes(file.read(length))


def size(uri: str, s3_endpoint: str | None = None, roots: Roots | None = None) -> int:
    """The size of a file in bytes. MediaError if it cannot be read, or is under none of the roots."""
    with reading(uri), open_file(uri, s3_endpoint, roots) as file:
        return int(file.seek(0, os.SEEK_END))


def s3_version(uri: str, s3_endpoint: str | None = None, roots: Roots | None = None) -> tuple[str, int]:
    """The ETag of an object of S3 and its size, by one request. MediaError as of `size`."""
    with reading(uri), open_file(uri, s3_endpoint, roots) as file:
        return _etag(file), int(file.seek(0, os.SEEK_END))


class TransientFetchError(MediaError):
    """Reading failed with an error that may be transient."""


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """Turn errors of a file system during a read into a MediaError that names the file and the reason."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise MediaError("fetch", f"{uri} is not there") from None
    except ValueError as error:  # pyarrow raises it for "a//b", a key that S3 allows
        raise MediaError("fetch", f"{uri} has a name that cannot be read here ({error})") from error
    except OSError as error:
        if is_forbidden(error):
            raise MediaError("fetch", f"{uri} may not be read with the rights that Raysift was given") from error
        if "is a directory" in str(error):
            raise MediaError("fetch", f"{uri} is a folder, not a file") from error
        raise TransientFetchError("fetch", f"{uri} could not be read ({str(error)[:200]})") from error


def _in_store(uri: str, s3_endpoint: str | None, roots: Roots | None) -> "tuple[FileSystem, bytes]":
    """The file system of a bucket's file and the path in it. MediaError if the file is under none of the roots."""
    _require_root(uri, roots)
    store, path = filesystem(uri, s3_endpoint)
    return store, os.fsencode(path)


def _require_root(uri: str, roots: Roots | None) -> None:
    if roots is not None and not roots.allow(uri):
        raise MediaError("fetch", f"{uri} lies outside the buckets that may be read (scanning.roots)")


def _open_stream(item: MediaItem, s3_endpoint: str | None, roots: Roots | None) -> Any:
    """Open a file for a sequential read. MediaError if an object has changed since it was listed."""
    if split(item.uri)[0] == "file":
        return open_local(item.uri, roots)
    if is_refused(item.uri):
        stream = open_file(item.uri, s3_endpoint, roots)
    else:
        store, path = _in_store(item.uri, s3_endpoint, roots)
        stream = store.open_input_stream(path)
    if item.uri.startswith("s3://") and _etag(stream) != item.etag:
        stream.close()
        raise MediaError("fetch", f"{item.uri} has changed since it was listed; scan it again")
    return stream


def _etag(file: Any) -> str:
    """The ETag of an open object of S3."""
    return (file.metadata() or {}).get("ETag", b"").decode().strip('"')


def _pieces(item: MediaItem, s3_endpoint: str | None, roots: Roots | None) -> Iterator[bytes]:
    # a generator: an OSError of the caller, such as a full local disk, must not be reported as the file's error
    with reading(item.uri), _open_stream(item, s3_endpoint, roots) as stream:
        while piece := stream.read(PIECE_BYTES):
            yield piece


def _download(item: MediaItem, to: Path, s3_endpoint: str | None, roots: Roots | None) -> tuple[str, bool]:
    """The SHA-256 of the received bytes, and whether they equal the stored ones as far as this can be checked."""
    sha256, md5, received = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    # pyarrow does not detect flipped bytes; TLS does, plain http does not
    verify = (s3_endpoint or "").startswith("http://") and re.fullmatch("[0-9a-f]{32}", item.etag) is not None
    with naming_full_disk(to.parent), to.open("wb") as file:
        for piece in _pieces(item, s3_endpoint, roots):
            received += len(piece)
            if received > item.size:
                break
            file.write(piece)
            sha256.update(piece)
            if verify:
                md5.update(piece)
    record(STORAGE_BYTES, received, scheme=split(item.uri)[0])
    if received != item.size:
        seen = "more" if received > item.size else f"only {received:,}"
        raise TransientFetchError("fetch", f"{item.uri} was listed with {item.size:,} bytes and has {seen}")
    return sha256.hexdigest(), not verify or md5.hexdigest() == item.etag
