"""`raysift hold`: legal holds, which forbid `raysift erase` and `raysift people purge`."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from cluster.access.audit import Audit
from cluster.access.holds import Hold, Holds
from cluster.errors import SettingsError
from cluster.storage.filesystems import normalize
from commands.access.options import me
from commands.erasure.options import as_asset, load_head
from commands.terminal import console, harmless

cli = typer.Typer(help="Legal holds: files that must not be erased. On the cluster's head.", no_args_is_help=True)


@cli.command()
def add(
    reason: Annotated[str, typer.Option(help="Why, such as the number of a case. A refused erasure shows it.")],
    under: Annotated[
        str | None, typer.Option(help="Everything in this folder, bucket or container: s3://bucket/case-7.")
    ] = None,
    asset: Annotated[str | None, typer.Option(help="One file, by its asset id or its URI.")] = None,
) -> None:
    """Forbid the erasure of files. It holds for files that are scanned later, too."""
    if (under is None) == (asset is None):
        raise SettingsError("a hold is on a folder or on a file. Give one of --under and --asset.")
    if not reason.strip():
        raise SettingsError("--reason is empty. Say why the files must not be erased.")
    settings = load_head()
    place = {"under": normalize(under)} if under is not None else {"asset": as_asset(str(asset))}
    audit = Audit(settings.state_dir)

    def record(hold: Hold) -> None:
        audit.record(me(), "hold added", hold.id, **place, reason=reason)

    hold = Holds(settings.state_dir).add(me().name, reason, **place, record=record)
    console.print(harmless(f"held: {hold}"), soft_wrap=True)


@cli.command("list")
def show() -> None:
    """List the holds, oldest first."""
    table = Table("id", Column("held", overflow="fold"), Column("reason", overflow="fold"), "by", "since (UTC)")
    for hold in Holds(load_head().state_dir).all():
        table.add_row(hold.id, _place(hold), harmless(hold.reason), harmless(hold.by), f"{hold.at:%Y-%m-%d %H:%M}")
    Console().print(table)


@cli.command()
def remove(id: Annotated[str, typer.Argument(help="As `raysift hold list` shows it.")]) -> None:
    """End a hold. Nothing is erased by it; later erasures may."""
    settings = load_head()
    audit = Audit(settings.state_dir)

    def record(hold: Hold) -> None:
        audit.record(me(), "hold removed", hold.id, under=hold.under, asset=hold.asset)

    hold = Holds(settings.state_dir).remove(id, record)
    console.print(harmless(f"no longer held: {hold}"), soft_wrap=True)


def _place(hold: Hold) -> str:
    return hold.under if hold.under is not None else f"asset {hold.asset}"
