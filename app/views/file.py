"""The page of one file: its picture or player, its detections, and files that look like it."""

import math
import re
from urllib.parse import parse_qsl

import streamlit as st

from app import address, components, draw, draw_file, page
from app.address import Pairs
from app.browsing import held
from app.client import ApiError
from app.review import panel
from cluster.api_queries import By
from cluster.api_types import File, Hit
from cluster.people.api_types import GroupQuery

_ID = re.compile(r"[0-9a-f]{32}")


@st.cache_data(ttl=5, max_entries=64, show_spinner=False)
def _asset(api: str, id: str) -> File:
    return page.api().asset(id)


@st.cache_data(ttl=60, max_entries=64, show_spinner=False)
def _alike(api: str, id: str, limit: int, case: str | None) -> list[Hit]:
    return page.api().alike(id, limit, case=case)


@st.cache_data(ttl=30, max_entries=64, show_spinner=False)
def _list(api: str, context: tuple[tuple[str, str], ...], upto: str | None, number: int) -> list[str]:
    """The ids on a page of the list that the file was opened from. Hits of a search, files of a person are one page.

    `upto`: the file that had arrived last when this session began to look at the list; None: it has not.
    """
    parameters = dict(context)
    if "q" in parameters or "like" in parameters:
        if number != 1:
            return []
        by: By = "faces" if parameters.get("by") == "faces" else "image"
        api_client, case = page.api(), address.case_of(context)
        if "q" in parameters:
            hits = api_client.search(parameters["q"], case=case).hits
        else:
            hits = api_client.alike(parameters["like"], by=by, case=case)
        return [hit.asset.id for hit in hits]
    if "group" in parameters:
        return _files_of_person(parameters["group"], address.case_of(context)) if number == 1 else []
    if number < 1:
        return []
    query = address.query_of(context)
    query = query.model_copy(update={"page": number, "upto": upto})
    return [asset.id for asset in page.api().assets(query).items]


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
        st.warning("This address names no file. Open one from Browse, Search or People.")
        st.page_link("views/browse.py", label="Go to Browse", icon=":material/grid_view:")
        return
    api = page.caller()
    context = parse_qsl(st.query_params.get("in", ""))
    with st.spinner("Reading the results"):
        file = _asset(api, id)
        ways = _ways(api, id, context)
    if (container := draw_file.container(file)) is not None:
        name, of_container = container
        st.markdown(f"in [{draw.escape(name)}]({address.file(of_container, page.case_pairs())})")
    with st.container(horizontal=True, horizontal_alignment="right"):
        look = page.look()
    start = _seconds(st.query_params.get("t"))
    # viewers get no media: they see the thumbnail, which the API blurs for them
    source = f"/api/media/{id}" if page.may("reviewer") else ""
    drawn = draw_file.viewer(file, page.palette(), source, file.name, start)
    components.viewer("viewer", drawn, ways, look)
    _decide(id)
    st.session_state["left"] = id  # the tile to focus when the user goes back
    if file.has_thumbnail:
        _strip(api, id, any(detection.detector == "face" for detection in file.detections), look)


def _decide(id: str) -> None:
    """Draw the decisions on the file, and for a reviewer the means to decide."""
    state = page.api().decision(id)
    panel.message()
    what = f": {state.decision.label}" if state.decision else ""
    with st.expander(f"Decision{draw.escape(what)}", icon=":material/rule:"):
        if page.may("reviewer"):
            if panel.decide(state, state.decision) is not None:
                st.rerun()
            if state.decision and panel.undo_button(state):
                st.rerun()
        panel.history(state)
    panel.keep_seen(state)


def _ways(api: str, id: str, context: Pairs) -> components.Ways:
    names = {name for name, _ in context}
    path, where = "/", "Browse"
    if names & {"q", "like", "picture"}:
        path, where = "/search", "Search"
    elif "group" in names:
        path, where = "/people", "People"
    ways: components.Ways = {"back": address.href(path, context), "where": where, "previous": None, "next": None}
    kept = tuple(pair for pair in context if pair[0] != "page")
    upto = held.upto(address.query_of(kept)) if where == "Browse" else None
    number = address.query_of(context).page if where == "Browse" else 1
    ids = _found_by_picture() if ("picture", "1") in kept else _list(api, kept, upto, number)
    if id not in ids:
        return ways
    place = ids.index(id)
    if place > 0:
        ways["previous"] = _link(kept, ids[place - 1], number)
    elif earlier := _list(api, kept, upto, number - 1):
        ways["previous"] = _link(kept, earlier[-1], number - 1)
    if place + 1 < len(ids):
        ways["next"] = _link(kept, ids[place + 1], number)
    elif later := _list(api, kept, upto, number + 1):
        ways["next"] = _link(kept, later[0], number + 1)
    return ways


def _found_by_picture() -> list[str]:
    """The ids of the hits of the last uploaded picture, which the Search page keeps in the session."""
    _, _, hits = st.session_state.get("by_picture", (None, None, []))
    return [hit.asset.id for hit in hits]


def _link(context: tuple[tuple[str, str], ...], id: str, number: int) -> str:
    return address.file(id, [*context, *([("page", str(number))] if number > 1 else [])])


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "nan")
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _strip(api: str, id: str, faces: bool, look: tuple[bool, bool]) -> None:
    hits: list[Hit] = []
    try:
        hits = [hit for hit in _alike(api, id, 13, page.case()) if hit.asset.id != id][:12]
    except ApiError as error:
        st.caption(f"Files that look like this one cannot be listed: {draw.escape(error.sentence)}")
    with st.container(horizontal=True, vertical_alignment="center"):
        if hits:
            st.markdown("##### Looks alike")
            st.page_link("views/search.py", label="Show all", query_params={"like": id})
        if faces:
            st.page_link("views/search.py", label="Same face", query_params={"like": id, "by": "faces"})
    if hits:
        palette = page.palette()
        tiles = [draw.hit_tile(hit, palette, [*page.case_pairs(), ("like", id)]) for hit in hits]
        components.gallery("alike", tiles, "Files that look alike", look, strip=True)


with page.guarded():
    show()
