"""Custom Streamlit components: a gallery of files, filters with counts, conditions, a viewer of one file, and keys.

Each is a script and a style sheet in this folder, passed to Streamlit as text: there is no build step and no download.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import streamlit as st

from app.draw import CUE, CUES, Tile
from app.draw_file import Viewer
from app.language.choice import Language, current
from app.language.texts import _, used_in
from app.viewing.ways import Ways
from cluster.exposure.exposure import Exposure

# the scripts of the viewer, in the order in which they need each other
_PARTS = ("table", "thresholds", "lines", "picture", "region", "copy", "reveal", "stage", "timeline")
_VIEWER = [f"viewer/{part}" for part in _PARTS]


class Option(TypedDict):
    """An option of a filter, with the number of files that have it."""

    value: str  # in the page's URL
    text: str  # shown to the user
    count: int
    chosen: bool
    color: str
    condition: str  # that the files with this option meet, as in `where`; empty: it is not offered


class Group(TypedDict):
    """A filter: its parameter in the page's URL, its heading and its options."""

    name: str
    title: str
    options: list[Option]


def gallery(
    key: str,
    items: list[Tile],
    label: str,
    look: Exposure,
    strip: bool = False,
    small: bool = False,
    focus: str = "",
    picked: Sequence[str] | None = None,
    on_pick: Callable[[], None] | None = None,
) -> None:
    """Draw tiles, each a link to its file. `look`: what is seen before one is revealed; `focus`: the tile to focus.

    `strip`: in one row that scrolls; `small`: more of them in a row.

    `picked`: ids of the files that are selected; None: files cannot be. A selection sets session_state[key].pick to
    {id: whether it is selected} and calls on_pick.
    """
    _warn(chip["text"] for tile in items for chip in tile["chips"])
    data = {"items": items, "label": label, "strip": strip, "small": small, "focus": focus, **_shown(look)}
    callbacks = {"on_pick_change": on_pick} if on_pick else {}
    _component(current(), "gallery")(key=key, data={**data, "picked": picked}, **callbacks)


def conditions(key: str, texts: list[list[str]], on_remove: Callable[[], None]) -> None:
    """Draw conditions, each a list of alternatives in words.

    A click on one sets session_state[key].remove to {condition, alternative}, their places, and calls on_remove.
    """
    _component(current(), "conditions")(key=key, data={"conditions": texts}, on_remove_change=on_remove)


def facets(key: str, groups: list[Group], on_choose: Callable[[], None], sorts: bool = False) -> None:
    """Draw filters. A click sets session_state[key].choose to {name, value, chosen} and calls on_choose.

    `sorts`: whether files can be sorted by the score of a label or detector; the name is then `score_of`.
    """
    _warn(option["text"] for group in groups for option in group["options"])
    _component(current(), "facets")(key=key, data={"groups": groups, "sorts": sorts}, on_choose_change=on_choose)


def viewer(key: str, file: Viewer, ways: Ways, look: Exposure, tells: bool = False) -> Any:
    """Draw one file with its links; returns its state.

    `tells`: `position` of the state is {asset, at}, latitude and longitude, once the browser knows that it has one.
    """
    data = {"file": file, "ways": ways, "tells": tells, **_shown(look)}
    callbacks = {"on_position_change": lambda: None} if tells else {}
    return _component(current(), "viewer/viewer", *_VIEWER)(key=key, data=data, **callbacks)


def keys() -> None:
    """Let the keys / and r lead to the Search and Review pages. It draws nothing, and takes no room."""
    st.html("<style>.st-key-keys { position: absolute }</style>")
    _component(current(), "keys")(key="keys")


def _shown(look: Exposure) -> dict[str, Any]:
    return look.model_dump(include={"blur", "colours", "muted", "thumbnails"})


def _warn(labels: Iterable[str]) -> None:
    """Draw the warning about false positives if one of the labels is a cue."""
    if any(label.startswith(CUE) for label in labels):
        st.caption(_(CUES))


@cache
def _component(language: Language, name: str, *scripts: str) -> Any:
    """A component in a language: its script begins with the texts that it has, as the catalogue translates them."""
    here = Path(__file__).parent
    script = "\n".join((here / f"{part}.js").read_text() for part in ("language", "dom", *scripts, name))
    texts = json.dumps(used_in(script, language), ensure_ascii=False)
    style = here / f"{name}.css"
    css = style.read_text() if style.exists() else None
    head = f"const LANGUAGE = {json.dumps(language)}\nconst TEXTS = {texts}\n"
    own = f"raysift_{name.rpartition('/')[2]}"
    return st.components.v2.component(own if language == "en" else f"{own}_{language}", css=css, js=head + script)
