"""`raysift audit`: check and export the log of who did what."""

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from cluster.access.audit import Audit
from cluster.errors import SettingsError
from cluster.settings import load
from commands.terminal import console

cli = typer.Typer(help="The log of who did what: check or export it. On the cluster's head.", no_args_is_help=True)


@cli.command()
def verify() -> None:
    """Check that no line of the log was changed, removed or moved. Exits 1 if one was."""
    log = Audit(load().state_dir)
    checked = log.verify()
    if checked.fault:
        raise SettingsError(
            f"{log.path}: {checked.fault}. The {checked.lines} lines before it are as they were written."
        )
    console.print(f"{checked.lines} lines are as they were written", highlight=False)
    console.print(f"the last one has the hash {checked.last}: note it elsewhere", soft_wrap=True, highlight=False)


@cli.command()
def export(
    to: Annotated[Path | None, typer.Option(help="The file to write; default: standard output.")] = None,
) -> None:
    """Write the log as JSON lines, as it is."""
    log = Audit(load().state_dir)
    if not log.path.exists():
        raise SettingsError(f"{log.path} does not exist: nothing was recorded yet.")
    with log.path.open("rb") as lines:
        if to is None:
            shutil.copyfileobj(lines, sys.stdout.buffer)
            return
        with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as sink:
            shutil.copyfileobj(lines, sink)
    console.print(f"written to {to}", markup=False)
