"""`raysift people groups | show | name | merge | split | undo`: groups of faces and their corrections, over the API."""

import json
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.text import Text

from cluster.errors import SettingsError
from cluster.people.face import place_of
from cluster.settings import load
from commands.terminal import Purpose, api_client, console, harmless

PAGE = 200  # groups of one request
SHOWN = 500  # faces of one request
WAIT = "the faces are being compared: this may take minutes, then ask again"

One = Annotated[str, typer.Argument(help="The person's name, or the id of one of the faces, as `groups` shows it.")]
Ids = Annotated[list[str], typer.Argument(help="Ids of faces, as `show` lists them.")]
Case = Annotated[str | None, typer.Option(help="Only faces in the files of this case.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Json = dict[str, Any]


def groups(
    name: Annotated[str, typer.Option(help="Only names with these letters.")] = "",
    case: Case = None,
    purpose: Purpose = None,
    as_json: AsJson = False,
) -> None:
    """List groups of faces, each probably of one person, the largest first, with the id of one face of each."""
    found: list[Json] = []
    with api_client(load(), purpose) as api:
        while True:
            page = _page(api, name, case, number=len(found) // PAGE + 1)
            found += page["groups"]
            if len(found) >= page["total"] or not page["groups"]:
                break
    if as_json:
        typer.echo(json.dumps(found))
        return
    for group in found:
        Console().print(_heading(group))
        Console().print(Text(f"  {group['face']}"), soft_wrap=True)
    parts = {"alone": "like too few others", "unclear": "too unclear to compare", "no_faces": "marked as no face"}
    rest = [f"{page[key]:,} {text}" for key, text in parts.items() if page[key]]
    rest += [f"{page['left_out']:,} left out, as there are too many: name a case"] if page["left_out"] else []
    console.print("; ".join([f"{page['total']:,} groups", *rest]))
    if page["pending"]:
        console.print(WAIT)


def show(group: One, case: Case = None, purpose: Purpose = None, as_json: AsJson = False) -> None:
    """List the faces of a group: the id, the file and the second of each."""
    with api_client(load(), purpose) as api:
        found = _group(api, group, case)
        faces: list[Json] = []
        while len(faces) < found["faces"]:
            params = _params(case) | {"page": len(faces) // SHOWN + 1, "size": SHOWN}
            part = _answer(api.get(f"/v1/people/groups/{found['face']}", params=params))["faces"]
            if not part:
                break
            faces += part
    if as_json:
        typer.echo(json.dumps(faces))
        return
    Console().print(_heading(found))
    for face in faces:
        when = "" if face["time_s"] is None else f" at {face['time_s']:.2f} s"
        Console().print(Text(f"  {face['id']}\n    ") + harmless(face["uri"]) + Text(when), soft_wrap=True)


def name(
    group: One,
    new: Annotated[str, typer.Argument(metavar="NAME", help="If another group has it, both are one from now on.")],
    case: Case = None,
    purpose: Purpose = None,
) -> None:
    """Name the person of a group."""
    with api_client(load(), purpose) as api:
        found = _group(api, group, case)
        done = _correct(api, found, "name", {"version": found["version"], "name": new}, case)
    console.print(f"{done['faces']} faces named {new}", markup=False)


def merge(
    group: One,
    others: Annotated[list[str], typer.Argument(help="Names, or ids of faces, of the groups that are this person.")],
    case: Case = None,
    purpose: Purpose = None,
) -> None:
    """Make one person of several groups."""
    with api_client(load(), purpose) as api:
        into, *rest = [_group(api, one, case) for one in (group, *others)]
        seen = [{"face": other["face"], "version": other["version"]} for other in rest]
        done = _correct(api, into, "merge", {"version": into["version"], "others": seen}, case)
    console.print(f"{done['faces']} faces merged")


def split(group: One, faces: Ids, case: Case = None, purpose: Purpose = None) -> None:
    """Make another person of some faces of a group."""
    with api_client(load(), purpose) as api:
        found = _group(api, group, case)
        _correct(api, found, "split", {"version": found["version"], "faces": faces}, case)
    console.print(f"{len(faces)} faces are another person from now on")


def reject_faces(group: str, faces: list[str], no_face: bool, case: str | None, purpose: str | None) -> None:
    """Take faces out of a group: they are not this person, or no faces."""
    with api_client(load(), purpose) as api:
        found = _group(api, group, case)
        body = {"version": found["version"], "faces": faces, "reason": "face" if no_face else "person"}
        _correct(api, found, "reject", body, case)
    console.print(f"{len(faces)} {'are no faces' if no_face else 'faces are not this person'}")


def undo(purpose: Purpose = None) -> None:
    """Take back your last correction of groups."""
    with api_client(load(), purpose) as api:
        last = _page(api, "", None, size=1)["last"]
        if last is None:
            raise SettingsError("there is no correction of yours that could be taken back.")
        done = _answer(api.post(f"/v1/people/corrections/{last['correction']}/undo"))
    console.print(f"taken back: {last['what']}, {done['faces']} faces", markup=False)


def _group(api: httpx.Client, wanted: str, case: str | None) -> Json:
    """The group of a name or of a face's id. SettingsError if there is none."""
    if place_of(wanted) is not None:
        found: Json = _answer(api.get(f"/v1/people/groups/{wanted}", params=_params(case) | {"size": 1}))["group"]
        return found
    page = _page(api, wanted, case)
    group = next((group for group in page["groups"] if group["name"] == wanted), None)
    if group is None:
        more = f" {WAIT[0].upper()}{WAIT[1:]}." if page["pending"] else ""
        raise SettingsError(f"no group is named {wanted!r}; `raysift people groups` lists them.{more}")
    return dict(group)


def _page(api: httpx.Client, name: str, case: str | None, number: int = 1, size: int = PAGE) -> Json:
    params = _params(case) | {"name": name, "page": number, "size": size}
    return _answer(api.get("/v1/people/groups", params=params))


def _correct(api: httpx.Client, group: Json, how: str, body: Json, case: str | None) -> Json:
    path = f"/v1/people/groups/{quote(group['face'], safe='')}/{how}"
    return _answer(api.post(path, json=body, params=_params(case)))


def _answer(response: httpx.Response) -> Json:
    response.raise_for_status()
    answer: Json = response.json()
    return answer


def _params(case: str | None) -> dict[str, Any]:
    return {} if case is None else {"case": case}


def _heading(group: Json) -> Text:
    named = harmless(group["name"] or "no name")
    return named + Text(f": {group['faces']:,} faces in {group['files']:,} files")
