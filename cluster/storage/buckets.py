"""Folders and buckets, by URI: what lies there, and its bytes."""

import hashlib
import logging
import os
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from pyarrow import fs

from cluster.errors import MediaError, NothingThere, SettingsError
from cluster.records import Kind, MediaItem
from cluster.storage import s3_listing
from cluster.storage.filesystems import filesystem, local_path, normalize, s3_client, s3_complaint, split

__all__ = ["fetch", "filesystem", "list_media", "normalize", "open_file", "read_range", "size"]

log = logging.getLogger(__name__)

PIECE_BYTES = 4 << 20
RETRY_FOR_S = 300.0  # no further try to fetch a file begins later than this
LIST_ATTEMPTS = 10  # for each page: about a minute of a server that cannot
_NAMES: dict[Kind, str] = {
    "image": "jpg jpeg png gif bmp tif tiff webp",
    "video": "mp4 m4v mov mkv webm avi mpg mpeg ts flv wmv 3gp",
    "audio": "wav flac mp3 ogg opus m4a aac aif aiff wma",
}
KINDS: dict[str, Kind] = {f".{suffix}": kind for kind, suffixes in _NAMES.items() for suffix in suffixes.split()}


def list_media(uri: str, s3_endpoint: str | None = None) -> Iterator[MediaItem]:
    """Every media file under a folder or prefix, or the one file that the URI names; lazily, in no order.

    The kind goes by the suffix; names without one are listed, of unknown kind. Left out are other suffixes and all that
    lies under a name that begins with `.` or `_`. The one file that a URI names itself is listed whatever its name.
    SettingsError says in a plain sentence why a place cannot be listed."""
    uri = normalize(uri)
    scheme, _ = split(uri)
    if scheme == "file":
        return _list_local(uri)
    if scheme == "s3":
        return _list_s3(uri, s3_endpoint)
    return list_store(uri, *filesystem(uri))


def fetch(
    item: MediaItem, to: Path, s3_endpoint: str | None = None, attempts: int = 4, max_bytes: int = 20_000_000_000
) -> str:
    """Stream the file to a local one, which it replaces; returns the SHA-256 of what came, in hex.

    What may pass is tried again, with exponential back-off. MediaError names the file and says what was wrong."""
    if item.size > max_bytes:
        raise MediaError("fetch", f"{item.uri} has {item.size:,} bytes; decoding.max_bytes allows {max_bytes:,}")
    give_up_at = time.monotonic() + RETRY_FOR_S
    suspect = ""
    for attempt in range(1, attempts + 1):
        try:
            sha256, as_stored = _download(item, to, s3_endpoint)
            # an ETag need not be an MD5 (a store that encrypts): the same bytes twice are no accident of the network
            if as_stored or sha256 == suspect:
                return sha256
            suspect = sha256
            raise TransientFetchError("fetch", f"{item.uri} arrived with other bytes than were stored")
        except TransientFetchError as error:
            log.warning("%s (try %d of %d)", error.reason, attempt, attempts)
            pause_s = min(8.0, 0.5 * 2 ** (attempt - 1)) * random.uniform(0.5, 1.5)
            if attempt == attempts or time.monotonic() + pause_s > give_up_at:
                to.unlink(missing_ok=True)
                raise MediaError("fetch", f"{error.reason}; tried {attempt} times") from error
            time.sleep(pause_s)
        except MediaError:
            to.unlink(missing_ok=True)
            raise
    raise ValueError(f"attempts must be 1 or more, not {attempts}")


def open_file(uri: str, s3_endpoint: str | None = None) -> Any:
    """A file to read and seek in. To be called within `reading`."""
    store, path = filesystem(uri, s3_endpoint)
    return store.open_input_file(os.fsencode(path))


def read_range(uri: str, start: int, length: int, s3_endpoint: str | None = None) -> bytes:
    """Up to length bytes from start on. MediaError if the file cannot be read."""
    with reading(uri), open_file(uri, s3_endpoint) as file:
        file.seek(start)
        return bytes(file.read(length))


def size(uri: str, s3_endpoint: str | None = None) -> int:
    """The bytes a file has. MediaError if it cannot be read."""
    with reading(uri), open_file(uri, s3_endpoint) as file:
        return int(file.size())


class TransientFetchError(MediaError):
    """Reading failed in a way that may pass."""


@contextmanager
def reading(uri: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise MediaError("fetch", f"{uri} is not there") from None
    except ValueError as error:  # pyarrow's word on "a//b", a name that S3 allows
        raise MediaError("fetch", f"{uri} has a name that cannot be read here ({error})") from error
    except OSError as error:
        # pyarrow has no type of its own for S3's refusals
        if isinstance(error, PermissionError) or "ACCESS_DENIED" in str(error):
            raise MediaError("fetch", f"{uri} may not be read with the rights that Raysift was given") from error
        if "is a directory" in str(error):
            raise MediaError("fetch", f"{uri} is a folder, not a file") from error
        raise TransientFetchError("fetch", f"{uri} could not be read ({str(error)[:200]})") from error


def _pieces(item: MediaItem, s3_endpoint: str | None) -> Iterator[bytes]:
    # a generator, so that a full disk of ours, met where the pieces are written, is not taken for the file's fault
    store, path = filesystem(item.uri, s3_endpoint)
    with reading(item.uri), store.open_input_stream(os.fsencode(path)) as stream:
        etag = (stream.metadata() or {}).get("ETag", b"").decode().strip('"')
        if item.uri.startswith("s3://") and etag != item.etag:
            raise MediaError("fetch", f"{item.uri} has changed since it was listed; scan it again")
        while piece := stream.read(PIECE_BYTES):
            yield piece


def _download(item: MediaItem, to: Path, s3_endpoint: str | None) -> tuple[str, bool]:
    """The SHA-256 of what came, and whether it is what was stored as far as one can tell."""
    sha256, md5, received = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    # pyarrow hands over flipped bytes in silence; TLS sees to them, plain http does not
    verify = (s3_endpoint or "").startswith("http://") and re.fullmatch("[0-9a-f]{32}", item.etag) is not None
    with to.open("wb") as file:
        for piece in _pieces(item, s3_endpoint):
            received += len(piece)
            if received > item.size:
                break
            file.write(piece)
            sha256.update(piece)
            if verify:
                md5.update(piece)
    if received != item.size:
        seen = "more" if received > item.size else f"only {received:,}"
        raise TransientFetchError("fetch", f"{item.uri} was listed with {item.size:,} bytes and has {seen}")
    return sha256.hexdigest(), not verify or md5.hexdigest() == item.etag


def _item(uri: str, name: str, size: int, etag: str) -> Iterator[MediaItem]:
    """The item if its name, relative to what is listed, is one of ours. An empty name: it was asked for itself."""
    suffix = PurePosixPath(name or uri).suffix.lower()
    hidden = any(part.startswith((".", "_")) for part in name.split("/"))
    if not name or (not hidden and (not suffix or suffix in KINDS)):
        yield MediaItem(uri, size, etag, KINDS.get(suffix))


def _list_local(uri: str) -> Iterator[MediaItem]:
    root = local_path(uri)
    try:
        found = os.stat(root)
    except (FileNotFoundError, NotADirectoryError):
        raise NothingThere(f"{uri} does not exist. Check its spelling.") from None
    except PermissionError:
        raise SettingsError(f"{uri} may not be read by this user. Allow it, or run Raysift as its owner.") from None
    if not os.path.isdir(root):
        yield from _item(uri, "", found.st_size, f"{found.st_size}-{found.st_mtime_ns}")
        return
    pending, links = [root], 0
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith((".", "_")):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif entry.is_symlink() and not os.path.isfile(entry.path):
                        links += 1
                    elif entry.is_file():
                        with suppress(FileNotFoundError):  # deleted this moment
                            now = entry.stat()
                            etag = f"{now.st_size}-{now.st_mtime_ns}"
                            yield from _item(Path(entry.path).as_uri(), entry.name, now.st_size, etag)
        except FileNotFoundError:  # likewise
            continue
        except PermissionError:
            raise SettingsError(
                f"the folder {folder!r} may not be read by this user. Allow it, or scan the folders beside it instead."
            ) from None
    if links:
        log.warning("%s: %d links to folders or to nothing were not followed; scan where they lead to", uri, links)


def list_store(uri: str, store: fs.FileSystem, root: str) -> Iterator[MediaItem]:
    """The same through pyarrow, which lists a folder of a bucket at a time: one folder's names must fit into memory."""
    scheme = uri.partition("://")[0]
    try:
        found = store.get_file_info(root)
        if found.type is fs.FileType.NotFound:
            raise NothingThere(f"nothing lies under {uri}. Check its spelling.")
        pending = [] if found.is_file else [root]
        if found.is_file:
            yield from _item(uri, "", found.size, f"{found.size}-{found.mtime_ns}")
        while pending:
            for info in store.get_file_info(fs.FileSelector(pending.pop())):
                if info.is_file:
                    etag = f"{info.size}-{info.mtime_ns}"
                    yield from _item(f"{scheme}://{info.path}", info.base_name, info.size, etag)
                elif not info.base_name.startswith((".", "_")):
                    pending.append(info.path)
    except OSError as error:
        reason = str(error)[:200]
        raise SettingsError(
            f"{uri} cannot be listed: check its name, the credentials, the network ({reason})"
        ) from error


def _list_s3(uri: str, s3_endpoint: str | None) -> Iterator[MediaItem]:
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    found = False
    try:
        # an object of this very name sorts before all others that begin with it
        first = s3_client(s3_endpoint).list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
        if key and any(entry["Key"] == key for entry in first):
            yield from _item(uri, "", first[0]["Size"], first[0]["ETag"].strip('"'))
            return
        prefix = key and f"{key}/"
        # it answers, so it is worth some patience: a long listing meets servers that ask to be asked more slowly
        for page in s3_listing.pages(s3_client(s3_endpoint, LIST_ATTEMPTS), bucket, prefix):
            found = found or bool(page.objects or page.folders)
            for name, size, etag in page.objects:
                if not name.endswith("/"):
                    yield from _item(f"s3://{bucket}/{name}", name.removeprefix(prefix), size, etag)
    except (BotoCoreError, ClientError) as error:
        raise SettingsError(s3_complaint(error, uri, s3_endpoint)) from error
    if key and not found:
        raise NothingThere(f"nothing lies under {uri}. Check its spelling.")
