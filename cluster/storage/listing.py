"""Listing of every file in a folder or bucket. What cannot be listed is reported with its reason."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from pyarrow import fs

from cluster.errors import MediaError, NothingThere, SettingsError
from cluster.records import Kind, MediaItem, asset_id
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
_NAMES: dict[Kind, str] = {
    "image": "jpg jpeg jfif mpo png gif bmp tif tiff webp heic heif hif avif jp2 j2k jpx jxl psd ico "
    "dng cr2 cr3 nef arw orf rw2 raf",
    "video": "mp4 m4v mov mkv webm avi mpg mpeg ts mts m2ts flv wmv 3gp",
    "audio": "wav flac mp3 ogg opus m4a aac aif aiff wma amr caf",
}
# the suffixes that tell a kind without reading the file; all others are told by its first bytes
KINDS: dict[str, Kind] = {f".{suffix}": kind for kind, suffixes in _NAMES.items() for suffix in suffixes.split()}
EXCLUDED = "its name matches an exclude pattern"
LOOP = "it is a link to a folder that is listed already"
DEAD_LINK = "it is a link to nothing"
ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")  # storage classes of S3 whose objects are restored before they can be read

LeftOut = Callable[[str, str], None]  # takes the URI of a folder or file that is not listed, and the reason


def log_left_out(uri: str, reason: str) -> None:
    """Log the asset id of a folder or file that is not listed, and why; its name must not be in a log."""
    log.warning("asset %s is left out: %s", asset_id(uri), reason)


def list_media(
    uri: str,
    s3_endpoint: str | None = None,
    roots: Roots | None = None,
    left_out: LeftOut = log_left_out,
    exclude: Sequence[str] = (),
) -> Iterator[MediaItem]:
    """Yield every file under a folder or prefix, or the one file that the URI names; in no particular order.

    The kind follows from the suffix; it is None if the suffix tells none. `left_out` is called with everything below
    that is not yielded: names that match a pattern of `exclude`, folders and files that cannot be listed, and links
    that lead out of `roots`; the listing continues. SettingsError says why the place itself cannot be listed.

    A pattern (fnmatch: `*`, `?`, `[a-z]`) is compared with the path below `uri` and with each name in it.
    """
    uri = normalize(uri)
    scheme, _ = split(uri)
    if roots is not None:
        roots.check(uri)
    if scheme == "file":
        items = _list_local(uri, roots, left_out)
    elif scheme == "s3":
        items = _list_s3(uri, s3_endpoint, left_out)
    else:
        items = list_store(uri, *filesystem(uri), left_out)
    return _without(exclude, uri, items, left_out) if exclude else items


def listed(uri: str, s3_endpoint: str | None = None, roots: Roots | None = None) -> MediaItem:
    """One file as it is listed now. MediaError if it is not there; SettingsError as of `list_media`."""
    try:
        item = next(list_media(uri, s3_endpoint, roots), None)
    except NothingThere:
        item = None
    if item is None or item.uri != uri:
        raise MediaError("fetch", f"{uri} is not there")
    return item


def _without(exclude: Sequence[str], uri: str, items: Iterator[MediaItem], left_out: LeftOut) -> Iterator[MediaItem]:
    """The items whose path below `uri` matches no pattern."""
    for item in items:
        below = item.uri.removeprefix(f"{uri}/")
        path = local_path(f"file:///{below}")[1:] if item.uri.startswith("file://") else below
        if any(fnmatchcase(name, pattern) for name in (path, *path.split("/")) for pattern in exclude):
            left_out(item.uri, EXCLUDED)
        else:
            yield item


def _item(uri: str, size: int, etag: str) -> MediaItem:
    return MediaItem(uri, size, etag, KINDS.get(PurePosixPath(uri).suffix.lower()))


def _local_item(path: str, status: os.stat_result) -> MediaItem:
    return _item(Path(path).as_uri(), status.st_size, f"{status.st_size}-{status.st_mtime_ns}")


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
        yield _local_item(top, status)


def _list_folders(uri: str, roots: Roots | None, left_out: LeftOut) -> Iterator[MediaItem]:
    """The files of a local folder and of those below it. A link to a folder is followed once."""
    top = local_path(uri)
    pending = [(top, True)]  # a folder, and whether it may be a link
    followed = {os.path.realpath(top)}  # targets of links
    while pending:
        folder, is_link = pending.pop()
        try:
            # what was seen as a folder must still be one, not a link that has replaced it since
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | (0 if is_link else os.O_NOFOLLOW))
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
                    path = os.path.join(folder, entry.name)
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            pending.append((path, False))
                        elif entry.is_symlink() and os.path.isdir(path):
                            target = os.path.realpath(path)
                            if target in followed or f"{resolved}/".startswith(f"{target}/"):
                                left_out(Path(path).as_uri(), LOOP)
                            else:
                                followed.add(target)
                                pending.append((path, True))
                        elif entry.is_symlink() and not os.path.exists(path):
                            left_out(Path(path).as_uri(), DEAD_LINK)
                        else:
                            yield from _list_file(path, entry, roots, left_out)
                    except OSError as error:
                        left_out(Path(path).as_uri(), _reason(error))
        except OSError as error:
            left_out(Path(folder).as_uri(), _reason(error))
        finally:
            os.close(handle)


def _list_file(path: str, entry: "os.DirEntry[str]", roots: Roots | None, left_out: LeftOut) -> Iterator[MediaItem]:
    """Yield one entry of a folder, itself not a folder, if it is a regular file that may be read."""
    status = entry.stat()
    if reason := not_a_file(status.st_mode):
        left_out(Path(path).as_uri(), f"it is {reason}, not a file")
    elif entry.is_symlink() and roots is not None and not roots.allow_path(os.path.realpath(path)):
        left_out(Path(path).as_uri(), "it is a link that leads outside the folders that may be read (scanning.roots)")
    else:
        yield _local_item(path, status)


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
            yield _item(uri, status.size, f"{status.size}-{status.mtime_ns}")
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
                    yield _item(f"{scheme}://{info.path}", info.size, etag)
                else:
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
            yield _item(uri, first[0]["Size"], first[0]["ETag"].strip('"'))
            return
        prefix = key and f"{key}/"
        # more attempts now that it has answered: servers throttle long listings
        for page in s3_listing.pages(s3_client(s3_endpoint, LIST_ATTEMPTS), bucket, prefix):
            is_there = is_there or bool(page.objects or page.folders)
            for folder in page.forbidden:
                left_out(f"s3://{bucket}/{folder}", "access is denied: these credentials lack s3:ListBucket on it")
            for name, size, etag, storage_class in page.objects:
                if name.endswith("/") and not size:
                    continue  # a mark that consoles write for an empty folder: it has no bytes
                if storage_class in ARCHIVED:
                    left_out(f"s3://{bucket}/{name}", f"it is archived ({storage_class}): restore it, then scan again")
                else:
                    yield _item(f"s3://{bucket}/{name}", size, etag)
    except (BotoCoreError, ClientError) as error:
        raise SettingsError(s3_complaint(error, uri, s3_endpoint)) from error
    if key and not is_there:
        raise NothingThere(f"nothing lies under {uri}. Check its spelling.")
