"""`raysift people purge`: remove one person from every place where Raysift stores data."""

import shlex
from typing import Any
from urllib.parse import quote

import httpx
from rich.console import Console
from rich.table import Table

from cluster.access.api_types import Viewer
from cluster.access.holds import Hold, refuse_held
from cluster.api_types import ErasedCaches
from cluster.errors import SettingsError
from cluster.people.store import faces_named
from cluster.results import measured
from cluster.settings import Settings
from cluster.vectors import Vectors, VectorsDown
from commands.enrolment import Name, Source, face_gallery, face_rejections, stored_faces, watch_list
from commands.terminal import Purpose, api_client, console, waiting
from deployments.detectors.face import Face
from deployments.galleries.watchlist import unenrol
from pipelines.erasure.pending import alone
from pipelines.people import purge as people_purge

Places = list[tuple[str, int]]  # a place, and how many entries were removed from it


def purge(name: Name, source: Source = None, purpose: Purpose = None) -> None:
    """Remove a person from everything but the media: photos, rejected faces, hits, vectors; results, search, catalogue.

    A legal hold on a file that shows the person forbids it. Not during a scan: it may store another hit. Exits 1 if
    something is left, or a cache could not be erased.
    """
    settings, config, out = stored_faces(source)
    endpoint = settings.s3_endpoint
    if settings.access.purpose_required and not purpose:  # before any change
        raise SettingsError("purging a person needs a purpose, which is recorded: give --purpose. Nothing was changed.")
    with (
        alone(settings.state_dir.absolute()),  # a compaction that ends meanwhile needs files that are deleted here
        api_client(settings, purpose) as api,
        waiting("removing the person from the results and the index"),
    ):
        _check_role(Viewer(**_answer(api.get("/v1/session"))))  # without the API or the role, fail before any change
        said, watch = faces_named(settings.state_dir, name), watch_list(config, settings)
        person = people_purge.find(name, out, watch, Face.version(config), endpoint, said)
        refuse_held([Hold(**hold) for hold in _answer(api.get("/v1/holds"))], person.files.items())
        done = people_purge.remove(name, out, person.vectors, endpoint)
        caches = ErasedCaches(**_answer(api.delete("/v1/cache")))  # a cached answer would restore the hits
        searched = _unsearchable(settings, person, out)
        catalogued = _answer(api.delete(f"/v1/people/{quote(name, safe='')}"))["hits"]
        listed = _answer(api.get("/v1/assets", params={"detector": "face", "label": name}))["total"]
    # last: if a step before fails, the next purge needs the photos to recognise the person
    measures = measured.forget(settings.state_dir, name)
    photos, rejected = unenrol(name, face_gallery(settings), face_rejections(settings))
    _show(
        [
            (f"hits in {done.files} files of {out}", done.hits),
            (f"vectors of faces in {done.files} files of {out}", done.faces),
            *((f"cached answers, of anybody, on {place}", count) for place, count in caches.entries.items()),
            ("vectors of faces in the vector store", searched.removed),
            ("hits in the catalogue", catalogued),
            ("measures of evaluations", measures),
            ("photos in the gallery", photos),
            ("rejected faces in the gallery", rejected),
        ]
    )
    left = people_purge.left(name, out, person.vectors, endpoint) + searched.left + listed
    if left:
        raise SettingsError(f"{left} traces of {name} are left. Purge again when no scan runs.")
    report_caches(caches, settings)
    if not (photos or rejected or done.hits or done.faces or searched.removed or catalogued):
        raise SettingsError(f"nothing of {name!r} is enrolled or stored in {out}. Correct the name, or give --from.")
    _report_remains(name, person.other, out)


def _check_role(who: Viewer) -> None:
    if who.role != "admin" or who.prefixes is not None:
        raise SettingsError(
            "purging erases cached answers of all files, which needs a key of an admin; this one is of "
            f"{who.name}, with the role {who.role}. Nothing was changed."
        )


def _answer(response: httpx.Response) -> Any:
    response.raise_for_status()
    return response.json()


def _unsearchable(settings: Settings, person: people_purge.Found, out: str) -> people_purge.Searched:
    try:
        return people_purge.forget(person, out, Vectors.configured(settings), settings.s3_endpoint)
    except VectorsDown as error:
        raise SettingsError(f"the results are purged, but {error}. Purge again when it runs.") from None


def _show(places: Places) -> None:
    table = Table("place", "removed")
    for place, count in places:
        table.add_row(place, str(count))
    Console().print(table)


def report_caches(caches: ErasedCaches, settings: Settings) -> None:
    """Say which nodes were not reached. SettingsError if the operator has to act for one of them."""
    away = ", ".join(caches.away)
    if away and settings.galleries_uri:
        console.print(f"down, and not erased: the cache of {away}. It is erased there before it is used again.")
    complaints = [f"the cache on {place} was not erased ({reason})." for place, reason in caches.failed.items()]
    if away and not settings.galleries_uri:
        complaints.append(
            f"{away} is down and does not share the galleries: it does not see that its cache must be erased. Delete "
            "cache.sqlite* in its state_dir, or set galleries_uri to a place that all nodes read."
        )
    if complaints:
        raise SettingsError(" ".join([*complaints, "Do it again when every node answers."]))


def _report_remains(name: str, other: int, out: str) -> None:
    console.print(
        f"checked: no hit or vector of {name} is left in {out}, the vector store or the catalogue", markup=False
    )
    if other:
        console.print(
            f"{other} files were analysed by another face model, whose vectors cannot be compared with the "
            "photos: there only faces that it had named were removed."
        )
    console.print(
        "Not touched: the media and their thumbnails, other folders of results (--from), exports, reports of "
        "`raysift evaluate`, and old versions of objects in a versioned bucket."
    )
    console.print(
        "The catalogue and the vector store delete entries but do not overwrite them: bytes stay in their files. "
        f"`raysift erase --person {shlex.quote(name)}` rebuilds these, removes the thumbnails and proves it.",
        markup=False,
    )
