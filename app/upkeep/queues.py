"""A picture of the calls at the detectors over the last minutes, as long as the page has been open."""

import time
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from app import page
from app.language.formats import chart_locale
from app.language.texts import _
from cluster.upkeep.api_types import ClusterState

KEPT_S = 600.0
LEAST = 3  # points, before a line says something
HEIGHT_PX = 220
_POINTS = "calls at the detectors"  # in the session: (time, detector, calls that wait or run)


def keep(state: ClusterState) -> list[tuple[float, str, int]]:
    """Add the present number of calls of each detector to those of the session; returns all of them."""
    now = time.time()
    points: list[tuple[float, str, int]] = st.session_state.get(_POINTS, [])
    points = [point for point in points if now - point[0] <= KEPT_S]
    if "metrics" not in state.unread:
        calls = {load.name: (load.waiting or 0) + (load.working or 0) for load in state.detectors}
        points += [(now, name, n) for name, n in calls.items()]
    st.session_state[_POINTS] = points
    return points


def draw(state: ClusterState) -> None:
    """Draw the lines of the detectors that have had calls; nothing while there are none."""
    points = keep(state)
    busy = {name for _at, name, n in points if n}
    if not busy or len({at for at, _name, _n in points}) < LEAST:
        return
    st.markdown(f"##### {_('Calls at the detectors')}")
    colors = {name: color for name, color in page.palette().items() if name in busy}
    st.altair_chart(chart(points, colors), key="queues", alt=_("Calls that wait or run, by detector and time"))


def chart(points: list[tuple[float, str, int]], colors: dict[str, str]) -> Any:
    """The lines. The data stands apart from the drawing, so that a refresh moves the lines and draws nothing anew."""
    shown = [point for point in points if point[1] in colors]
    table = pd.DataFrame(shown, columns=["at", "detector", "calls"])
    table["at"] = pd.to_datetime(table["at"], unit="s", utc=True)
    scale = alt.Scale(domain=list(colors), range=list(colors.values()))
    return (
        alt.Chart(table)
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(
            x=alt.X("at:T", axis=alt.Axis(title=None, format="%H:%M:%S", tickCount=5, labelOverlap=True)),
            y=alt.Y("calls:Q", axis=alt.Axis(title=None, tickMinStep=1, tickCount=3)),
            color=alt.Color("detector:N", scale=scale, legend=alt.Legend(title=None, orient="top")),
            tooltip=[
                alt.Tooltip("detector:N", title=_("Detector")),
                alt.Tooltip("calls:Q", title=_("Calls")),
                alt.Tooltip("at:T", title=_("Time"), format="%H:%M:%S"),
            ],
        )
        .properties(height=HEIGHT_PX)
        .configure(locale={"number": chart_locale()})
    )
