"""`raysift vectors`: check the index of search against the results, and rebuild it from them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer

from cluster.errors import SettingsError
from cluster.settings import load
from cluster.storage import buckets
from cluster.vectors import Vectors, VectorsDown
from commands.terminal import console, progress, waiting
from pipelines.results import auditing
from pipelines.results.folders import known_folders

cli = typer.Typer()  # raysift.py has its name and help

Source = Annotated[str | None, typer.Option("--from", help="A folder of results; default: settings.results_uri.")]


@cli.command()
def rebuild(
    sources: Annotated[
        list[str] | None, typer.Option("--from", help="A further folder of results; may be repeated.")
    ] = None,
) -> None:
    """Delete the index and rebuild it from all folders of results. Search finds less until this is done.

    The folders: results_uri, those of all jobs (on the cluster's head), and --from.
    """
    settings = load()
    outs = known_folders(settings, sources or ())
    with _store_errors(), progress("indexing vectors") as update:
        count = auditing.rebuild(outs, Vectors.configured(settings), settings.s3_endpoint, update)
        update(1.0)
    console.print(f"{count} vectors are in the index, of the results in {', '.join(outs)}")


@cli.command()
def audit(
    source: Source = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare the index with the results: missing vectors, and whether sampled ones find themselves. Exits 1 on faults.

    What a running scan has just written may not be indexed yet.
    """
    settings = load()
    out = buckets.normalize(source or settings.results)
    with _store_errors(), waiting("comparing the vector store with the results"):
        found = auditing.audit(out, Vectors.configured(settings), settings.s3_endpoint)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        console.print(f"{found.expected} vectors expected, {found.missing} missing")
        for space, searched in found.self_search.items():
            share = searched.found / searched.tried if searched.tried else 1.0
            console.print(
                f"{space}: {searched.found} of {searched.tried} sampled vectors find themselves ({share:.1%})"
            )
    if found.outdated and found.whole:
        names = ", ".join(found.outdated)
        console.print(f"{names}: made with earlier parameters of the index. Advised: raysift vectors rebuild")
    if not found.whole:
        raise SettingsError("the vector store does not match the results. Rebuild it: raysift vectors rebuild")


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except VectorsDown as error:
        raise SettingsError(f"{error}. Start it: raysift up") from None
