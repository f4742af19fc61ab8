"""The files of a person in which a word is read or said, or that are called so."""

from collections.abc import Iterator, Sequence

import streamlit as st

from app import components, draw, page
from app.address import Pairs
from app.language.texts import _, counted
from cluster.api_queries import MAX_IDS, AssetQuery
from cluster.api_types import Asset
from cluster.exposure.exposure import Exposure
from cluster.filters.conditions import Alternative, Detected, Fact, write
from cluster.people.api_types import Appearance

KEY, MOST_WORDS = "words", 200  # its parameter of the URL; characters


def show(appearances: Sequence[Appearance], context: Pairs, look: Exposure) -> bool:
    """Draw the field for the words and, with words in it, the files; returns whether there are any words.

    `context`: the list that a file is then one of.
    """
    typed = st.text_input(
        _("Words in these files"),
        key=KEY,
        bind="query-params",
        placeholder=_("that are read or said"),
        icon=":material/search:",
        width=320,
        max_chars=MOST_WORDS,
        disabled=page.is_down(),
    )
    words = " ".join((typed or "").lower().split())
    if not words:
        return False
    found = list(_files(words, [file.asset for file in appearances]))
    title = counted("{n} file with “{words}”", "{n} files with “{words}”", len(found), words=draw.escape(words))
    st.markdown(f"#### {title}")
    palette = page.palette()
    components.gallery("with words", [draw.tile(file, palette, context) for file in found], _("Files"), look)
    return True


def _files(words: str, ids: Sequence[str]) -> Iterator[Asset]:
    condition = write([Alternative(Detected(words=words)), Alternative(Fact("name", "~", words))])
    for begin in range(0, len(ids), MAX_IDS):
        some = tuple(ids[begin : begin + MAX_IDS])
        yield from page.api().assets(AssetQuery(id=some, where=(condition,), case=page.case(), size=MAX_IDS)).items
