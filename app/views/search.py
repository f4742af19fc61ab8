"""The Search page: files with words (?q), like a scanned file (?like=ID) or like an upload (?picture=ID).

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

_BY_JSON: dict[str | type[Any], Callable[[Any], Any]] = {SearchQuery: lambda query: query.model_dump_json()}


@st.cache_data(ttl=15, max_entries=64, show_spinner=False, hash_funcs=_BY_JSON)
def _found(api: str, query: SearchQuery) -> Hits:
    return page.api().search(query)


def show() -> None:
    """Draw the page."""
    if st.query_params.get("like") or st.query_params.get("picture"):  # the session still has the words of before
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
            on_change=picture.forget,
            disabled=page.is_down(),
        )
        upload = picture.choose()
        filters_here = st.container(width="content")
        st.space("stretch")
        look = exposure.look()
    chosen = filters.sidebar(page.caller())
    with filters_here:
        builder.show(chosen.labels, list(page.palette()), chosen.query.where)
    filters.conditions(chosen.query.where)
    pairs = [*page.case_pairs(), *address.filters(chosen.query)]
    what = [(name, st.query_params.get(name, "")) for name in ("like", "picture", "by")]
    query = address.search_of([*pairs, *what, ("q", words or "")])
    if query is None and upload is None:
        st.info(
            _(
                "Type what a picture shows, what is written in it, or what somebody says; or choose a picture. Files "
                "with exactly these words come first. The filters in the sidebar apply."
            )
        )
    elif query is not None and query.q is not None:
        found = _searched(query)
        _note(found)
        hits.of_words(query, found, look)
    else:
        _by_picture(query, upload, chosen.query, look)
    st.session_state.pop("left", None)


def _by_picture(query: SearchQuery | None, upload: UploadedFile | None, wanted: AssetFilter, look: Exposure) -> None:
    """Draw the search by the picture of the URL, or else by the upload."""
    picture.choose_by(query, upload)
    sent = picture.last()
    if query is None and upload is not None:
        with st.spinner(_("Searching")):
            sent = picture.send(upload, wanted)
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
    hits.alike(found, _name(query, sent), picture.by(), query, look)


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
    id = query.picture if query else None
    is_sent = sent is not None and (sent.again.picture if sent.again else None) == id
    return sent.name if sent is not None and is_sent else _("your picture")


with page.guarded():
    show()
