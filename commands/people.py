"""`raysift people`: enrol people, and name their faces in stored results."""

import re
from itertools import groupby
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.table import Table

from cluster.errors import SettingsError
from cluster.people.face import place_of
from cluster.permissions import prove
from cluster.records import asset_id
from cluster.settings import Settings, load
from cluster.storage import buckets
from cluster.vectors import Vectors
from commands.enrolment import Name, Source, face_gallery, face_rejections, stored_faces, watch_list
from commands.faces import groups
from commands.galleries import found_in, show_flaws
from commands.purge import purge
from commands.terminal import Purpose, api_client, console, harmless, waiting
from deployments.detectors.face import Face
from deployments.galleries import enrolling
from deployments.galleries.enrolling import Seen
from deployments.galleries.store import Flaw, content_of
from pipelines.people import match as people_match
from pipelines.results.indexing import Indexing

cli = typer.Typer()  # raysift.py has its name and help
cli.command()(purge)
for command in (groups.groups, groups.show, groups.name, groups.merge, groups.split, groups.undo):
    cli.command()(command)


@cli.command()
def add(
    name: Annotated[str, typer.Argument(help="The person's name, which is the label of their detections.")],
    photos: Annotated[list[Path], typer.Argument(help="One or more photos that show only their face.", exists=True)],
    purpose: Purpose = None,
) -> None:
    """Enrol a person. Scans look for them from now on; `people match` looks in earlier results."""
    settings = load()
    enrolling.check_name(name)
    with api_client(settings, purpose) as api:
        for photo in photos:
            _check(photo, name, api)
        api.post(f"/v1/people/{quote(name, safe='')}").raise_for_status()  # for the audit log
    face_gallery(settings).add(name, *photos)
    console.print(f"{name}: {len(photos)} added. `raysift people match` names them in files that were scanned before.")


def _check(photo: Path, name: str, api: httpx.Client) -> None:
    """Raise SettingsError unless the running detector finds exactly one usable face in the photo."""
    flaw, others = _face_flaw(photo.name, content_of(photo), api, name)
    if flaw:
        raise SettingsError(f"{photo}: {flaw}.")
    for other in others:
        console.print(f"{photo}: this may be {other}, who is enrolled already", style="yellow", markup=False)


def _face_flaw(file: str, content: bytes, api: httpx.Client, name: str) -> tuple[str | None, set[str]]:
    """Why the running detector cannot enrol this photo (None if it can), and the other enrolled people it finds."""
    response = api.post("/v1/detect/face", files={"file": (file, content)})
    if response.status_code == 422:
        return f"{response.json()['detail']}. Give another", set()
    response.raise_for_status()
    detections = response.json()["detections"]
    seen = [Seen(*(detection[field] for field in ("label", "score", "evidence"))) for detection in detections]
    return enrolling.flaw(seen), enrolling.others(seen, name)


@cli.command("list")
def show_enrolled() -> None:
    """List enrolled people with their photos and rejected faces; then photos that cannot be used, with the reason."""
    settings = load()
    rejections = face_rejections(settings)
    with waiting("reading the photos"):
        references, flaws = face_gallery(settings).references(), _flaws(settings)
    broken = {flaw.path for flaw in flaws}
    files = found_in(settings, "people") if references else None
    table = Table("name", "photos", "unusable", "rejected faces", *(["files"] if files is not None else []))
    for name, group in groupby(references, key=lambda reference: reference.name):
        usable = [f"{name}/{reference.file}" not in broken for reference in group]
        unusable = len(usable) - sum(usable)
        row = [name, str(sum(usable)), str(unusable or ""), str(rejections.count(name))]
        table.add_row(*row, *([] if files is None else [f"{files.get(name, 0):,}"]))
    if table.row_count:
        Console().print(table)
    else:
        console.print("nobody is enrolled: raysift people add NAME PHOTO...")
    show_flaws(flaws)


def _flaws(settings: Settings) -> list[Flaw]:
    """Unusable parts of the gallery: broken files, and photos in which the running detector finds no usable face."""
    gallery = face_gallery(settings)
    flaws = gallery.flaws()
    broken = {flaw.path for flaw in flaws}
    photos = [photo for photo in gallery.references() if f"{photo.name}/{photo.file}" not in broken]
    if not photos:
        return flaws
    try:
        with api_client(settings) as api:
            for photo in photos:
                flaw, _ = _face_flaw(photo.file, gallery.read(photo), api, photo.name)
                if flaw:
                    flaws.append(Flaw(f"{photo.name}/{photo.file}", f"cannot be compared: {flaw}"))
    except SettingsError as error:
        console.print(f"whether each photo shows one good face was not checked: {error}", markup=False)
    return sorted(flaws)


@cli.command()
def remove(name: Name, purpose: Purpose = None) -> None:
    """Stop looking for a person. Stored hits stay until `people match`; `people purge` removes more."""
    settings = load()
    _record(settings, f"/v1/people/{quote(name, safe='')}/removed", {}, purpose)
    photos = face_gallery(settings).remove(name)
    rejected = face_rejections(settings).remove(name)
    console.print(f"{name}: {photos} photos and {rejected} rejected faces removed")


@cli.command()
def match(source: Source = None, purpose: Purpose = None) -> None:
    """Name the faces in stored results by the people who are enrolled now. No file is fetched or decoded for it."""
    settings, config, out = stored_faces(source)
    _record(settings, "/v1/people", {"out": out}, purpose)
    with waiting("comparing the faces in the results with the enrolled people"):
        done = people_match.match(out, watch_list(config, settings), Face.version(config), settings.s3_endpoint)
    for name, files in sorted(done.hits.items()):
        Console().print(harmless(f"{name}: {files} files"))
    if done.other:
        console.print(f"{done.other} files were analysed by another face model. Scan them again to compare them.")
    console.print(f"{done.files} files have other names than before")
    _index(settings, out)


@cli.command()
def reject(
    name: Name,
    face: Annotated[
        str,
        typer.Argument(
            help="The id or URI of a file: all its faces of that name; ID:2 is only the second of them. Or the id of a "
            "face, as `show` lists it: it leaves the group of that name."
        ),
    ],
    source: Source = None,
    no_face: Annotated[bool, typer.Option("--no-face", help="With the id of a face: it is none at all.")] = False,
    case: groups.Case = None,
    purpose: Purpose = None,
) -> None:
    """Record that a face is not this person.

    Of a file: faces nearer to it than to the person's photos no longer get the name. Of a group: the face never comes
    back to it.
    """
    if place_of(face) is not None:
        groups.reject_faces(name, [face], no_face, case, purpose)
        return
    settings, config, out = stored_faces(source)
    which = re.fullmatch(r"([0-9a-f]{32})(?::([1-9]\d*))?", face)
    id = which[1] if which else asset_id(buckets.normalize(face))
    found = [
        finding
        for answer in sorted(
            people_match.current(out, settings.s3_endpoint, lambda uri: asset_id(uri) == id),
            key=lambda answer: answer.row["segment"] or 0,
        )
        if answer.model == Face.version(config)
        for finding in people_match.of(name, answer.found)
    ]
    if which and which[2]:
        found = found[int(which[2]) - 1 : int(which[2])]
    if not found:
        raise SettingsError(
            f"{face} has no such face named {name!r} in {out}. See the file in the app, or give --from."
        )
    _record(settings, f"/v1/people/{quote(name, safe='')}/rejected", {"asset": id}, purpose)
    for finding in found:
        face_rejections(settings).add(name, finding.detection.vectors[0].values, Face.version(config))
    console.print(f"{len(found)} faces are not {name}. `raysift people match` removes the name from stored results.")


def _record(settings: Settings, path: str, what: dict[str, str], purpose: str | None) -> None:
    """Have the API record an act. SettingsError if it refuses; or if it is away, and the settings demand a purpose."""
    try:
        with api_client(settings, purpose) as api:
            answer = api.post(path, json=what)
    except SettingsError as error:
        if settings.access.purpose_required:
            raise
        console.print(f"it is not in the audit log: {error}", markup=False)
        return
    if answer.is_error:
        raise SettingsError(str(answer.json()["detail"]))


def _index(settings: Settings, out: str) -> None:
    """Load the written results into the catalogue and the vector store."""

    def into_catalogue(folder: str) -> int:
        with api_client(settings) as api:
            answer = api.post("/v1/results/load", json={"out": folder, "proof": prove(settings, [], folder)})
            answer.raise_for_status()
            return int(answer.json()["rows"])

    try:
        missing = Indexing(out, Vectors.configured(settings), into_catalogue, settings.s3_endpoint).once()
    except SettingsError as error:
        console.print(f"the next scan loads it into the catalogue: {error}", markup=False)
        return
    if missing:
        console.print("the vector store does not answer: the next scan updates the index")
