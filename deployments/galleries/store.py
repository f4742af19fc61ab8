"""Galleries: reference pictures of logos, people or restraints, one folder a name, in a local folder or a bucket."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from cluster.errors import MediaError, SettingsError
from cluster.results import files as results_files
from cluster.storage import buckets
from cluster.storage.roots import open_local
from deployments.galleries import pictures
from deployments.galleries.pictures import UnusablePicture

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_NAME = re.compile(r"[^\W_][\w .&'+-]{0,79}")
NAME_RULE = "a name has letters, digits, spaces and . & ' + - only, 80 at most, and begins with a letter or digit"


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """One picture file of a gallery, as it was listed. A file whose content changes is another reference."""

    name: str  # what it shows: the label of detections
    file: str
    path: str  # in its file system
    size: int = 0  # bytes
    modified_ns: int = 0  # since 1970


@dataclass(frozen=True, slots=True, order=True)
class Flaw:
    """A file or folder of a gallery that is not used, and the reason, which follows its path in a sentence."""

    path: str  # relative to the gallery
    reason: str


class Gallery:
    """Pictures as NAME/FILE under a folder or bucket. Paths that begin with `_` or `.` are ignored."""

    def __init__(self, uri: str, s3_endpoint: str | None = None) -> None:
        self.uri = buckets.normalize(uri)
        self._s3_endpoint = s3_endpoint
        self._files, self._root = buckets.filesystem(uri, s3_endpoint)

    def references(self) -> list[Reference]:
        """Every file with a picture's suffix, sorted by name; none where nothing was added yet.

        Whether a file can be decoded is not known before it is read. OSError if the gallery cannot be listed.
        """
        return sorted(entry for entry in self._entries() if isinstance(entry, Reference))

    def flaws(self) -> list[Flaw]:
        """The unusable files and folders of the gallery, sorted by path; every picture is read and decoded."""
        flaws = set[Flaw]()
        for entry in self._entries():
            if isinstance(entry, Flaw):
                flaws.add(entry)
                continue
            try:
                pictures.decode(self.read(entry))
            except UnusablePicture as error:
                flaws.add(Flaw(f"{entry.name}/{entry.file}", str(error)))
            except FileNotFoundError:
                continue  # removed since it was listed
            except OSError as error:
                flaws.add(Flaw(f"{entry.name}/{entry.file}", f"cannot be read ({error.strerror or error})"))
        return sorted(flaws)

    def read(self, reference: Reference) -> bytes:
        """The picture's bytes, as they were added.

        UnusablePicture if the file is too large, OSError if it cannot be read, FileNotFoundError if it has vanished.
        """
        if reference.size > pictures.MAX_BYTES:
            raise UnusablePicture(f"has {reference.size:,} bytes; {pictures.MAX_BYTES:,} are allowed")
        with self._files.open_input_file(reference.path) as file:
            return bytes(file.read())

    def add(self, name: str, *paths: Path) -> list[Reference]:
        """Copy picture files in; a file that is there already stays as it is.

        All are checked before the first is stored: SettingsError names the file that is no picture, or a wrong name.
        A reader of the gallery sees a picture whole or not at all.
        """
        _require_name(name)  # before a picture is read
        return self.add_contents(name, [(path.suffix, _checked(path)) for path in paths])

    def add_contents(
        self, name: str, contents: Sequence[tuple[str, bytes]], source: str | None = None
    ) -> list[Reference]:
        """Store pictures, each a suffix and the bytes of a file that can be decoded; as `add`.

        `source`: the id of the scanned file that they are cut out of. `discard` finds them by it.
        """
        _require_name(name)
        self._files.create_dir(f"{self._root}/{name}", recursive=True)
        sink, _ = results_files.sink(self.uri, self._s3_endpoint)
        stored = []
        for suffix, content in contents:
            file = _mark(source) + hashlib.sha256(content).hexdigest()[:16] + suffix.lower()
            target = f"{self._root}/{name}/{file}"
            if not self._holds(target, content):
                with sink.open_output_stream(target) as out:
                    out.write(content)
            info = self._files.get_file_info(target)
            stored.append(Reference(name, file, target, info.size or 0, info.mtime_ns or 0))
        return stored

    def _holds(self, path: str, content: bytes) -> bool:
        if self._files.get_file_info(path).size != len(content):
            return False
        with self._files.open_input_file(path) as file:
            return bool(file.read() == content)

    def remove(self, name: str) -> int:
        """Delete a name with all its pictures; returns how many there were. SettingsError if there is no such name."""
        references = self.references()
        count = sum(reference.name == name for reference in references)
        if not count:
            names = ", ".join(sorted({reference.name for reference in references})) or "none yet"
            raise SettingsError(f"there is no {name!r} in {self.uri}; there are {names}. Correct the name.")
        self._files.delete_dir(f"{self._root}/{name}")
        return count

    def discard(self, sources: Iterable[str]) -> int:
        """Delete the pictures that were cut out of scanned files, by the ids of these; returns how many there were."""
        marks = tuple(map(_mark, sources))
        cut = [reference for reference in self.references() if reference.file.startswith(marks)]
        for reference in cut:
            self._files.delete_file(reference.path)
        return len(cut)

    def version(self) -> str:
        """8 hex digits of a hash over all names and files; the same pictures have the same version anywhere."""
        files = "\n".join(f"{reference.name}/{reference.file}" for reference in self.references())
        return hashlib.sha256(files.encode()).hexdigest()[:8]

    def _entries(self) -> Iterator[Reference | Flaw]:
        """Every picture file, and a Flaw for everything else that is not ignored."""
        if not isinstance(self._files, fs.LocalFileSystem):
            yield from self._classified(self._root, recursive=True)  # one request for a thousand objects
            return
        # folder by folder: Arrow's recursive listing follows links in circles, and ends at a folder it may not read
        yield from self._classified(self._root)
        for info in self._files.get_file_info(fs.FileSelector(self._root, allow_not_found=True)):
            name = _base_name(info)
            if info.type is fs.FileType.Directory and _NAME.fullmatch(name):
                try:
                    yield from self._classified(info.path)
                except FileNotFoundError:
                    continue  # deleted this moment
                except OSError as error:
                    yield Flaw(name, f"cannot be listed ({error.strerror or error})")

    def _classified(self, folder: str, recursive: bool = False) -> Iterator[Reference | Flaw]:
        selector = fs.FileSelector(folder, allow_not_found=folder == self._root, recursive=recursive)
        for info in self._files.get_file_info(selector):
            yield from self._classify(info)

    def _classify(self, info: fs.FileInfo) -> Iterator[Reference | Flaw]:
        try:
            parts = info.path.removeprefix(self._root).strip("/").split("/")
        except UnicodeDecodeError as error:
            path = os.fsencode(error.object).removeprefix(self._root.encode()).decode(errors="replace").strip("/")
            yield Flaw(path, "has a name that is not UTF-8; rename it")
            return
        is_folder = info.type is fs.FileType.Directory
        if any(part.startswith(("_", ".")) for part in parts):
            return
        if len(parts) == 1 and not is_folder:
            yield Flaw(parts[0], "lies beside the names; add it under a name")
        elif not _NAME.fullmatch(parts[0]):
            yield Flaw(parts[0], f"is no valid name: {NAME_RULE}")
        elif len(parts) > 2 or (len(parts) == 2 and is_folder):
            yield Flaw("/".join(parts[:2]), "is a sub-folder; its pictures are not used, move them up")
        elif len(parts) == 2 and not info.is_file:
            yield Flaw("/".join(parts), "is not a regular file")
        elif len(parts) == 2 and not parts[1].lower().endswith(SUFFIXES):
            yield Flaw("/".join(parts), f"is no picture by its name; use {', '.join(SUFFIXES)}")
        elif len(parts) == 2:
            yield Reference(parts[0], parts[1], info.path, info.size or 0, info.mtime_ns or 0)


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{name!r} cannot be a name here: {NAME_RULE}. Take another.")


def _mark(source: str | None) -> str:
    """How the file name of a picture begins that is cut out of a scanned file, without its id; empty of any other."""
    return "" if source is None else f"{hashlib.sha256(source.encode()).hexdigest()[:16]}-"


def opened(uri: str) -> Gallery:
    """The gallery at a URI, through the S3 server of this process's environment."""
    return Gallery(uri, os.environ.get("AWS_ENDPOINT_URL"))


def _base_name(info: fs.FileInfo) -> str:
    try:
        return str(info.base_name)
    except UnicodeDecodeError:
        return ""


def content_of(path: Path) -> bytes:
    """The bytes of a local file that is to be added.

    SettingsError if it cannot be read, is no regular file (a FIFO would block, a device may be endless) or is larger
    than a picture may be.
    """
    try:
        with open_local(path.absolute().as_uri(), None) as file:
            content = file.read(pictures.MAX_BYTES + 1)  # it may grow while it is read
    except MediaError as error:
        raise SettingsError(f"{error.reason}. Give another.") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror or error}). Give another.") from None
    if len(content) > pictures.MAX_BYTES:
        raise SettingsError(f"{path} cannot be read as a picture: it has more than {pictures.MAX_BYTES:,} bytes.")
    return content


def _checked(path: Path) -> bytes:
    """The file's bytes. SettingsError if they are no picture."""
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"{path} is no picture by its name. Give one that ends in {', '.join(SUFFIXES)}.")
    content = content_of(path)
    try:
        pictures.decode(content)
    except UnusablePicture as error:
        raise SettingsError(f"{path} cannot be read as a picture: it {error}. Give another.") from None
    return content
