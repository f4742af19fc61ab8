"""Where a file says that it was made: a point in a map of the world's coasts. No other server is asked for it.

land-110m.json is that of the npm package world-atlas 2.0.2 (ISC licence): the land of Natural Earth 1:110m, which is in
the public domain, as TopoJSON.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import altair as alt
import streamlit as st

from app.language.formats import chart_locale, number
from app.language.texts import _

WIDTH_PX, HEIGHT_PX = 460, 230
GREY, RED = "#8a979e", "#d1352b"  # seen on light and dark backgrounds
_OUTLINE = {"stroke": GREY, "aria": False}  # the chart as a whole is described
Position = tuple[float, float]


def told_of(state: Any, asset: str) -> Position | None:
    """Latitude and longitude that the viewer has told of this file; None if it has not, or not of this one."""
    told = (state or {}).get("position") or {}
    at = told.get("at")
    if told.get("asset") != asset or not isinstance(at, list | tuple) or len(at) != 2:
        return None
    latitude, longitude = at
    numbers = isinstance(latitude, int | float) and isinstance(longitude, int | float)
    return (latitude, longitude) if numbers and abs(latitude) <= 90 and abs(longitude) <= 180 else None


def show(position: Position) -> None:
    """Draw the map with the point, and the numbers beside it."""
    st.markdown(f"##### {_('Position')}")
    with st.container(horizontal=True, vertical_alignment="center"):
        with st.container(width=WIDTH_PX):
            st.altair_chart(chart(position), alt=in_words(position))
        with st.container(width=260):
            st.markdown(in_words(position))
            st.caption(_("The file says so itself. Coasts: Natural Earth, 1:110 million; no other server is asked."))


def in_words(position: Position) -> str:
    """The position in degrees, with its hemispheres."""
    latitude, longitude = position
    north = _("{degrees}° N", degrees=number(latitude, 4)) if latitude >= 0 else ""
    north = north or _("{degrees}° S", degrees=number(-latitude, 4))
    east = _("{degrees}° E", degrees=number(longitude, 4)) if longitude >= 0 else ""
    return f"{north}, {east or _('{degrees}° W', degrees=number(-longitude, 4))}"


def chart(position: Position) -> Any:
    """The coasts of the world, and the point."""
    latitude, longitude = position
    land = alt.Data(values=_land(), format=alt.TopoDataFormat(type="topojson", feature="land"))
    at = alt.Data(values=[{"latitude": latitude, "longitude": longitude}])
    coasts = alt.Chart(land).mark_geoshape(**_OUTLINE, fill=GREY, fillOpacity=0.3, strokeWidth=0.6)
    edge = alt.Chart(alt.sphere()).mark_geoshape(**_OUTLINE, fill=None, strokeOpacity=0.5)
    point = alt.Chart(at).mark_circle(size=110, color=RED, opacity=1, stroke="white", strokeWidth=1.5)
    point = point.encode(longitude="longitude:Q", latitude="latitude:Q", tooltip=alt.value(in_words(position)))
    drawn = alt.layer(edge, coasts, point).project("equalEarth").properties(height=HEIGHT_PX)
    return drawn.configure_view(stroke=None).configure(locale={"number": chart_locale()})


@cache
def _land() -> Any:
    return json.loads((Path(__file__).parent / "land-110m.json").read_text())
