"""Weights from packages, files and buckets: located, fetched and checked. hub.py has the model hub."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Literal

from cluster.errors import SettingsError
from cluster.settings import Settings
from cluster.storage.filesystems import local_path
from deployments.weights import copies, licences, pickles
from deployments.weights.copies import Manifest, Store

FORMS = "package:NAME==VERSION/PATH, file:/PATH, s3://BUCKET/PATH or hf:OWNER/REPO@REVISION"
_PACKAGE = re.compile(r"package:(?P<name>[\w.-]+)==(?P<version>[^/\s]+)/(?P<path>[^/\s]\S*)")


@dataclass(frozen=True, slots=True)
class State:
    """What is known about weights without a request to the hub."""

    origin: Literal["package", "file", "bucket", "cache", "mirror", "hub", "nowhere"]  # from where they would load
    there: bool
    licence: str | None = None
    revision: str | None = None
    size: int | None = None  # bytes
    missing: str = ""  # a sentence: what is, and what to do


class Source(ABC):
    """A parsed reference to weights. Construction reads nothing."""

    def __init__(self, reference: str, place: str, sha256: str | None, settings: Settings) -> None:
        self.reference, self.place, self.sha256, self.settings = reference, place, sha256, settings

    @property
    def title(self) -> str:
        """A name to display, without the revision."""
        return self.place

    @abstractmethod
    def path(self) -> Path:
        """The local file or folder, fetched if need be and checked. SettingsError says what is missing."""

    @abstractmethod
    def state(self) -> State:
        """What `path` would return, without fetching anything."""

    def checked(self, path: Path, code: bool = False) -> Path:
        """The path. SettingsError if its digest is not the pinned one, or if it is a pickle without `code`."""
        if self.sha256 is not None and (found := copies.digest(path)) != self.sha256:
            raise SettingsError(
                f"{path} is not what model {self.reference!r} pins: its sha256 is {found}. Fetch it again, or correct "
                "the setting if these are the bytes that you trust."
            )
        if self.sha256 is None and not code:
            pickles.refuse(path, self.reference)
        return path

    def match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """The reference matched by the pattern of its scheme. SettingsError if it does not match."""
        match = pattern.fullmatch(self.place)
        if match is None:
            raise SettingsError(f"model {self.reference!r} is no weights reference; write {FORMS}.")
        return match


class Package(Source):
    """`package:NAME==VERSION/PATH`: the installed distribution of exactly that version, a path as its RECORD has it.

    Nothing is imported. The lock file pins its bytes, so pickles may be among them.
    """

    @property
    def title(self) -> str:
        """The name of the distribution."""
        return str(self.match(_PACKAGE)["name"])

    def path(self) -> Path:
        """The path within the installed distribution of exactly that version."""
        match = self.match(_PACKAGE)
        wanted = f"{match['name']}=={match['version']}"
        try:
            distribution = metadata.distribution(match["name"])
        except metadata.PackageNotFoundError:
            raise SettingsError(
                f"model {self.reference!r}: {match['name']} is not installed. Install {wanted}."
            ) from None
        if distribution.version != match["version"]:
            raise SettingsError(
                f"model {self.reference!r}: {match['name']} is installed as {distribution.version}. "
                f"Install {wanted} or change the setting."
            )
        path = Path(str(distribution.locate_file(match["path"])))
        if not path.exists():
            raise SettingsError(
                f"model {self.reference!r}: {wanted} has no {match['path']}. Correct the path or reinstall it."
            )
        return self.checked(path, code=True)

    def state(self) -> State:
        """Whether that version is installed, with the licence of its metadata."""
        match = self.match(_PACKAGE)
        try:
            path = self.path()
        except SettingsError as error:
            return State("package", False, revision=match["version"], missing=str(error))
        return State("package", True, licences.of_package(match["name"]), match["version"], _size(path))


class Local(Source):
    """`file:/PATH` or `file:///PATH`, the latter with %-escapes undone: a file or folder that somebody put there."""

    def path(self) -> Path:
        """The file or folder, which must exist at an absolute path."""
        place = self.place.removeprefix("file:")
        path = Path(local_path(self.place) if place.startswith("//") else place)
        if not path.is_absolute():
            raise SettingsError(f"model {self.reference!r}: the path must begin at /. Write file:{path.absolute()}.")
        if not path.exists():
            raise SettingsError(f"model {self.reference!r}: {path} is not there. Correct the path.")
        return self.checked(path)

    def state(self) -> State:
        """Whether the file or folder is there."""
        try:
            return State("file", True, size=_size(self.path()), revision=self.sha256)
        except SettingsError as error:
            return State("file", False, missing=str(error))


class Bucket(Source):
    """`s3://BUCKET/PATH`, also gs:// and az://: a file or folder of a bucket, copied into the cache.

    Pinned, it is looked for in the cache first. Else the bucket is listed, and a changed file is a new copy.
    """

    def path(self) -> Path:
        """The copy in the cache, fetched if the bucket has changed."""
        if self.sha256:
            return self._kept(self.sha256[:16])
        return self._kept(self._listing())

    def state(self) -> State:
        """Whether a copy is in the cache, or else the files in the bucket."""
        try:
            version = self.sha256[:16] if self.sha256 else self._listing()
            if copy := copies.whole(self._home(version), self.reference):
                return State("cache", True, revision=version, size=copy.size)
            files = self._store().listed()
        except SettingsError as error:
            return State("bucket", False, missing=str(error))
        if not files:
            return State("bucket", False, missing=f"nothing lies under {self.place}. Correct the path.")
        return State("bucket", True, revision=version, size=sum(info.size for info in files.values()))

    def _listing(self) -> str:
        lines = [f"{path} {info.size} {info.mtime_ns}" for path, info in sorted(self._store().listed().items())]
        if not lines:
            raise SettingsError(f"model {self.reference!r}: nothing lies under {self.place}. Correct the path.")
        return copies.digest_of("\n".join(lines))[:16]

    def _store(self) -> Store:
        return Store(self.place, self.settings.s3_endpoint)

    def _home(self, version: str) -> Path:
        return cache(self.settings) / f"{self.place.replace('://', '/')}@{version}"

    def _kept(self, version: str) -> Path:
        def fill(to: Path) -> Manifest:
            store = self._store()
            return Manifest(source=self.reference, files=store.take(store.listed(), to))

        return self.checked(self._named(copies.keep(self._home(version), self.reference, fill, self._check)))

    def _check(self, files: Path) -> None:
        self.checked(self._named(files))

    def _named(self, files: Path) -> Path:
        only = files / PurePosixPath(self.place).name
        return only if only.is_file() else files


def cache(settings: Settings) -> Path:
    """The local folder for copies of weights."""
    return settings.models.cache or copies.cache_folder("models")


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
