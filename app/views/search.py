"""One box for words: finds pictures, read text and speech. With ?like=ID, what looks like that file."""

import re

import streamlit as st

from app import components, draw, page
from app.answers import Hit

_ID = re.compile(r"[0-9a-f]{32}")


@st.cache_data(ttl=15, max_entries=64, show_spinner=False)
def _hits(door: str, words: str, like: str) -> list[Hit]:
    return page.door().alike(like) if like else page.door().search(words)


def _words_only() -> None:
    st.query_params.pop("like", None)


def show() -> None:
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
        st.space("stretch")
        look = page.look()
    words = (words or "").strip()
    like = st.query_params.get("like", "")
    like = like if _ID.fullmatch(like) else ""
    if not words and not like:
        st.info("Type what a picture shows, what is written in it, or what somebody says. Exact words come first.")
        return
    door = page.door().url
    with st.spinner("Searching"):
        hits = _hits(door, words, like)
    if like:
        name = page.door().asset(like).get("name", "")
        st.markdown(f"##### {len(hits)} like {draw.plain(name)}")
    if not hits:
        st.info("Nothing was found. Fewer or plainer words find more; only files that were analysed can be found.")
        return
    if not like:
        st.markdown(f"##### {len(hits)} {'file' if len(hits) == 1 else 'files'}, best first")
    palette = page.palette()
    context = [("like", like)] if like else [("q", words)]
    tiles = [draw.hit_tile(hit, palette, context) for hit in hits]
    components.gallery("hits", tiles, "Hits", look, focus=st.session_state.pop("left", ""))


with page.guarded():
    show()
