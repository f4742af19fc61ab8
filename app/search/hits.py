"""The files that a search has found, as tiles: those with the words apart from similar ones."""

import streamlit as st

from app import address, components, draw, page
from app.address import Pairs
from app.language.texts import _, counted
from cluster.api_queries import By, SearchQuery
from cluster.api_types import Hit, Hits
from cluster.exposure.exposure import Exposure
from cluster.filters import conditions
from cluster.filters.conditions import Alternative, Detected, Fact


def of_words(query: SearchQuery, found: Hits, look: Exposure) -> None:
    """Draw what a search by words has found."""
    hits = found.hits
    exact = [hit for hit in hits if hit.matched == "exact text"]
    similar = [hit for hit in hits if hit.matched != "exact text"]
    context = [*page.case_pairs(), *address.search(query)]
    if not hits:
        none = _("Nothing was found: no file has these words, and none is similar enough.")
        if found.notes:  # whether one is similar is not known
            none = _("Nothing was found: no file has these words.")
        advice = _("Try fewer or simpler words, or fewer filters. Only files that were analysed can be found.")
        st.info(f"{none} {advice}")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if not exact:
            st.markdown(_("No file has exactly these words."), width="content")
        else:
            heading = counted("{n} file with these words", "{n} files with these words", len(exact))
            if len(exact) >= query.limit:
                heading = _("The first {n} files with these words", n=len(exact))
            st.markdown(f"#### {heading}", width="content")
            if (to := _in_browse(query)) is not None:
                label = _("List all in Browse")
                st.page_link("views/browse.py", label=label, icon=":material/grid_view:", query_params=to)
    _gallery("exact", exact, context, look, _("Files with these words"))
    if similar:
        heading = counted("{n} similar file, best first", "{n} similar files, best first", len(similar))
        if len(similar) >= query.limit:
            heading = _("The first {n} similar files, best first", n=len(similar))
        st.markdown(f"#### {heading}")
        _gallery("similar", similar, context, look, _("Similar files"))
    elif exact and not found.notes:
        st.caption(_("No other file is similar enough."))


def alike(hits: Hits, name: str, by: By, query: SearchQuery | None, look: Exposure) -> None:
    """Draw what a search by a picture has found. `query`: with which it is searched again; None: it cannot be."""
    of = draw.escape(name)
    if not hits.hits and by == "faces":
        st.info(_("No other analysed file that passes the filters shows a face of {name}.", name=of))
    elif not hits.hits:
        st.info(_("No other analysed file that passes the filters looks like {name}.", name=of))
    elif by == "faces":
        st.markdown(f"#### {_('{n} with a face of {name}', n=len(hits.hits), name=of)}")
    else:
        st.markdown(f"#### {_('{n} like {name}', n=len(hits.hits), name=of)}")
    how_long(query)
    context = [*page.case_pairs(), *(address.search(query) if query else [])]
    _gallery("alike", hits.hits, context, look, _("Hits"))


def how_long(query: SearchQuery | None) -> None:
    """Say for how long an upload can be searched by again. `query`: as of `alike`."""
    if query is None:
        st.caption(_("The picture could not be kept: this search is lost when the page is reloaded."))
    elif query.picture is not None:
        st.caption(
            _(
                "This address works for an hour, and only for you: whoever else is to search by this picture has to "
                "choose it again. The address of a search for more like a scanned file works for everybody who may see "
                "that file."
            )
        )


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


def _gallery(key: str, hits: list[Hit], context: Pairs, look: Exposure, label: str) -> None:
    if hits:
        palette = page.palette()
        tiles = [draw.hit_tile(hit, palette, context) for hit in hits]
        components.gallery(key, tiles, label, look, focus=st.session_state.get("left", ""))
