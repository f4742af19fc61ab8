"""The Search page: finds images, text and speech by words (?q), or files like a picture.

?like=ID searches by a scanned file, ?picture by an upload; ?by=faces searches for its faces instead of its appearance.
"""

import re

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app import components, draw, page
from app.address import Pairs
from cluster.api_queries import By
from cluster.api_types import Hit, Hits

_ID = re.compile(r"[0-9a-f]{32}")
_FIND: dict[By, str] = {"image": "What looks like it", "faces": "The same face"}


@st.cache_data(ttl=15, max_entries=64, show_spinner=False)
def _found(api: str, words: str, like: str, by: By, case: str | None) -> Hits:
    return Hits(hits=page.api().alike(like, by=by, case=case)) if like else page.api().search(words, case=case)


def _words_only() -> None:
    for name in ("like", "picture", "by"):
        st.query_params.pop(name, None)
    st.session_state["picture_turn"] = st.session_state.get("picture_turn", 0) + 1  # a new key empties the uploader


def _picture_only() -> None:
    for name in ("like", "picture", "by"):
        st.query_params.pop(name, None)
    st.session_state["q"] = ""
    st.session_state.pop("by_picture", None)


def show() -> None:
    """Draw the page."""
    if st.query_params.get("like"):  # the session still has the words of the last search
        st.session_state["q"] = ""
    with st.container(horizontal=True, vertical_alignment="center"):
        words = st.text_input(
            "Search",
            key="q",
            bind="query-params",
            placeholder="Words that are said, written or seen",
            label_visibility="collapsed",
            icon=":material/search:",
            width=560,
            on_change=_words_only,
        )
        _take_picture()
        st.space("stretch")
        look = page.look()
    words = (words or "").strip()
    like = st.query_params.get("like", "")
    like = like if _ID.fullmatch(like) else ""
    by: By = "faces" if st.query_params.get("by") == "faces" else "image"
    kept = st.session_state.get("by_picture") if "picture" in st.query_params else None
    context: Pairs = [("like", like)] if like else [("q", words)]
    if kept:
        (_, by, _), name, hits = kept
        context = [("picture", "1")]
    elif "picture" in st.query_params and not words:
        st.info("That picture is no longer available: uploads are not stored. Choose it again.")
        return
    elif words or like:
        with st.spinner("Searching"):
            found = _found(page.caller(), words, like, by, page.case())
        hits = found.hits
        if found.notes:
            st.warning("The search is incomplete. " + draw.escape("; ".join(found.notes)))
        name = page.api().asset(like).name if like else ""
    else:
        st.info("Type what a picture shows, what is written in it, or what somebody says. Exact words come first.")
        return
    if by == "faces":
        context.append(("by", by))
    context = [*page.case_pairs(), *context]
    _heading(hits, name, by)
    if hits:
        palette = page.palette()
        tiles = [draw.hit_tile(hit, palette, context) for hit in hits]
        components.gallery("hits", tiles, "Hits", look, focus=st.session_state.pop("left", ""))


def _take_picture() -> None:
    """Draw the uploader and search by the upload, again if `Find` changes. The hits are kept in the session."""
    with st.popover("By a picture", icon=":material/image_search:"):
        by = st.radio("Find", list(_FIND), format_func=lambda by: _FIND[by], key="find")
        upload = st.file_uploader(
            "It is sent to the detectors and not stored.",
            key=f"picture{st.session_state.get('picture_turn', 0)}",
            max_upload_size=64,
            on_change=_picture_only,
        )
    if upload is None:
        return
    known = st.session_state.get("by_picture")
    asked = (upload.file_id, by, page.case())
    if known is None or known[0] != asked:
        st.session_state["by_picture"] = (asked, upload.name, _alike(upload, by))
    st.query_params["picture"] = "1"


def _alike(upload: UploadedFile, by: By) -> list[Hit]:
    with st.spinner("Searching"):
        return page.api().alike_upload(upload.name, upload, by, case=page.case())


def _heading(hits: list[Hit], name: str, by: By) -> None:
    if hits and name:
        st.markdown(f"##### {len(hits)} {'with a face of' if by == 'faces' else 'like'} {draw.escape(name)}")
    elif hits:
        st.markdown(f"##### {len(hits)} {'file' if len(hits) == 1 else 'files'}, best first")
    elif by == "faces":
        st.info(f"No other analysed file shows a face of {draw.escape(name)}.")
    else:
        st.info("Nothing was found. Try fewer or simpler words. Only files that were analysed can be found.")


with page.guarded():
    show()
