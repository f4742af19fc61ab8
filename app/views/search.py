"""The Search page: files with words (?q), or like a picture, or both.

The picture is a scanned file (?like=ID), an upload (?picture=ID) or a region of a file
(?asset=ID&box=LEFT,TOP,RIGHT,BOTTOM, of a film with &at_s=SECOND).

?by=faces searches for the faces of a picture instead of its appearance. The URL has Browse's filters too.
"""

from collections.abc import Callable
from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app import address, draw, page
from app.browsing import builder, filters
from app.client import ApiError
from app.language.texts import _
from app.search import hits, picture
from app.viewing import exposure
from cluster.api_queries import AssetFilter, SearchQuery
from cluster.api_types import Hits
from cluster.exposure.exposure import Exposure

_TYPED = "words typed"  # in the session, while a change of the words is drawn: the URL has them only then
_BY_JSON: dict[str | type[Any], Callable[[Any], Any]] = {SearchQuery: lambda query: query.model_dump_json()}


@st.cache_data(ttl=15, max_entries=64, show_spinner=False, hash_funcs=_BY_JSON)
def _found(api: str, query: SearchQuery) -> Hits:
    return page.api().search(query)


def show() -> None:
    """Draw the page."""
    # the session still has the words of a search before, which the address of this one does not have
    if picture.in_url() and "q" not in st.query_params and not st.session_state.pop(_TYPED, False):
        st.session_state["q"] = ""
    with st.container(horizontal=True, vertical_alignment="center"):
        words = st.text_input(
            _("Search"),
            key="q",
            bind="query-params",
            placeholder=_("Words that are said, written or seen"),
            label_visibility="collapsed",
            icon=":material/search:",
            width=460,
            on_change=_type,
            disabled=page.is_down(),
        )
        upload = picture.choose()
        filters_here = st.container(width="content")
        st.space("stretch")
        look = exposure.look()
    chosen = filters.sidebar(page.caller())
    with filters_here:
        builder.show(chosen.draw_counts(), list(page.palette()), chosen.query.where)
    filters.conditions(chosen.query.where)
    pairs = [*page.case_pairs(), *address.filters(chosen.query)]
    what = [(name, st.query_params.get(name, "")) for name in (*address.PICTURES, "box", "at_s", "by")]
    query = address.search_of([*pairs, *what, ("q", words or "")])
    if upload is not None or (query is not None and query.has_picture):
        _by_picture(query, upload, (words or "").strip(), chosen.query, look)
    elif query is not None:
        found = _searched(query)
        _note(found)
        hits.of_words(query, found, look)
    else:
        st.info(
            _(
                "Type what a picture shows, what is written in it, or what somebody says; or choose a picture; or both."
                " Files with exactly these words come first. The filters in the sidebar apply."
            )
        )
    st.session_state.pop("left", None)


def _type() -> None:
    st.session_state[_TYPED] = True


def _by_picture(
    query: SearchQuery | None, upload: UploadedFile | None, words: str, wanted: AssetFilter, look: Exposure
) -> None:
    """Draw the search by the picture of the URL, or else by the upload, and by the words, if there are any."""
    with st.container(horizontal=True, vertical_alignment="center"):
        picture.choose_by(query, upload)
        picture.forget_button()
    sent = picture.last()
    if upload is not None and (query is None or not query.has_picture):
        with st.spinner(_("Searching")):
            sent = picture.send(upload, words, wanted)
        query = sent.again
    if sent is not None and sent.again == query:
        found = sent.hits
    else:
        assert query is not None  # else it was sent
        try:
            found = _searched(query)
        except ApiError as error:
            if error.status != 404 or query.picture is None:
                raise
            st.info(f"{draw.escape(error.sentence[:1].upper() + error.sentence[1:])}.")
            return
    _note(found)
    name = _name(query, sent)
    if not words:
        hits.alike(found, name, picture.by(), query, look)
        return
    st.markdown(_("These words with {name}: files that match both come before others.", name=draw.escape(name)))
    hits.how_long(query)
    hits.of_words(query or SearchQuery(**wanted.model_dump(exclude_defaults=True), q=words), found, look)


def _searched(query: SearchQuery) -> Hits:
    with st.spinner(_("Searching")):
        return _found(page.caller(), query)


def _note(found: Hits) -> None:
    if found.notes:
        st.warning(_("The search is incomplete. {why}", why=draw.escape("; ".join(found.notes))))


def _name(query: SearchQuery | None, sent: picture.Sent | None) -> str:
    """The name of the picture that is searched by. That of an upload is lost with the session."""
    if query is not None and query.like is not None:
        return page.api().asset(query.like).name
    if query is not None and query.asset is not None:
        return _("a region of {name}", name=page.api().asset(query.asset).name)
    id = query.picture if query else None
    is_sent = sent is not None and (sent.again.picture if sent.again else None) == id
    return sent.name if sent is not None and is_sent else _("your picture")


with page.guarded():
    show()
