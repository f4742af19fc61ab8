"""`raysift logos` and `raysift restraints`: the operator's own reference pictures."""

from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cluster.settings import load
from commands.terminal import console
from deployments.galleries.store import Gallery


def commands(detector: str, what: str) -> typer.Typer:
    """`add`, `list` and `remove` for that detector's gallery."""
    cli = typer.Typer(help=f"Pictures of {what} that the detector {detector} looks for.", no_args_is_help=True)

    more = ' A brand\'s other names may follow: "Facebook + Meta".' if detector == "logo" else ""

    def gallery() -> Gallery:
        settings = load()
        return Gallery(f"{settings.galleries}/{detector}", settings.s3_endpoint)

    @cli.command()
    def add(
        name: Annotated[str, typer.Argument(help="What the pictures show; the label of what is found." + more)],
        pictures: Annotated[list[Path], typer.Argument(help="One or more pictures of it.", exists=True)],
    ) -> None:
        """Add pictures under a name. The next scan looks for it, in files that were scanned before too."""
        for picture in pictures:
            gallery().add(name, picture)
        console.print(f"{name}: {len(pictures)} added. A scan looks for it from now on.")

    @cli.command("list")
    def show() -> None:
        """Every name and how many pictures it has."""
        table = Table("name", "pictures")
        for name, of in groupby(gallery().references(), key=lambda reference: reference.name):
            table.add_row(name, str(len(list(of))))
        if table.row_count:
            Console().print(table)
        else:
            console.print(f"the gallery is empty, so none is looked for: raysift {what} add NAME PICTURE...")

    @cli.command()
    def remove(name: Annotated[str, typer.Argument(help="As `list` shows it.")]) -> None:
        """Forget a name and its pictures. What was found by it stays until the next scan."""
        console.print(f"{name}: {gallery().remove(name)} removed")

    return cli
