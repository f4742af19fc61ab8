"""Containers that this process has fetched, and members that it has unpacked: on disk, within limits."""

import hashlib
import os
import shutil
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from threading import Lock

from cluster.errors import MediaError, NothingThere
from cluster.records import MediaItem
from cluster.settings import Settings
from cluster.storage import buckets
from cluster.storage.disks import naming_full_disk
from cluster.storage.listing import list_media
from cluster.storage.members import numbers, outer_etag
from cluster.storage.roots import Roots
from pipelines.archives.limits import Limits
from pipelines.media.pool import Decoder

FETCHED = "raysift-media-"  # prefix of the folders of fetched files, before the id of their process
MOST_BYTES = 10_000_000_000  # that unused containers and members may take on disk


def listed(uri: str, settings: Settings) -> MediaItem:
    """A file of a bucket as it is listed now. MediaError if it is not there."""
    try:
        item = next(list_media(uri, settings.s3_endpoint), None)
    except NothingThere:
        item = None
    if item is None or item.uri != uri:
        raise MediaError("fetch", f"{uri} is not there")
    return item


@dataclass
class Kept:
    """A container of a bucket on this machine. `file`: itself; beside it, its members as folders of files."""

    folder: Path
    lock: Lock = field(default_factory=Lock)
    sha256: str | None = None  # None: it is not fetched yet
    users: int = 0
    bytes: int = 0
    alone: set[Path] = field(default_factory=set)  # members that were unpacked without others, as is cheap to repeat
    failed: dict[Path, str] = field(default_factory=dict)  # where a member would be -> why it cannot be unpacked

    @property
    def file(self) -> Path:
        """The container itself."""
        return self.folder / "file"

    def measure(self) -> None:
        """Note how many bytes it takes: after each step that adds some, not at each use, as there may be many files."""
        self.bytes = sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())


class Unpacked:
    """Fetches each container once for many of its members; threads may share it. The least recently used one goes."""

    def __init__(self, decoder: Decoder, limits: Limits | None = None, most_bytes: int = MOST_BYTES) -> None:
        self.decoder, self.limits, self.most_bytes = decoder, limits or Limits(), most_bytes
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()

    def member(self, item: MediaItem, to: Path, settings: Settings) -> str:
        """Unpack a member to a local file; returns its SHA-256 in hex.

        MediaError if it cannot be unpacked, or its container has changed, is gone or lies under none of the roots.
        """
        assert item.parent is not None
        place = item.uri, item.parent, item.etag
        outer = self._outer(item.parent, outer_etag(*place), settings)
        with self.opened(outer, settings) as kept:
            with kept.lock:
                path = self.path(kept, numbers(*place), settings)
                os.link(path, to)
                if item.kind != "container" and path in kept.alone:
                    path.unlink()
            with to.open("rb") as content:
                return hashlib.file_digest(content, "sha256").hexdigest()

    def container(self, item: MediaItem, to: Path, settings: Settings) -> str:
        """Fetch a container itself to a local file; returns its SHA-256 in hex. MediaError if it cannot be fetched."""
        with self.opened(item, settings) as kept:
            os.link(kept.file, to)
            return str(kept.sha256)

    @contextmanager
    def opened(self, outer: MediaItem, settings: Settings) -> Iterator[Kept]:
        """A container of a bucket, fetched. MediaError if it cannot be."""
        roots = Roots(settings.scanning.roots)
        if not roots.allow(outer.uri):  # another job may have fetched it
            raise MediaError("fetch", f"{outer.uri} lies outside the folders and buckets that may be read")
        key = outer.uri, outer.etag
        with self._lock:
            if key not in self._kept:
                with naming_full_disk(Path(gettempdir())):
                    self._kept[key] = Kept(Path(mkdtemp(prefix=f"{FETCHED}{os.getpid()}-")))
            kept = self._kept[key]
            self._kept.move_to_end(key)
            kept.users += 1
        try:
            with kept.lock:
                if kept.sha256 is None:
                    limits, attempts = settings.decoding, settings.scanning.attempts
                    kept.sha256 = buckets.fetch(
                        outer, kept.file, settings.s3_endpoint, attempts, limits.max_bytes, roots
                    )
                    kept.measure()
            yield kept
        finally:
            with self._lock:
                kept.users -= 1
                self._evict()

    def path(self, kept: Kept, places: list[int], settings: Settings) -> Path:
        """The local file of the member with these numbers, one for each container around it. Hold `kept.lock`."""
        path = kept.file
        for n in places:
            path = self._unpacked(kept, path, n, settings)
        return path

    def close(self) -> None:
        """Delete everything."""
        with self._lock:
            for kept in self._kept.values():
                shutil.rmtree(kept.folder, ignore_errors=True)
            self._kept.clear()

    def _outer(self, uri: str, etag: str, settings: Settings) -> MediaItem:
        """The container as it is listed now. MediaError if it is not that of the ETag any more."""
        item = listed(uri, settings)
        if item.etag != etag:
            raise MediaError("fetch", f"{uri} has changed since it was listed; scan it again")
        return item

    def _unpacked(self, kept: Kept, container: Path, n: int, settings: Settings) -> Path:
        folder = container.with_name(f"{container.name}.members")
        path = folder / str(n)
        if not path.exists() and path not in kept.failed:
            folder.mkdir(exist_ok=True)
            reason, unpacked = "it is not in its container any more", 0
            try:
                for number, problem in self.decoder.extract(container, [n], folder, settings.decoding, self.limits):
                    unpacked += 1
                    if problem is not None:
                        kept.failed[folder / str(number)] = problem
            except MediaError as error:  # a container may break after the member
                if error.step == "fetch":
                    raise
                reason = error.reason
            if unpacked == 1:
                kept.alone.add(path)
            kept.measure()
            if not path.exists():
                kept.failed.setdefault(path, reason)
        if path in kept.failed:
            raise MediaError("decode", kept.failed[path])
        return path

    def _evict(self) -> None:
        total = sum(kept.bytes for kept in self._kept.values())
        for key, kept in list(self._kept.items()):
            if total <= self.most_bytes:
                return
            if not kept.users:
                del self._kept[key]
                total -= kept.bytes
                shutil.rmtree(kept.folder, ignore_errors=True)
