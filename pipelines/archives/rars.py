"""RAR archives, through rarfile and whichever program for RAR is installed: unrar, unar, 7z or bsdtar."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from cluster.errors import MediaError
from pipelines.archives.reader import ENCRYPTED, Entry, Text, library_errors

NO_PROGRAM = "there is no program for RAR on this machine: install unrar, unar, 7z or bsdtar"


class Rar:
    """A RAR archive. Without a program for it, only members that are stored uncompressed can be read."""

    sequential = False

    def __init__(self, path: Path) -> None:
        import rarfile

        with library_errors():
            self._rar: Any = rarfile.RarFile(str(path))
        if self._rar.needs_password() and not self._rar.infolist():
            raise MediaError("decode", f"{ENCRYPTED}: not even its list of files can be read")
        try:
            rarfile.tool_setup()
            self._has_program = True
        except rarfile.RarCannotExec:
            self._has_program = False

    def entries(self) -> Iterator[Entry]:
        """The regular files in it."""
        for n, info in enumerate(self._rar.infolist()):
            if not info.is_file():
                continue
            problem = ENCRYPTED if info.needs_password() else None
            if problem is None and not self._has_program and info.compress_type != _STORED:
                problem = NO_PROGRAM
            yield Entry(n, info.filename, info.file_size, info.compress_size, f"{info.CRC or 0:08x}", problem)

    def open(self, entry: Entry) -> BinaryIO:
        """The content of an entry."""
        with library_errors():
            return cast(BinaryIO, self._rar.open(self._rar.infolist()[entry.n]))

    def texts(self) -> Iterator[Text]:
        """None."""
        return iter(())

    def close(self) -> None:
        """Close the file."""
        self._rar.close()


_STORED = 0x30  # rarfile.RAR_M0
