"""Groups of faces and faces as tiles of the gallery. Pure functions."""

from urllib.parse import quote

from app import address
from app.address import Pairs
from app.draw import Tile
from cluster.filters.wording import clock, counted
from cluster.people.api_types import Correction, Face, Group, PeoplePage

NO_NAME = "No name"


def title(group: Group) -> str:
    """The name of a group, or that it has none."""
    return group.name or NO_NAME


def of_group(group: Group, context: Pairs) -> Tile:
    """A group, with a few of its faces. `context`: further parameters of the page's address."""
    note = f"{counted(group.faces, 'face')} in {counted(group.files, 'file')}"
    pairs = [*context, ("group", group.face)]
    first, *others = [picture(face) for face in group.samples]
    return {
        **_plain(group.face, title(group), address.href("/people", pairs), first),
        "more": others,
        "note": f"{note} · enrolled" if group.enrolled else note,
    }


def of_face(face: Face, context: Pairs) -> Tile:
    """A face, which leads to its file, of a film to the second. `context`: the page that it is shown on."""
    tile = _plain(face.id, face.name, address.file(face.asset, context, face.time_s), picture(face))
    return {**tile, "more": [], "kind": face.kind or "unknown", "length": clock(face.time_s)}


def picture(face: Face) -> str:
    """The address of a face's picture."""
    return f"/api/face/{quote(face.id)}"


def rest(page: PeoplePage) -> str:
    """In one sentence, which faces are in no group; empty if all are in one."""
    parts = []
    if page.alone:
        parts.append(f"{counted(page.alone, 'face')} like too few others")
    if page.unclear:
        parts.append(f"{page.unclear:,} too small or unclear to compare, or not compared yet")
    if page.no_faces:
        parts.append(f"{page.no_faces:,} marked as no face")
    if page.left_out:
        parts.append(f"{page.left_out:,} left out, as there are too many: choose a case")
    return f"In no group: {'; '.join(parts)}." if parts else ""


def undone(last: Correction) -> str:
    """What taking back a correction takes back, for its button's help."""
    return f"Take back: {last.what}, {counted(last.faces, 'face')}, {last.at[:16].replace('T', ' ')} UTC"


def _plain(id: str, name: str, href: str, picture: str) -> Tile:
    return {
        "id": id,
        "name": name,
        "href": href,
        "like": "",
        "picture": picture,
        "more": None,
        "kind": "unknown",
        "length": "",
        "ratio": None,
        "boxes": [],
        "chips": [],
        "cross": "",
        "failed": "",
        "note": "",
    }
