"""Listing of the media files in a folder or bucket."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from pyarrow import fs

from cluster.errors import NothingThere, SettingsError
from cluster.records import Kind, MediaItem
from cluster.storage import s3_listing
from cluster.storage.filesystems import (
    filesystem,
    is_forbidden,
    local_path,
    normalize,
    s3_client,
    s3_complaint,
    split,
)
from cluster.storage.roots import Roots, not_a_file, of_the_kernel

log = logging.getLogger(__name__)

LIST_ATTEMPTS = 10  # for each page: retries for about a minute
HIDDEN = (".", "_")  # prefixes of names that are not media
_NAMES: dict[Kind, str] = {
    "image": "jpg jpeg png gif bmp tif tiff webp",
    "video": "mp4 m4v mov mkv webm avi mpg mpeg ts flv wmv 3gp",
    "audio": "wav flac mp3 ogg opus m4a aac aif aiff wma",
}
KINDS: dict[str, Kind] = {f".{suffix}": kind for kind, suffixes in _NAMES.items() for suffix in suffixes.split()}

LeftOut = Callable[[str, str], None]  # takes the URI of a folder or file that is not listed, and the reason


def log_left_out(uri: str, reason: str) -> None:
    """Log which folder or file is not listed, and why."""
    log.warning("%s is left out: %s", uri, reason)


def list_media(
    uri: str, s3_endpoint: str | None = None, roots: Roots | None = None, left_out: LeftOut = log_left_out
) -> Iterator[MediaItem]:
    """Yield every media file under a folder or prefix, or the one file that the URI names; in no particular order.

    The kind follows from the suffix; a name without a suffix has kind None. Files with other suffixes, and everything
    under a name that begins with `.` or `_`, are skipped; a file that the URI itself names is always listed. `left_out`
    is called with folders and files below that cannot be listed, and with links that lead out of `roots`; the listing
    continues. SettingsError says why the place itself cannot be listed.
    """
    uri = normalize(uri)
    scheme, _ = split(uri)
    if roots is not None:
        roots.check(uri)
    if scheme == "file":
        return _list_local(uri, roots, left_out)
    if scheme == "s3":
        return _list_s3(uri, s3_endpoint, left_out)
    return list_store(uri, *filesystem(uri), left_out)


def _item(uri: str, name: str, size: int, etag: str) -> Iterator[MediaItem]:
    """Yield the item if `name`, relative to the listed folder, is that of media. Empty: the URI was named itself."""
    suffix = PurePosixPath(name or uri).suffix.lower()
    hidden = any(part.startswith(HIDDEN) for part in name.split("/"))
    if not name or (not hidden and (not suffix or suffix in KINDS)):
        yield MediaItem(uri, size, etag, KINDS.get(suffix))


def _local_item(path: str, name: str, status: os.stat_result) -> Iterator[MediaItem]:
    return _item(Path(path).as_uri(), name, status.st_size, f"{status.st_size}-{status.st_mtime_ns}")


def _list_local(uri: str, roots: Roots | None, left_out: LeftOut) -> Iterator[MediaItem]:
    top = local_path(uri)
    try:
        status = os.stat(top)
    except (FileNotFoundError, NotADirectoryError):
        raise NothingThere(f"{uri} does not exist. Check its spelling.") from None
    except PermissionError:
        raise SettingsError(f"{uri} may not be read by this user. Allow it, or run Raysift as its owner.") from None
    except OSError as error:
        raise SettingsError(f"{uri} cannot be read: {error.strerror}. Check its spelling and the disk.") from None
    if of_the_kernel(os.path.realpath(top)):
        raise NothingThere(f"{uri} is a view of the system's kernel and holds no files. Name another folder.")
    if os.path.isdir(top):
        yield from _list_folders(uri, roots, left_out)
    elif reason := not_a_file(status.st_mode):
        raise NothingThere(f"{uri} is {reason}, not a file. Name a folder or a regular file.")
    else:
        yield from _local_item(top, "", status)


def _list_folders(uri: str, roots: Roots | None, left_out: LeftOut) -> Iterator[MediaItem]:
    """The media files of a local folder and of those below it."""
    top = local_path(uri)
    pending, links = [top], 0
    while pending:
        folder = pending.pop()
        try:
            # a folder below must still be a folder, not a link that has replaced it since
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | (os.O_NOFOLLOW if folder != top else 0))
        except OSError as error:
            if folder == top:
                raise SettingsError(
                    f"the folder {folder!r} may not be read by this user. Allow it, or scan the folders below it."
                ) from None
            left_out(Path(folder).as_uri(), _reason(error))
            continue
        try:
            resolved = os.readlink(f"/proc/self/fd/{handle}")
            if of_the_kernel(resolved) or (roots is not None and not roots.allow_path(resolved)):
                left_out(Path(folder).as_uri(), "it leads outside the folders that may be read (scanning.roots)")
                continue
            with os.scandir(handle) as entries:
                for entry in entries:
                    if entry.name.startswith(HIDDEN):
                        continue
                    path = os.path.join(folder, entry.name)
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(path)
                        elif entry.is_symlink() and (os.path.isdir(path) or not os.path.exists(path)):
                            links += 1
                        else:
                            yield from _list_file(path, entry, roots, left_out)
                    except OSError as error:
                        left_out(Path(path).as_uri(), _reason(error))
        except OSError as error:
            left_out(Path(folder).as_uri(), _reason(error))
        finally:
            os.close(handle)
    if links:
        log.warning("%s: %d links to folders or missing files were not followed; scan their targets", uri, links)


def _list_file(path: str, entry: "os.DirEntry[str]", roots: Roots | None, left_out: LeftOut) -> Iterator[MediaItem]:
    """Yield one entry of a folder, itself not a folder, if it is a media file that may be read."""
    status = entry.stat()
    for item in _local_item(path, entry.name, status):
        if reason := not_a_file(status.st_mode):
            left_out(item.uri, f"it is {reason}, not a file")
        elif entry.is_symlink() and roots is not None and not roots.allow_path(os.path.realpath(path)):
            left_out(item.uri, "it is a link that leads outside the folders that may be read (scanning.roots)")
        else:
            yield item


def _reason(error: OSError) -> str:
    """Why a folder or file that was seen cannot be listed."""
    if isinstance(error, FileNotFoundError):
        return "it was deleted while its folder was listed"
    if isinstance(error, PermissionError):
        return "it may not be read by this user"
    return f"it cannot be read ({error.strerror})"


def list_store(uri: str, store: fs.FileSystem, root: str, left_out: LeftOut = log_left_out) -> Iterator[MediaItem]:
    """`list_media` through pyarrow, which lists one folder of a bucket at a time: its names must fit into memory."""
    scheme = uri.partition("://")[0]
    pending: list[str] = []
    try:
        status = store.get_file_info(root)
        if status.type is fs.FileType.NotFound:
            raise NothingThere(f"nothing lies under {uri}. Check its spelling.")
        if status.is_file:
            yield from _item(uri, "", status.size, f"{status.size}-{status.mtime_ns}")
        else:
            pending.append(root)
        while pending:
            folder = pending.pop()
            try:
                entries = store.get_file_info(fs.FileSelector(folder))
            except OSError as error:
                if folder == root or not (is_forbidden(error) or isinstance(error, FileNotFoundError)):
                    raise
                left_out(f"{scheme}://{folder}", "access is denied or it was deleted")
                continue
            for info in entries:
                if info.is_file:
                    etag = f"{info.size}-{info.mtime_ns}"
                    yield from _item(f"{scheme}://{info.path}", info.base_name, info.size, etag)
                elif not info.base_name.startswith(HIDDEN):
                    pending.append(info.path)
    except OSError as error:
        reason = str(error)[:200]
        raise SettingsError(
            f"{uri} cannot be listed: check its name, the credentials, the network ({reason})"
        ) from error


def _list_s3(uri: str, s3_endpoint: str | None, left_out: LeftOut) -> Iterator[MediaItem]:
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    is_there = False
    try:
        # an object with exactly this key sorts before all others that begin with it
        first = s3_client(s3_endpoint).list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
        if key and any(entry["Key"] == key for entry in first):
            yield from _item(uri, "", first[0]["Size"], first[0]["ETag"].strip('"'))
            return
        prefix = key and f"{key}/"
        # more attempts now that it has answered: servers throttle long listings
        for page in s3_listing.pages(s3_client(s3_endpoint, LIST_ATTEMPTS), bucket, prefix):
            is_there = is_there or bool(page.objects or page.folders)
            for folder in page.forbidden:
                left_out(f"s3://{bucket}/{folder}", "access is denied: these credentials lack s3:ListBucket on it")
            for name, size, etag in page.objects:
                if not name.endswith("/"):
                    yield from _item(f"s3://{bucket}/{name}", name.removeprefix(prefix), size, etag)
    except (BotoCoreError, ClientError) as error:
        raise SettingsError(s3_complaint(error, uri, s3_endpoint)) from error
    if key and not is_there:
        raise NothingThere(f"nothing lies under {uri}. Check its spelling.")
