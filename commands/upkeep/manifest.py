"""What a backup holds: every file with its digest, and the results that it belongs to."""

import hashlib
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.errors import SettingsError

FILE = "manifest.json"  # written last: a backup without it is not complete
STATE, GALLERIES = "state", "galleries"  # folders of a backup
VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SavedFile(_Part):
    """A file of the backup. `path`: relative to the backup, with slashes."""

    path: str
    bytes: int
    sha256: str


class ResultFile(_Part):
    """A Parquet file of results, which is not in the backup."""

    uri: str
    rows: int


class ResultFolder(_Part):
    """A folder of results, and the files in it that counted. `runs`: the compactions that it had had."""

    uri: str
    runs: tuple[str, ...]
    files: tuple[ResultFile, ...]


class Manifest(_Part):
    """A backup: the files in it, and the results at that time, from which everything else is rebuilt."""

    version: int
    made_at: str  # ISO 8601
    cluster: str
    audit_lines: int
    audit_last: str  # hash of the last line of the audit log
    files: tuple[SavedFile, ...]
    folders: tuple[ResultFolder, ...]

    @property
    def results(self) -> list[ResultFile]:
        """The files of all folders."""
        return [file for folder in self.folders for file in folder.files]

    @property
    def rows(self) -> int:
        """The number of rows of all results."""
        return sum(file.rows for file in self.results)


def saved(folder: Path, file: Path) -> SavedFile:
    """The entry of a file that has been written to a backup."""
    return SavedFile(path=file.relative_to(folder).as_posix(), bytes=file.stat().st_size, sha256=_sha256(file))


def read(folder: Path) -> Manifest:
    """The manifest of a backup. SettingsError if the folder holds no complete backup that this version reads."""
    try:
        manifest = Manifest.model_validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise SettingsError(
            f"{folder} holds no complete backup: {FILE} cannot be read ({type(error).__name__}). Name a folder that "
            "`raysift backup` has written to its end."
        ) from None
    if manifest.version != VERSION:
        raise SettingsError(
            f"{folder} was made by another version of Raysift ({manifest.version}). Restore it by that."
        )
    return manifest


def check(folder: Path, manifest: Manifest) -> None:
    """SettingsError names the first file of the backup that is missing, changed or unknown."""
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    listed = {file.path: file for file in manifest.files}
    for path in sorted(present ^ {*listed, FILE}):
        raise SettingsError(f"{folder / path} is {'missing' if path in listed else 'not in the manifest'}. {_ADVICE}")
    for path, file in listed.items():
        if os.path.islink(folder / path) or _sha256(folder / path) != file.sha256:
            raise SettingsError(f"{folder / path} is not what was saved: its SHA-256 is another one. {_ADVICE}")


_ADVICE = "Nothing was restored. Take another copy of the backup."


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
