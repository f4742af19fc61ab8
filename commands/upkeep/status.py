"""`raysift status`."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from cluster.settings import load
from commands.upkeep import exported, overview

NOT_READY = 1


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show which parts run, whether each detector answers, what waits for it, the cards and the jobs.

    Exits 1 if a part or a detector does not answer. Queues and cards are shown on the head only.
    """
    settings = load()
    parts = overview.parts(settings)
    ready, jobs = overview.ask(settings) if parts["ray"][1] else (None, [])
    now = exported.look(settings) if ready else None
    if as_json:
        typer.echo(json.dumps(overview.as_json(parts, ready, jobs, now)))
    else:
        table = Table(Column("part", no_wrap=True), Column("state", no_wrap=True), Column("", overflow="fold"))
        for name, (url, runs) in parts.items():
            table.add_row(name, "runs" if runs else "off", url if runs else f"{url}: start it with `raysift up`")
        console = Console()
        console.print(table)
        if ready:
            console.print(overview.view(ready, jobs, now))
    raise typer.Exit(0 if ready and ready["ready"] and all(runs for _, runs in parts.values()) else NOT_READY)
