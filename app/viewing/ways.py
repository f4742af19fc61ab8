"""The ways from a file's page: back to its list, and to the files beside it."""

from collections.abc import Sequence
from typing import TypedDict

from app import address
from app.address import Pairs
from app.language.formats import number
from app.language.texts import _
from cluster.api_queries import AssetQuery
from cluster.api_types import File, Neighbours

PAGE = AssetQuery.model_fields["size"].default  # files on a page of Browse


class Ways(TypedDict, total=False):
    """The viewer's links. None draws a disabled link, for a neighbour that does not exist; a missing key draws none."""

    back: str
    where: str
    previous: str | None
    next: str | None
    place: str  # among the files of the list, such as "12 of 3,456"


def page_of(context: Pairs) -> tuple[str, str]:
    """The path and the name of the page that shows a list. Only Browse has lists of several pages."""
    names = {name for name, _ in context}
    if names.intersection(address.SEARCHED):
        return "/search", _("Search")
    return ("/people", _("People")) if "group" in names else ("/", _("Browse"))


def lists(file: File, named: Pairs, case: Pairs) -> list[Pairs]:
    """The lists that a file's neighbours may come from: that of its address, the case, its folder or archive."""
    folder = f"{file.parent}!" if file.parent else f"{file.uri.rpartition('/')[0]}/"
    return [context for context in (named, case, [("under", folder)]) if context]


def among_hits(id: str, hits: Sequence[str]) -> Neighbours:
    """The hits beside a file."""
    if id not in hits:
        return Neighbours(previous=None, next=None, place=None, total=len(hits))
    place = hits.index(id)
    return Neighbours(
        previous=hits[place - 1] if place else None,
        next=hits[place + 1] if place + 1 < len(hits) else None,
        place=place + 1,
        total=len(hits),
    )


def ways(context: Pairs, beside: Neighbours, named: Pairs) -> Ways:
    """The links of a file's page. `context`: the list of the files beside it; `named`: that of its address, if any."""
    kept = [pair for pair in context if pair[0] != "page"]
    place = beside.place or 1

    def on_page_of(place: int) -> Pairs:
        """The list, on the page of this place, so that the way back leads there."""
        page = (place - 1) // PAGE + 1 if page_of(kept) == page_of([]) else 1
        return [*kept, *([("page", str(page))] if page > 1 else [])]

    def link(id: str | None, place: int) -> str | None:
        return None if id is None else address.file(id, on_page_of(place))

    back = on_page_of(place) if named in ([], context) else named
    path, where = page_of(back)
    return {
        "back": address.href(path, back),
        "where": where,
        "previous": link(beside.previous, place - 1),
        "next": link(beside.next, place + 1),
        "place": _("{n} of {total}", n=number(place), total=number(beside.total)) if beside.place else "",
    }
