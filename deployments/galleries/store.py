"""What an operator shows Raysift so that it finds more of it: pictures of logos, people, restraints, each by a name."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from cluster.errors import SettingsError
from cluster.storage import buckets

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
_NAME = re.compile(r"[^\W_][\w .&'+-]{0,79}")


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """A picture of a gallery."""

    name: str  # what it shows
    file: str
    path: str  # in its store


class Gallery:
    """Pictures as NAME/FILE under a folder or bucket. What begins with `_` or `.` is not a name: others may use it."""

    def __init__(self, uri: str, s3_endpoint: str | None = None) -> None:
        self.uri = buckets.normalize(uri)
        self._files, self._root = buckets.filesystem(uri, s3_endpoint)

    def references(self) -> list[Reference]:
        """Every picture, by name; none where nothing was added yet."""
        found = []
        for info in self._files.get_file_info(fs.FileSelector(self._root, allow_not_found=True, recursive=True)):
            parts = info.path.removeprefix(self._root).strip("/").split("/")
            if info.is_file and len(parts) == 2 and _NAME.fullmatch(parts[0]) and parts[1].endswith(SUFFIXES):
                found.append(Reference(parts[0], parts[1], info.path))
        return sorted(found)

    def read(self, reference: Reference) -> bytes:
        """The picture's bytes, as they were added."""
        with self._files.open_input_file(reference.path) as file:
            return bytes(file.read())

    def add(self, name: str, picture: Path) -> Reference:
        """Copy a picture in; the same bytes again change nothing. SettingsError if the name or the picture is none."""
        if not _NAME.fullmatch(name):
            raise SettingsError(f"{name!r} cannot be a name here. Take letters, digits, spaces and . & ' + - only.")
        content = _picture(picture)
        file = hashlib.sha256(content).hexdigest()[:16] + picture.suffix.lower()
        path = f"{self._root}/{name}/{file}"
        self._files.create_dir(f"{self._root}/{name}", recursive=True)
        with self._files.open_output_stream(path) as out:
            out.write(content)
        return Reference(name, file, path)

    def remove(self, name: str) -> int:
        """Forget a name with all its pictures; how many there were. SettingsError if there is no such name."""
        gone = [reference for reference in self.references() if reference.name == name]
        if not gone:
            there = ", ".join(sorted({reference.name for reference in self.references()})) or "none yet"
            raise SettingsError(f"there is no {name!r} in {self.uri}; there are {there}. Correct the name.")
        self._files.delete_dir(f"{self._root}/{name}")
        return len(gone)

    def version(self) -> str:
        """8 hex digits that change with the pictures and their names; the same for the same pictures anywhere."""
        named = "\n".join(f"{reference.name}/{reference.file}" for reference in self.references())
        return hashlib.sha256(named.encode()).hexdigest()[:8]


def _picture(path: Path) -> bytes:
    from PIL import Image

    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"{path} is no picture by its name. Give one that ends in {', '.join(SUFFIXES)}.")
    try:
        with Image.open(path) as picture:
            picture.load()
        return path.read_bytes()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SettingsError(f"{path} cannot be read as a picture ({error}). Give another.") from None
