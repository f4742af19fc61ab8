"""`raysift models`: list the weights of the detectors and their sources, and copy those of the hub to a mirror."""

import json
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.table import Column, Table

from cluster.errors import SettingsError
from cluster.settings import Profile, Settings, load
from commands.scans import names
from commands.terminal import ProfileOption, console, progress, waiting
from deployments.weights import references
from deployments.weights.copies import FILES, Manifest, Store
from deployments.weights.hub import Hub
from deployments.weights.sources import Source, State

cli = typer.Typer()  # raysift.py has its name and help


@cli.command("list")
def show(
    profile: ProfileOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array with an object for each.")] = False,
) -> None:
    """List every detector's weights: licence, revision, size, source, and whether they are there now.

    The hub is not contacted. Below the table, missing weights are listed with what to do.
    """
    found = [(detector, source, source.state()) for detector, source in _sources(_settings(profile))]
    if as_json:
        typer.echo(json.dumps([_object(*entry) for entry in found], indent=1))
        return
    Console().print(_table(found))
    missing: dict[str, list[str]] = {}
    for _, source, state in found:
        if state.missing:
            missing.setdefault(state.missing, []).append(source.title)
    for sentence, titles in missing.items():
        typer.echo(f"{', '.join(dict.fromkeys(titles))}: {sentence}")


def _table(found: list[tuple[str, Source, State]]) -> Table:
    """A row for each of the weights: licence and revision under their name, so that 80 columns are enough."""
    table = Table(Column("detector", no_wrap=True), Column("weights", overflow="fold"))
    for title in ("size", "from", "there"):
        table.add_column(title, no_wrap=True)
    for detector, source, state in found:
        size = "" if state.size is None else decimal(state.size)
        about = ", ".join(filter(None, [state.licence or "licence not stated", (state.revision or "")[:10]]))
        table.add_row(detector, f"{source.title}\n  {about}", size, state.origin, "yes" if state.there else "no")
    return table


def _object(detector: str, source: Source, state: State) -> dict[str, str | int | bool | None]:
    return {
        "detector": detector,
        "weights": source.reference,
        "licence": state.licence,
        "revision": state.revision,
        "bytes": state.size,
        "from": state.origin,
        "there": state.there,
        "missing": state.missing,
    }


@cli.command()
def pull(
    to: Annotated[str, typer.Option(help="A folder or bucket: /data/models s3://bucket/models ...")],
    profile: ProfileOption = None,
    detectors: Annotated[
        list[str] | None, typer.Option(help="Only these, comma-separated or repeated; default: all.")
    ] = None,
) -> None:
    """Copy every model that comes from the hub into a mirror, for machines that cannot or may not use the hub.

    Complete copies in the mirror are kept. Packages come from the package registry and are not copied.
    """
    settings = _settings(profile)
    mirror = Store(to, settings.s3_endpoint)
    wanted = {source.reference: source for _, source in _sources(settings, detectors)}
    failed = []
    for source in wanted.values():
        if not isinstance(source, Hub):
            continue
        try:
            console.print(f"{source.reference}: {_pulled(source, mirror)}", markup=False, highlight=False)
        except SettingsError as error:
            failed.append(str(error))
    others = sum(not isinstance(source, Hub) for source in wanted.values())
    if others:
        console.print(f"{others} more come with packages, or from your folders or buckets: not copied")
    if failed:
        raise SettingsError("\n".join(failed))
    console.print(
        f"Use it: RAYSIFT_MODELS__MIRROR={mirror.uri}, or `models: {{mirror: {mirror.uri}}}` in settings.yaml"
    )


def _pulled(source: Hub, mirror: Store) -> str:
    if there := mirror.whole(source.name, source.reference):
        return f"already there, {decimal(there.size)}"
    with waiting(f"{source.reference}: downloading it from the hub, unless it is on this machine"):
        source.path()
    copy = source.copy()
    assert copy is not None
    _put(source, copy, mirror)
    return f"copied, {decimal(copy.size)}, commit {copy.commit}, {copy.licence or 'no licence stated'}"


def _put(source: Hub, copy: Manifest, mirror: Store) -> None:
    copied = 0
    with progress(f"{source.repo}, {decimal(copy.size)}") as update:

        def add(size: int) -> None:
            nonlocal copied
            copied += size
            update(copied / max(1, copy.size))

        mirror.put(source.name, copy, source.home() / FILES, add)


def _settings(profile: Profile | None) -> Settings:
    settings = load()
    return settings.model_copy(update={"profile": profile}) if profile else settings


def _sources(settings: Settings, detectors: list[str] | None = None) -> Iterator[tuple[str, Source]]:
    from deployments.serving.placement import configs

    there = configs(settings)
    yield from references.sources({name: there[name] for name in wanted(detectors, list(there))}, settings)


def wanted(detectors: list[str] | None, there: list[str]) -> list[str]:
    """The names in the options `--detectors`, or all that are there. SettingsError names an unknown one."""
    chosen = names(detectors) or there
    for name in chosen:
        if name not in there:
            raise SettingsError(
                f"--detectors: no detector {name!r}; there are {', '.join(there)}. Correct its spelling."
            )
    return chosen
