"""The three parts that Streamlit does not have: tiles of files, filters with counts, the viewer of one file.

Each is a script and a style sheet in this folder, given to Streamlit as text: nothing is built or fetched.
"""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import streamlit as st

from app.draw import CUE, CUES, Tile
from app.draw_file import Viewer


class Option(TypedDict):
    """A choice of a filter, with how many files it stands for."""

    value: str  # what the page's address holds
    text: str  # what the viewer reads
    count: int
    chosen: bool
    color: str


class Group(TypedDict):
    """A filter: the name it has in the page's address, its heading and its options."""

    name: str
    title: str
    options: list[Option]


class Ways(TypedDict, total=False):
    """Where the viewer's links lead. A neighbour that does not exist is None; without the key there is no link."""

    back: str
    where: str
    previous: str | None
    next: str | None


def gallery(
    key: str, items: list[Tile], label: str, look: tuple[bool, bool], strip: bool = False, focus: str = ""
) -> None:
    """Draw tiles, each a link to its file. Look: whether to blur and to grey; focus: the id of the tile to start at."""
    _warn(chip["text"] for tile in items for chip in tile["chips"])
    data = {"items": items, "label": label, "blur": look[0], "grey": look[1], "strip": strip, "focus": focus}
    _component("gallery")(key=key, data=data)


def facets(key: str, groups: list[Group], on_choose: Callable[[], None]) -> None:
    """Draw filters; on_choose finds {name, value, chosen} in the session state under key, as `choose`."""
    _warn(option["text"] for group in groups for option in group["options"])
    _component("facets")(key=key, data={"groups": groups}, on_choose_change=on_choose)


def viewer(key: str, file: Viewer, ways: Ways, look: tuple[bool, bool]) -> None:
    """Draw one file with its links."""
    data = {"file": file, "ways": ways, "blur": look[0], "grey": look[1]}
    _component("viewer", "table")(key=key, data=data)


def _warn(labels: Iterable[str]) -> None:
    """Say what cues are worth wherever one is shown."""
    if any(label.startswith(CUE) for label in labels):
        st.caption(CUES)


@cache
def _component(name: str, *scripts: str) -> Any:
    here = Path(__file__).parent
    script = "\n".join((here / f"{part}.js").read_text() for part in ("dom", *scripts, name))
    return st.components.v2.component(f"raysift_{name}", css=(here / f"{name}.css").read_text(), js=script)
