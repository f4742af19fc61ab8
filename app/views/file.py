"""The page of one file: its picture or player, its detections, and files that look like it."""

import math
import re
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import parse_qsl

import streamlit as st

from app import address, components, draw, draw_file, page
from app.address import Pairs
from app.browsing import held
from app.client import ApiDownError, ApiError
from app.language.texts import _
from app.review import panel
from app.viewing import exposure, position, ways
from cluster.api_queries import SearchQuery
from cluster.api_types import File, Hit, Neighbours
from cluster.exposure.exposure import Exposure
from cluster.people.api_types import GroupQuery

_ID = re.compile(r"[0-9a-f]{32}")
ALIKE = 13  # hits of the strip, of which the file itself may be one
KEPT_S = 30.0  # what was fetched for the next file before it is opened


@st.cache_data(ttl=KEPT_S, max_entries=64, show_spinner=False)
def _asset(api: str, id: str) -> File:
    return page.api().asset(id)


@st.cache_data(ttl=60, max_entries=64, show_spinner=False)
def _alike(api: str, id: str, limit: int, case: str | None) -> list[Hit]:
    return page.api().search(SearchQuery(like=id, limit=limit, case=case)).hits


@st.cache_data(ttl=KEPT_S, max_entries=64, show_spinner=False)
def _beside(api: str, id: str, context: tuple[tuple[str, str], ...], upto: str | None) -> Neighbours:
    """The files beside one in a list. The hits of a search and the files of a person are one page.

    `upto`: the file that had arrived last when this session began to look at the list; None: it has not.
    """
    if address.search_of(context) is not None:
        return ways.among_hits(id, _hits(api, context))
    if (face := dict(context).get("group")) is not None:
        return ways.among_hits(id, _files_of_person(face, address.case_of(context)))
    query = address.query_of(context).model_copy(update={"page": 1, "upto": upto})
    try:
        return page.api().neighbours(id, query)
    except ApiError as error:
        if error.status != 422 or upto is None:
            raise
        return page.api().neighbours(id, query.model_copy(update={"upto": None}))  # that file has been deleted


@st.cache_data(ttl=60, max_entries=16, show_spinner=False)
def _hits(api: str, context: tuple[tuple[str, str], ...]) -> list[str]:
    """The ids of the hits of a search. Asked for once for all files beside each other: a region is cut each time."""
    searched = address.search_of(context)
    assert searched is not None
    return [hit.asset.id for hit in page.api().search(searched).hits]


def _files_of_person(face: str, case: str | None) -> list[str]:
    """The ids of the files in which the person of this face is seen; none if it is in no group any more."""
    try:
        return [file.asset for file in page.api().group(face, GroupQuery(case=case, size=1)).appearances]
    except ApiError:
        return []


def show() -> None:
    """Draw the page."""
    id = st.query_params.get("asset", "")
    if not _ID.fullmatch(id):
        st.warning(_("This address names no file. Open one from Browse, Search or People."))
        st.page_link("views/browse.py", label=_("Go to Browse"), icon=":material/grid_view:")
        return
    api = page.caller()
    with st.spinner(_("Reading the results")):
        file = _asset(api, id)
        links, ask = _ways(api, file)
    if (container := draw_file.container(file)) is not None:
        name, of_container = container
        link = f"[{draw.escape(name)}]({address.file(of_container, page.case_pairs())})"
        st.markdown(_("in {container}", container=link))
    with st.container(horizontal=True, vertical_alignment="center"):
        if file.has_thumbnail:
            _search_link(_("More like this"), {"like": id})
        if any(detection.detector == "face" for detection in file.detections):
            _search_link(_("Same face"), {"like": id, "by": "faces"})
        st.space("stretch")
        look = exposure.look()
    opening: draw_file.Opening = {
        "start": _seconds(st.query_params.get("t")),
        "words": dict(parse_qsl(st.query_params.get("in", ""))).get("q", ""),
        "play": st.query_params.get("play") == "1",
    }
    # viewers get no media: they see the thumbnail, which the API blurs for them
    source = f"/api/media/{id}" if page.may("reviewer") else ""
    drawn = draw_file.viewer(file, page.palette(), source, file.name, page.floors(), opening)
    told = components.viewer("viewer", drawn, links, look, tells=True)
    if (at := position.told_of(told, id)) is not None:
        position.show(at)
    _decide(id)
    st.session_state["left"] = id  # the tile to focus when the user goes back
    if file.has_thumbnail:
        _strip(api, id, look)
    _fetch_ahead(api, ask(id).next, ask)


def _search_link(label: str, parameters: dict[str, str]) -> None:
    st.page_link("views/search.py", label=label, icon=":material/image_search:", query_params=parameters)


def _fetch_ahead(api: str, id: str | None, ask: Callable[[str], object]) -> None:
    """Fetch what the next file's page shows, now that this one is drawn; not its original: that counts as viewed."""
    if id is None:
        return
    with suppress(ApiError, ApiDownError):  # its own page says what is wrong
        file = _asset(api, id)
        ask(id)
        if file.has_thumbnail:
            _alike(api, id, ALIKE, page.case())


def _decide(id: str) -> None:
    """Draw the decisions on the file, and for a reviewer the means to decide."""
    state = page.api().decision(id)
    panel.message()
    title = _("Decision: {label}", label=draw.escape(state.decision.label or "")) if state.decision else _("Decision")
    with st.expander(title, icon=":material/rule:"):
        if page.may("reviewer"):
            if panel.decide(state, state.decision) is not None:
                st.rerun()
            if state.decision and panel.undo_button(state):
                st.rerun()
        panel.history(state)
    panel.keep_seen(state)


def _ways(api: str, file: File) -> tuple[ways.Ways, Callable[[str], Neighbours]]:
    """The links of a file's page, and what tells the files beside one of the list that they come from."""
    named = parse_qsl(st.query_params.get("in", ""))
    for context in ways.lists(file, named, page.case_pairs()):
        ask = _list(api, context)
        beside = ask(file.id)
        if beside.place is not None:
            break
    return ways.ways(context, beside, named), ask


def _list(api: str, context: Pairs) -> Callable[[str], Neighbours]:
    """What tells the files beside one of a list."""
    kept = tuple(pair for pair in context if pair[0] != "page")
    upto = held.upto(address.query_of(kept)) if ways.page_of(context) == ways.page_of([]) else None
    return lambda id: _beside(api, id, kept, upto)


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "nan")
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _strip(api: str, id: str, look: Exposure) -> None:
    hits: list[Hit] = []
    try:
        hits = [hit for hit in _alike(api, id, ALIKE, page.case()) if hit.asset.id != id][:12]
    except ApiError as error:
        why = draw.escape(error.sentence)
        st.caption(_("Files that look like this one cannot be listed: {why}", why=why))
    if hits:
        st.markdown(f"##### {_('Looks alike')}")
        palette = page.palette()
        tiles = [draw.hit_tile(hit, palette, [*page.case_pairs(), ("like", id)]) for hit in hits]
        components.gallery("alike", tiles, _("Files that look alike"), look, strip=True)


with page.guarded():
    show()
