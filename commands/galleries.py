"""`raysift logos` and `raysift restraints`: the operator's own reference pictures."""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from cluster.errors import SettingsError
from cluster.settings import Settings, load
from commands.terminal import api_client, console, harmless, waiting

if TYPE_CHECKING:
    from cluster.people.watch_types import WatchKind
    from deployments.galleries.store import Flaw, Gallery


def commands(detector: str, what: str) -> typer.Typer:
    """The commands `add`, `list` and `remove` for that detector's gallery of `what` (logos, restraints)."""
    cli = typer.Typer(help=f"Pictures of {what} that the detector {detector} looks for.", no_args_is_help=True)

    more = ' A brand\'s other names may follow: "Facebook + Meta".' if detector == "logo" else ""

    def gallery() -> "Gallery":
        # imported only now: other commands do not wait for numpy, pyarrow and Pillow
        from deployments.galleries.store import Gallery

        settings = load()
        return Gallery(f"{settings.galleries}/{detector}", settings.s3_endpoint)

    @cli.command()
    def add(
        name: Annotated[str, typer.Argument(help="What the pictures show; the label of its detections." + more)],
        pictures: Annotated[list[Path], typer.Argument(help="One or more pictures of it.", exists=True)],
    ) -> None:
        """Add pictures under a name. The next scan looks for it, also in files that were scanned before."""
        gallery().add(name, *pictures)
        console.print(f"{name}: {len(pictures)} added. A scan looks for it from now on.")

    @cli.command("list")
    def show() -> None:
        """List every name with its number of pictures; then files that cannot be used, with the reason."""
        with waiting("reading the gallery"):
            references, flaws = gallery().references(), gallery().flaws()
        broken = {flaw.path for flaw in flaws}
        files = found_in(load(), "logos") if detector == "logo" and references else None
        table = Table("name", "pictures", "unusable", *(["files"] if files is not None else []))
        for name, group in groupby(references, key=lambda reference: reference.name):
            usable = [f"{name}/{reference.file}" not in broken for reference in group]
            row = [name, str(sum(usable)), str(len(usable) - sum(usable) or "")]
            table.add_row(*row, *([] if files is None else [f"{files.get(name, 0):,}"]))
        if table.row_count:
            Console().print(table)
        else:
            console.print(f"the gallery is empty, so nothing is looked for: raysift {what} add NAME PICTURE...")
        show_flaws(flaws)

    @cli.command()
    def remove(name: Annotated[str, typer.Argument(help="As `list` shows it.")]) -> None:
        """Remove a name and its pictures. Its detections stay until the next scan."""
        console.print(f"{name}: {gallery().remove(name)} removed")

    return cli


def found_in(settings: Settings, kind: "WatchKind") -> dict[str, int] | None:
    """In how many files each name was found; None, with a line that says so, if the API does not tell it."""
    from cluster.people.watch_types import WatchList

    try:
        with api_client(settings) as api:
            answer = api.get(f"/v1/watch-list/{kind}")
            answer.raise_for_status()
            return {item.name: item.files for item in WatchList(**answer.json()).items}
    except SettingsError as error:
        console.print(f"in how many files each was found is not known: {error}", markup=False)
        return None


def show_flaws(flaws: "Iterable[Flaw]") -> None:
    """Print one line for each file or folder of a gallery that is not used."""
    for flaw in flaws:
        Console().print(harmless(f"not used: {flaw.path} {flaw.reason}"), style="yellow", soft_wrap=True)
