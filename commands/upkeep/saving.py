"""A backup of what cannot be rebuilt from the results: the head's state folder and the galleries."""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fnmatch import fnmatch
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from cluster.access.audit import Audit
from cluster.access.private_files import replace_private
from cluster.errors import SettingsError
from cluster.records import iso_time
from cluster.results import layout
from cluster.settings import Settings
from cluster.storage import buckets
from commands.upkeep import manifest
from commands.upkeep.manifest import GALLERIES, STATE, Manifest, ResultFile, ResultFolder
from pipelines.results.folders import known_folders

# of the state folder: what is rebuilt, or has a place of its own in the backup. All else is saved.
REBUILT = ("chroma", "catalog*.duckdb*", ".catalog*", "cache.sqlite*", "*.log", ".*.part", "processes.json")
ELSEWHERE = ("results", "galleries", "media", "demo", "bench", "audit.jsonl", "audit.last")
SIDE_FILES = ("*-wal", "*-shm", "*-journal", "erasures/lock", "erasures/.*.part")
READERS = 16  # result files whose number of rows is read at a time
_SQLITE = b"SQLite format 3\0"  # the first bytes of such a file


def save(settings: Settings, folder: Path) -> Manifest:
    """Write a backup to a new folder, for its owner only; Raysift may run meanwhile. SettingsError if it cannot be."""
    state = settings.state_dir.absolute()
    folder = folder.absolute()
    if folder.is_relative_to(state):
        raise SettingsError(f"{folder} lies in the folder that is saved. Name one on another disk.")
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise SettingsError(f"{folder} cannot be made ({error.strerror}). Name a new folder.") from None
    for path in state_files(settings):
        _copy(state / path, folder / STATE / path)
    checked = _copy_audit(settings, folder / STATE)
    _copy_galleries(settings, folder / GALLERIES)
    written = Manifest(
        version=manifest.VERSION,
        made_at=iso_time(time.time()),
        cluster=settings.ray.cluster,
        audit_lines=checked[0],
        audit_last=checked[1],
        files=tuple(manifest.saved(folder, path) for path in sorted(folder.rglob("*")) if path.is_file()),
        folders=tuple(results_of(known_folders(settings), settings.s3_endpoint)),
    )
    replace_private(folder / manifest.FILE, written.model_dump_json(indent=1).encode())
    return written


def state_files(settings: Settings) -> list[Path]:
    """The files of the state folder that are saved as they are, relative to it, sorted; without the audit log."""
    state = settings.state_dir.absolute()
    own = {buckets.normalize(uri) for uri in (settings.results, settings.galleries)}
    paths = []
    for top in sorted(state.iterdir()) if state.exists() else ():
        if any(fnmatch(top.name, pattern) for pattern in (*REBUILT, *ELSEWHERE)) or top.as_uri() in own:
            continue
        inside = sorted(top.rglob("*")) if top.is_dir() and not top.is_symlink() else [top]
        paths += [path.relative_to(state) for path in inside if path.is_file() and not path.is_symlink()]
    return [path for path in paths if not any(fnmatch(path.as_posix(), pattern) for pattern in SIDE_FILES)]


def results_of(folders: list[str], s3_endpoint: str | None) -> list[ResultFolder]:
    """These folders with every Parquet file of results that counts, and its rows. SettingsError if that fails."""

    def counted(uri: str) -> ResultFile:
        store, path = buckets.filesystem(uri, s3_endpoint)
        with store.open_input_file(path) as source:
            return ResultFile(uri=uri, rows=pq.ParquetFile(source).metadata.num_rows)

    try:
        with ThreadPoolExecutor(READERS) as readers:
            return [
                ResultFolder(
                    uri=folder,
                    runs=runs_of(folder, s3_endpoint),  # before the files: of a later run they are not compared
                    files=tuple(readers.map(counted, layout.committed(folder, s3_endpoint))),
                )
                for folder in folders
            ]
    except (OSError, pa.ArrowException) as error:
        raise SettingsError(f"results cannot be listed: {error}. Check the folders and the rights to them.") from None


def runs_of(folder: str, s3_endpoint: str | None) -> tuple[str, ...]:
    """The compactions of a folder of results, by their names."""
    compacted = layout.read_manifest(folder, s3_endpoint)
    return tuple(compacted.runs) if compacted else ()


def gallery_files(settings: Settings) -> Iterator[tuple[fs.FileSystem, str, str]]:
    """File system, path in it, and path relative to the galleries, of every file of them."""
    store, root = buckets.filesystem(settings.galleries, settings.s3_endpoint)
    for info in store.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True)):
        if info.is_file:
            yield store, info.path, info.path.removeprefix(root).lstrip("/")


def private(path: Path) -> int:
    """A descriptor of a new file for its owner only, in folders for their owner only."""
    for parent in reversed(path.parents):  # mkdir gives the mode to the last folder only
        parent.mkdir(mode=0o700, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, on disk when this returns. Of an SQLite file it is a consistent copy, while others write to it."""
    with source.open("rb") as content:
        if content.read(len(_SQLITE)) != _SQLITE:
            content.seek(0)
            with os.fdopen(private(target), "wb") as sink:
                shutil.copyfileobj(content, sink)
                sink.flush()
                os.fsync(sink.fileno())
            return
    os.close(private(target))
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as database,
            closing(sqlite3.connect(target)) as copy,
        ):
            database.backup(copy)
            copy.execute("pragma journal_mode = delete")  # without it the copy would need files at its side
            fault = copy.execute("pragma quick_check").fetchone()[0]
    except sqlite3.Error as error:
        fault = str(error)
    if fault != "ok":
        raise SettingsError(f"{source} cannot be saved: {fault}. Restore it from an earlier backup, or move it away.")


def _copy_audit(settings: Settings, to: Path) -> tuple[int, str]:
    """Copy the audit log with the note of its end; returns the number and the hash of the last line.

    SettingsError if the copied chain has a fault: a backup of it would hide that.
    """
    log, copy = Audit(settings.state_dir), Audit(to)
    size, last = log.end()
    with log.path.open("rb") as lines, os.fdopen(private(copy.path), "wb") as sink:
        while left := size - sink.tell():  # lines that are appended meanwhile belong to the next backup
            sink.write(lines.read(min(left, 1 << 20)))
    with os.fdopen(private(to / "audit.last"), "wb") as sink:
        sink.write(last)
    checked = copy.verify()
    if checked.fault:
        raise SettingsError(f"the audit log has a fault: {checked.fault}. See `raysift audit verify`.")
    return checked.lines, checked.last


def _copy_galleries(settings: Settings, to: Path) -> None:
    try:
        for store, path, name in gallery_files(settings):
            with store.open_input_file(path) as content, os.fdopen(private(to / name), "wb") as sink:
                shutil.copyfileobj(content, sink)
    except OSError as error:
        raise SettingsError(f"{settings.galleries} cannot be read: {error}. Check the rights.") from None
