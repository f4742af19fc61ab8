"""Copies of weights in folders and buckets, each with a manifest that tells whether it is complete."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pyarrow import fs
from pydantic import BaseModel, ValidationError, field_validator

from cluster.errors import MediaError, SettingsError
from cluster.storage import buckets
from cluster.storage.listing import list_media

MANIFEST, FILES = "manifest.json", "files"
PIECE_BYTES = 8 << 20


def cache_folder(*parts: str) -> Path:
    """The folder for files derived from weights, $XDG_CACHE_HOME/raysift or ~/.cache/raysift, created if missing.

    SettingsError if it cannot be created.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root.joinpath("raysift", *parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"cannot make the folder {folder} ({error.strerror}). Set XDG_CACHE_HOME to one that can be written."
        ) from None
    return folder


class Held(BaseModel):
    """A file of a copy."""

    size: int  # bytes
    sha256: str


class Manifest(BaseModel):
    """The source and the files of a copy. It is written last: if it exists, the files beside it are complete."""

    source: str  # the reference that it is a copy of
    commit: str | None = None
    licence: str | None = None  # as its publisher states it
    files: dict[str, Held]  # by their path in the copy

    @field_validator("files")
    @classmethod
    def _stay_inside(cls, files: dict[str, Held]) -> dict[str, Held]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or str(path) != name:
                raise ValueError(f"{name!r} is no path of a file in a copy")
        return files

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self.files.values())


def held(folder: Path) -> dict[str, Held]:
    """Every file under a folder, by its path in it."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: Held(size=path.stat().st_size, sha256=digest(path)) for name, path in sorted(paths.items())}


def digest(path: Path) -> str:
    """The SHA-256 of a file; of a folder, that of sha256sum's output for its files, sorted by name.

    In the folder: find * -type f | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum
    """
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return digest_of("".join(f"{file.sha256}  {name}\n" for name, file in held(path).items()))


def digest_of(text: str) -> str:
    """The SHA-256 of a text."""
    return hashlib.sha256(os.fsencode(text)).hexdigest()


def whole(home: Path, source: str) -> Manifest | None:
    """The manifest of a copy of that source if all its files are there in full size, else None."""
    try:
        manifest = Manifest.model_validate_json((home / MANIFEST).read_bytes())
        sizes = {name: (home / FILES / name).stat().st_size for name in manifest.files}
    except (OSError, ValidationError):
        return None
    complete = manifest.source == source and all(sizes[name] == file.size for name, file in manifest.files.items())
    return manifest if complete else None


def keep(home: Path, source: str, fill: Callable[[Path], Manifest], check: Callable[[Path], None]) -> Path:
    """The folder of a copy's files. If the copy is not complete, `fill` writes them to a folder and `check` checks it.

    Of several processes at once one fills and the others wait; a copy appears with all its files or not at all. If
    `fill` raises, partial files stay for the next try; if `check` raises, nothing stays.
    """
    if whole(home, source):
        return home / FILES
    partial = home.with_name(f".{home.name}.partial")
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with _alone(home.with_name(f".{home.name}.lock")):
            if not whole(home, source):
                manifest = fill(partial / FILES)
                try:
                    check(partial / FILES)
                except SettingsError:
                    shutil.rmtree(partial)
                    raise
                (partial / MANIFEST).write_text(manifest.model_dump_json(indent=1))
                if home.exists():
                    shutil.rmtree(home)
                os.rename(partial, home)
    except OSError as error:
        raise SettingsError(
            f"cannot keep a copy of {source} in {home.parent} ({error.strerror or error}). "
            "Make room there or set models.cache to another folder."
        ) from error
    return home / FILES


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # given back by the system when the process ends, however it ends
        yield


class Store:
    """A folder or bucket that holds copies, or that is copied itself."""

    def __init__(self, uri: str, s3_endpoint: str | None) -> None:
        self.uri = buckets.normalize(uri)
        self._endpoint = s3_endpoint
        self._scheme = self.uri.partition("://")[0]
        self._files, self._root = buckets.filesystem(uri, s3_endpoint)

    def whole(self, name: str, source: str) -> Manifest | None:
        """The manifest of that copy if it is complete, else None. SettingsError if the store cannot be read."""
        with self._reached():
            try:
                with self._files.open_input_file(f"{self._root}/{name}/{MANIFEST}") as file:
                    manifest = Manifest.model_validate_json(file.read())
            except (FileNotFoundError, ValidationError):
                return None
        sizes = {path: info.size for path, info in self.listed(f"{name}/{FILES}").items()}
        complete = manifest.source == source and sizes == {path: file.size for path, file in manifest.files.items()}
        return manifest if complete else None

    def listed(self, name: str = "") -> dict[str, fs.FileInfo]:
        """Every file under a folder of the store, by its relative path; a file itself by ""."""
        root = f"{self._root}/{name}".rstrip("/")
        with self._reached():
            found = self._files.get_file_info(root)
            if found.is_file:
                return {"": found}
            infos = self._files.get_file_info(fs.FileSelector(root, allow_not_found=True, recursive=True))
        return {info.path.removeprefix(root).strip("/"): info for info in infos if info.is_file}

    def take(self, paths: Iterable[str], to: Path, name: str = "") -> dict[str, Held]:
        """Copy files from a folder of the store to a local one, with retries; the path "" is the store's own file.

        SettingsError names the file that cannot be read.
        """
        shutil.rmtree(to, ignore_errors=True)
        taken = {}
        for path in paths:
            whence = "/".join(part for part in (self._root, name, path) if part)
            uri = Path(whence).as_uri() if self._scheme == "file" else f"{self._scheme}://{whence}"
            target = to / (path or PurePosixPath(whence).name)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                (item,) = list_media(uri, self._endpoint)
                sha256 = buckets.fetch(item, target, self._endpoint, max_bytes=item.size)
            except MediaError as error:
                raise SettingsError(f"weights could not be copied: {error.reason}") from error
            taken[target.relative_to(to).as_posix()] = Held(size=item.size, sha256=sha256)
        return taken

    def put(self, name: str, manifest: Manifest, files: Path, moved: Callable[[int], None]) -> None:
        """Write a copy of that name; `moved` is called with numbers of bytes. SettingsError if it cannot be written."""
        home = f"{self._root}/{name}"
        with self._reached("written"):
            if self._files.get_file_info(f"{home}/{MANIFEST}").is_file:
                self._files.delete_file(f"{home}/{MANIFEST}")  # or readers would check the new files against it
            stale = self.listed(f"{name}/{FILES}").keys() - manifest.files.keys()
            for path in stale:
                self._files.delete_file(f"{home}/{FILES}/{path}")
            for path, file in manifest.files.items():
                whither = f"{home}/{FILES}/{path}"
                self._files.create_dir(str(PurePosixPath(whither).parent), recursive=True)
                sha256 = hashlib.sha256()
                with (files / path).open("rb") as source, self._files.open_output_stream(whither) as out:
                    while piece := source.read(PIECE_BYTES):
                        sha256.update(piece)
                        out.write(piece)
                        moved(len(piece))
                if sha256.hexdigest() != file.sha256:
                    raise SettingsError(f"{files / path} has changed since it was fetched. Delete {files.parent}.")
            with self._files.open_output_stream(f"{home}/{MANIFEST}") as out:
                out.write(manifest.model_dump_json(indent=1).encode())

    @contextmanager
    def _reached(self, how: str = "read") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SettingsError(
                f"{self.uri} cannot be {how}: check its name, the credentials, the network ({str(error)[:200]})"
            ) from error
