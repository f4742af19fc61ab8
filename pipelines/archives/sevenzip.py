"""7z archives, through py7zr."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from py7zr import SevenZipFile
from py7zr.exceptions import PasswordRequired
from py7zr.helpers import get_sanitized_output_path
from py7zr.io import Py7zIO, WriterFactory

from cluster.errors import MediaError
from pipelines.archives.limits import Limits
from pipelines.archives.reader import ENCRYPTED, Alive, Entry, Text, bomb, library_errors


class SevenZip:
    """A 7z archive. py7zr pushes the contents of all members in one pass, so they are written to a folder first.

    `head_bytes`: only so many bytes of each member are needed; None: all.
    """

    sequential = True

    def __init__(self, path: Path, limits: Limits, alive: Alive, head_bytes: int | None) -> None:
        self._file = path.open("rb")
        self._folder = TemporaryDirectory(dir=path.parent, prefix="7z-")
        self._most = limits.most_bytes(path.stat().st_size)
        self._alive, self._head_bytes = alive, head_bytes
        try:
            with library_errors():
                self._archive = SevenZipFile(self._file)  # by name, it would unpack in threads
        except MediaError as error:
            self.close()
            if isinstance(error.__cause__, PasswordRequired):
                raise MediaError("decode", ENCRYPTED) from None
            raise

    def entries(self) -> Iterator[Entry]:
        """The regular files in it. MediaError after those that could be unpacked."""
        files = [file for file in self._archive.files if file.is_file and not file.is_symlink]
        if self._archive.needs_password():
            for n, file in enumerate(files):
                yield Entry(n, file.filename, file.uncompressed, None, f"{file.crc32 or 0:08x}", ENCRYPTED)
            return
        with library_errors():
            places = {place: n for n, place in enumerate(_places(files))}
        folder = Path(self._folder.name)
        factory, broken = _Folder(folder, places, self._most, self._head_bytes, self._alive), None
        try:
            with library_errors():
                self._archive.extractall(factory=factory)
        except MediaError as error:
            broken = error
            factory.complete.discard(factory.last)
        for n, file in enumerate(files):
            if file.emptystream or n in factory.complete:
                yield Entry(n, file.filename, file.uncompressed, None, f"{file.crc32 or 0:08x}")
        if broken is not None:
            raise broken

    def open(self, entry: Entry) -> BinaryIO:
        """The content of an entry, or its head."""
        path = Path(self._folder.name, str(entry.n))
        path.touch()  # a file without any bytes is not written
        return path.open("rb")

    def texts(self) -> Iterator[Text]:
        """None."""
        return iter(())

    def close(self) -> None:
        """Close the file and delete what was unpacked."""
        self._file.close()
        self._folder.cleanup()


def _places(files: list[Any]) -> Iterator[str]:
    """The names by which py7zr asks for a place to write each file to: those of equal names are numbered."""
    seen: dict[str, int] = {}
    for file in files:
        name = file.filename
        place = name if name not in seen else f"{name}_{seen[name]}"
        seen[name] = seen.get(name, -1) + 1
        yield get_sanitized_output_path(place, None).as_posix()


class _Folder(WriterFactory):
    """Gives py7zr a file of a folder for each member."""

    def __init__(self, folder: Path, places: dict[str, int], most: int, head_bytes: int | None, alive: Alive) -> None:
        self.folder, self.places, self.head_bytes, self.alive = folder, places, head_bytes, alive
        self.left = self.most = most
        self.complete: set[int | None] = set()
        self.last: int | None = None

    def create(self, filename: str) -> Py7zIO:
        """Where to write the member of that name."""
        self.last = self.places.get(filename)
        return _Written(self, self.last)


class _Written(Py7zIO):
    """A member that is written to its file, or only its head. MediaError when all of them together are too long."""

    def __init__(self, factory: _Folder, n: int | None) -> None:
        self._factory, self._n, self._size = factory, n, 0
        self._file: BinaryIO | None = None
        if n is not None:
            self._file = Path(factory.folder, str(n)).open("wb")  # noqa: SIM115 - py7zr closes it

    def write(self, s: bytes | bytearray) -> int:
        """Write some bytes."""
        factory = self._factory
        factory.alive()
        factory.left -= len(s)
        if factory.left < 0:
            raise MediaError("decode", bomb(factory.most))
        wanted = len(s) if factory.head_bytes is None else max(0, factory.head_bytes - self._size)
        if self._file is not None and wanted:
            self._file.write(s[:wanted])
        self._size += len(s)
        return len(s)

    def read(self, size: int | None = None) -> bytes:
        """Nothing: py7zr does not read what it has written."""
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Nowhere."""
        return offset

    def flush(self) -> None:
        """Nothing: `close` does it."""

    def size(self) -> int:
        """The bytes written so far."""
        return self._size

    def close(self) -> None:
        """The member is complete, or its unpacking has failed."""
        if self._file is not None and not self._file.closed:
            self._file.close()
            self._factory.complete.add(self._n)
