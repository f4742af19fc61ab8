"""Groups of faces and faces as tiles of the gallery. Pure functions."""

from urllib.parse import quote

from app import address
from app.address import Pairs
from app.draw import Tile
from app.language.formats import moment, number
from app.language.texts import _, counted
from cluster.filters.wording import clock
from cluster.people.api_types import Correction, Face, Group, PeoplePage


def title(group: Group) -> str:
    """The name of a group, or that it has none."""
    return group.name or _("No name")


def counts(group: Group) -> str:
    """How many faces a group has, and in how many files."""
    faces = counted("{n} face", "{n} faces", group.faces)
    return counted("{faces} in {n} file", "{faces} in {n} files", group.files, faces=faces)


def of_group(group: Group, context: Pairs) -> Tile:
    """A group, with a few of its faces. `context`: further parameters of the page's address."""
    note = counts(group)
    pairs = [*context, ("group", group.face)]
    first, *others = [picture(face) for face in group.samples]
    return {
        **_plain(group.face, title(group), address.href("/people", pairs), first),
        "more": others,
        "note": f"{note} · {_('enrolled')}" if group.enrolled else note,
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
        parts.append(counted("{n} face like too few others", "{n} faces like too few others", page.alone))
    if page.unclear:
        unclear = number(page.unclear)
        parts.append(_("{n} too small or unclear to compare, or not compared yet", n=unclear))
    if page.no_faces:
        parts.append(_("{n} marked as no face", n=number(page.no_faces)))
    if page.left_out:
        parts.append(_("{n} left out, as there are too many: choose a case", n=number(page.left_out)))
    return _("In no group: {parts}.", parts="; ".join(parts)) if parts else ""


def undone(last: Correction) -> str:
    """What taking back a correction takes back, for its button's help."""
    faces = counted("{n} face", "{n} faces", last.faces)
    return _("Take back: {what}, {faces}, {time} UTC", what=_(last.what), faces=faces, time=moment(last.at))


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
