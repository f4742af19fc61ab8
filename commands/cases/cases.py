"""`raysift cases`: named sets of folders, to which browsing, searches and jobs can be limited."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from cluster.settings import load
from cluster.storage import buckets
from commands.terminal import api_client, console, harmless

cli = typer.Typer(help="Cases: folders and buckets whose files belong together.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Lower-case letters, digits, - and _: it is in the app's addresses.")]
Folders = Annotated[list[str] | None, typer.Argument(help="Folders, buckets or files: /data/case-7 s3://bucket/case-7")]


@cli.command()
def add(
    name: Name,
    folders: Folders = None,
    title: Annotated[str | None, typer.Option(help="What people call it. Default: its name.")] = None,
) -> None:
    """Make a case, or add folders to one. `raysift scan --case` adds what it scans."""
    settings = load()
    # a relative path is relative to this working folder, not to that of the cluster
    what = [buckets.normalize(folder).rstrip("/") for folder in folders or ()]
    with api_client(settings) as api:
        new = {"name": name, "title": title or "", "folders": what}
        answer = api.post("/v1/cases", json=new)
        if answer.status_code == 409:
            change: dict[str, Any] = {"add": what} | ({} if title is None else {"title": title})
            answer = api.patch(f"/v1/cases/{name}", json=change)
        answer.raise_for_status()
        case = answer.json()
    console.print(f"{name}: {len(case['folders'])} folders, {case['files']:,} scanned files", markup=False)


@cli.command("list")
def show() -> None:
    """List the cases that you may see, with their folders and their number of scanned files."""
    with api_client(load()) as api:
        answer = api.get("/v1/cases")
        answer.raise_for_status()
    columns = (
        Column("name", no_wrap=True),
        "title",
        Column("folders", overflow="fold"),
        Column("files", justify="right"),
    )
    table = Table(*columns, "state")
    for case in answer.json():
        state = "closed" if case["closed_at"] else "open"
        folders = Text("\n").join(map(harmless, case["folders"]))
        table.add_row(case["name"], harmless(case["title"]), folders, f"{case['files']:,}", state)
    Console().print(table)


@cli.command()
def close(name: Name) -> None:
    """Close a case: nothing is scanned into it any more. It can be browsed, and `open` opens it again."""
    _set_closed(name, True)
    console.print(f"{name} is closed", markup=False)


@cli.command("open")
def open_again(name: Name) -> None:
    """Open a closed case again."""
    _set_closed(name, False)
    console.print(f"{name} is open", markup=False)


def _set_closed(name: str, closed: bool) -> None:
    with api_client(load()) as api:
        api.patch(f"/v1/cases/{name}", json={"closed": closed}).raise_for_status()
