"""Restores a backup into an empty state folder, and says which results are missing."""

import os
import shutil
from pathlib import Path

from cluster.access.audit import Audit
from cluster.errors import SettingsError
from cluster.results import files as results_files
from cluster.settings import Settings
from commands.upkeep import manifest
from commands.upkeep.manifest import GALLERIES, STATE, Manifest
from commands.upkeep.saving import gallery_files, private, results_of
from deployments.catalog import database

# what may be in the state folder before: `raysift restore` itself, logs, and places that have their own content
ALLOWED = ("erasures", "results", "galleries")


def restore(settings: Settings, folder: Path) -> tuple[Manifest, bool]:
    """Restore a backup whose files are all as they were saved; returns its manifest, and whether it has the galleries.

    Galleries that are not empty are kept as they are. The catalogue is noted to be loaded from all folders of results.
    SettingsError if the state folder is in use, or the backup has a fault: then nothing was restored.
    """
    state, folder = settings.state_dir.absolute(), folder.absolute()
    saved = manifest.read(folder)
    _check_empty(state)
    manifest.check(folder, saved)
    log = Audit(folder / STATE).verify()
    if log.fault or (log.lines, log.last) != (saved.audit_lines, saved.audit_last):
        raise SettingsError(f"the audit log of {folder} is not what was saved: {log.fault or 'it ends elsewhere'}.")
    with_galleries = next(gallery_files(settings), None) is None
    written: list[Path] = []
    try:
        for file in saved.files:
            place, _, path = file.path.partition("/")
            if place == STATE:
                written.append(state / path)
                _restore_file(folder / file.path, state / path)
            elif place == GALLERIES and with_galleries:
                _restore_picture(settings, path, folder / file.path)
        database.begin(state / database.FILE, [each.uri for each in saved.folders])
    except BaseException:  # a part of a state must not look like a whole one
        for target in written:
            target.unlink(missing_ok=True)
        raise
    return saved, with_galleries


def missing(settings: Settings, saved: Manifest) -> tuple[list[str], list[str]]:
    """The URIs of result files of a backup that are gone or have another number of rows; and of compacted folders.

    The files of a folder that was compacted since the backup are others: they are not compared.
    """
    now = {folder.uri: folder for folder in results_of([each.uri for each in saved.folders], settings.s3_endpoint)}
    compacted = [folder.uri for folder in saved.folders if {*now[folder.uri].runs} - {*folder.runs}]
    gone = [
        file.uri
        for folder in saved.folders
        if folder.uri not in compacted
        for file in folder.files
        if file not in now[folder.uri].files
    ]
    return gone, compacted


def _check_empty(state: Path) -> None:
    """SettingsError if the state folder has anything that a restore would replace or mix with another cluster's."""
    entries = sorted(state.iterdir()) if state.exists() else []
    used = [entry for entry in entries if entry.name not in ALLOWED and not entry.name.endswith(".log")]
    used += [proof for proof in sorted((state / "erasures").glob("*")) if proof.name != "lock"]
    if used:
        raise SettingsError(
            f"{state} is in use: it has {used[0].name}. Stop Raysift and move the folder away, or set "
            "RAYSIFT_STATE_DIR to a new one: a restore replaces nothing."
        )


def _restore_file(source: Path, target: Path) -> None:
    with source.open("rb") as content, os.fdopen(private(target), "wb") as sink:
        shutil.copyfileobj(content, sink)
        sink.flush()
        os.fsync(sink.fileno())


def _restore_picture(settings: Settings, path: str, file: Path) -> None:
    sink, root = results_files.sink(settings.galleries, settings.s3_endpoint)
    target = f"{root}/{path}"
    sink.create_dir(target.rpartition("/")[0], recursive=True)
    with file.open("rb") as content, sink.open_output_stream(target) as out:
        out.write(content.read())
