"""The files that a search has found, as tiles: those with the words apart from similar ones."""

import streamlit as st

from app import address, components, draw, page
from app.address import Pairs
from cluster.api_queries import By, SearchQuery
from cluster.api_types import Hit, Hits
from cluster.filters import conditions
from cluster.filters.conditions import Alternative, Detected, Fact
from cluster.filters.wording import counted

Look = tuple[bool, bool]  # whether to blur and to grey


def of_words(query: SearchQuery, found: Hits, look: Look) -> None:
    """Draw what a search by words has found."""
    hits = found.hits
    exact = [hit for hit in hits if hit.matched == "exact text"]
    similar = [hit for hit in hits if hit.matched != "exact text"]
    context = [*page.case_pairs(), *address.search(query)]
    if not hits:
        similar_ones = "" if found.notes else ", and none is similar enough"
        st.info(
            f"Nothing was found: no file has these words{similar_ones}. Try fewer or simpler words, or fewer filters. "
            "Only files that were analysed can be found."
        )
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if not exact:
            st.markdown("No file has exactly these words.", width="content")
        else:
            st.markdown(f"#### {_counted(len(exact), query.limit)} with these words", width="content")
            if (to := _in_browse(query)) is not None:
                st.page_link(
                    "views/browse.py", label="List all in Browse", icon=":material/grid_view:", query_params=to
                )
    _gallery("exact", exact, context, look, "Files with these words")
    if similar:
        st.markdown(f"#### {_counted(len(similar), query.limit, 'similar ')}, best first")
        _gallery("similar", similar, context, look, "Similar files")
    elif exact and not found.notes:
        st.caption("No other file is similar enough.")


def alike(hits: Hits, name: str, by: By, query: SearchQuery | None, look: Look) -> None:
    """Draw what a search by a picture has found. `query`: with which it is searched again; None: it cannot be."""
    of = draw.escape(name)
    if not hits.hits and by == "faces":
        st.info(f"No other analysed file that passes the filters shows a face of {of}.")
    elif not hits.hits:
        st.info(f"No other analysed file that passes the filters looks like {of}.")
    else:
        st.markdown(f"#### {len(hits.hits)} {'with a face of' if by == 'faces' else 'like'} {of}")
    if query is None:
        st.caption("The picture could not be kept: this search is lost when the page is reloaded.")
    elif query.picture is not None:
        st.caption(
            "This address works for an hour, and only for you: whoever else is to search by this picture has to choose "
            "it again. The address of a search for more like a scanned file works for everybody who may see that file."
        )
    context = [*page.case_pairs(), *(address.search(query) if query else [])]
    _gallery("alike", hits.hits, context, look, "Hits")


def _counted(number: int, most: int, what: str = "") -> str:
    if number >= most:
        return f"The first {number} {what}files"
    return counted(number, f"{what}file")


def _in_browse(query: SearchQuery) -> Pairs | None:
    """The parameters of the Browse page that list all files with the words; None if they do not fit a condition."""
    words = " ".join(str(query.q).lower().split())
    text = conditions.write([Alternative(Detected(words=words)), Alternative(Fact("name", "~", words))])
    where = (*query.where, text)
    if len(text) > conditions.MOST_CHARACTERS or len(where) > conditions.MOST_CONDITIONS:
        return None
    if not conditions.affordable(where):
        return None
    return [*page.case_pairs(), *address.filters(query.model_copy(update={"where": where}))]


def _gallery(key: str, hits: list[Hit], context: Pairs, look: Look, label: str) -> None:
    if hits:
        palette = page.palette()
        tiles = [draw.hit_tile(hit, palette, context) for hit in hits]
        components.gallery(key, tiles, label, look, focus=st.session_state.get("left", ""))
