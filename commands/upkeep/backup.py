"""`raysift backup` and `raysift restore`."""

from pathlib import Path
from typing import Annotated

import typer

from cluster.access.audit import Audit
from cluster.errors import SettingsError
from cluster.settings import load
from commands.access.options import me
from commands.erasure.options import load_head
from commands.terminal import console, say, waiting

NAMED = 5  # result files in a message

# imported in the functions: modules that read Parquet, for which other commands do not wait


def backup(
    folder: Annotated[Path, typer.Argument(help="A new folder, on another disk.")],
) -> None:
    """Save what cannot be rebuilt from the results: keys, users, cases, decisions, audit log, holds, jobs,
    galleries. On the head.

    Raysift may run. The backup holds secrets: whoever has it has this cluster's keys. Results are listed, not copied.
    """
    from commands.upkeep.saving import save
    from pipelines.erasure import pending

    settings = load_head()
    state = settings.state_dir.absolute()
    with waiting("saving"), pending.alone(state):
        pending.refuse_unfinished(state)
        Audit(state).record(me(), "backup made", str(folder.absolute()))
        saved = save(settings, folder)
    size = sum(file.bytes for file in saved.files)
    say(f"{len(saved.files)} files, {size / 1e6:.1f} MB, are in {folder}; the audit log has {saved.audit_lines} lines")
    say(f"not copied: {len(saved.results)} files of results with {saved.rows} rows. Save these places by other means:")
    for place in saved.folders:
        say(f"  {place.uri}")
    console.print("It holds secrets, and what is erased later stays in it: keep it as safe as the evidence.")


def restore(
    folder: Annotated[Path, typer.Argument(help="A folder that `raysift backup` has written.")],
) -> None:
    """Restore a backup into an empty state folder, while Raysift does not run. On the head.

    Every file's digest and the audit log's chain are checked first. Exits 1 if results of that time are missing.
    """
    from commands.upkeep import restoring
    from pipelines.erasure import pending

    settings = load()
    state = settings.state_dir.absolute()
    with waiting("restoring"), pending.alone(state):
        saved, with_galleries = restoring.restore(settings, folder)
        Audit(state).record(me(), "backup restored", str(folder.absolute()), of_time=saved.made_at)
        missing, compacted = restoring.missing(settings, saved)
    say(f"the state of {saved.made_at} is restored: {len(saved.files)} files, {saved.audit_lines} lines of audit log")
    if not with_galleries:
        say(f"the galleries in {settings.galleries} are not empty: they were left as they are")
    say("next: raysift up, which loads the catalogue again, then raysift vectors rebuild")
    for place in compacted:
        say(f"{place} was compacted since then, so its files are not compared: raysift jobs verify JOB compares rows")
    if missing:
        listed = ", ".join(missing[:NAMED])
        raise SettingsError(
            f"{len(missing)} of {len(saved.results)} files of results are missing or changed since then: {listed}. "
            "Unless they were erased, restore these folders too."
        )
    if not compacted:
        say(f"all {len(saved.results)} files of results are there, with {saved.rows} rows")
