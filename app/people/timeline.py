"""When a person is seen in films: a chart with a row for each film, of which each bar leads to its second."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import streamlit as st

from app import address, draw
from app.address import Pairs
from app.figures.drawing import COLOR, MARGIN_PX, ROW_PX
from app.language.formats import number
from app.language.texts import _
from cluster.filters.wording import clock
from cluster.people.api_types import Appearance

MOST_FILMS = 12  # rows; those with the most faces are shown
_LEAST = 0.004  # of the longest film: a bar is not narrower
_CLOCK = """(datum.value >= 3600 ? floor(datum.value / 3600) + ':' + format(floor(datum.value / 60) % 60, '02')
    : floor(datum.value / 60)) + ':' + format(floor(datum.value) % 60, '02')"""


def show(appearances: Sequence[Appearance], context: Pairs) -> None:
    """Draw the films of a person, if there are any. A click on a bar opens the film at that second."""
    films = [appearance for appearance in appearances if appearance.spans]
    if not films:
        return
    shown = films[:MOST_FILMS]
    turn = st.session_state.get("figure_turn", 0)  # a new key after each click, or the bar would still be chosen
    chosen: Any = st.altair_chart(
        chart(shown), key=f"timeline {turn}", on_select="rerun", selection_mode="bar", alt=described(shown)
    )
    if len(films) > len(shown):
        st.caption(_("The {n} films with the most faces, of {total}.", n=len(shown), total=number(len(films))))
    for point in chosen.selection.get("bar", []):
        film, start = shown[int(point["film"])], float(point["start"])
        st.session_state["figure_turn"] = turn + 1
        st.switch_page("views/file.py", query_params=address.of_file(film.asset, context, start))


def described(films: Sequence[Appearance]) -> str:
    """The chart in words, for who does not see it."""
    parts = []
    for film in films:
        spans = (_words(*span) for span in film.spans)
        parts.append(f"{film.name}: {', '.join(spans)}")
    return _("When the person is seen, {films}", films="; ".join(parts))


def chart(films: Sequence[Appearance]) -> Any:
    """A row for each film, as long as the film, with a bar for each time in which the person is seen."""
    ends = [max(film.duration_s or 0.0, film.spans[-1][1]) for film in films]
    longest = max(ends) or 1.0
    names = [f"{draw.shorten(film.name, 40)}{' ' * n}" for n, film in enumerate(films)]  # two files may have one name
    bars = [
        {
            "film": n,
            "name": names[n],
            "start": start,
            "from": start,
            "to": max(end, start + _LEAST * longest),
            "when": _words(start, end),
        }
        for n, film in enumerate(films)
        for start, end in film.spans
    ]
    y = alt.Y(
        "name:N",
        sort=names,
        title=None,
        axis=alt.Axis(labelLimit=220, labelFontSize=13, ticks=False, domain=False, labelPadding=8),
    )
    x = alt.X(
        "from:Q",
        title=None,
        scale=alt.Scale(domain=[0, longest], nice=False),
        axis=alt.Axis(labelExpr=_CLOCK, grid=False, tickCount=6),
    )
    lengths = alt.Data(values=[{"name": name, "from": 0, "to": end} for name, end in zip(names, ends, strict=True)])
    bar = alt.selection_point(name="bar", fields=["film", "start"], on="click", clear=False, toggle=False)
    tooltip = [alt.Tooltip("name:N", title=_("file")), alt.Tooltip("when:N", title=_("seen"))]
    whole = alt.Chart(lengths).mark_bar(height=4, opacity=0.25, color="#8a979e").encode(x=x, x2="to:Q", y=y)
    seen = alt.Chart(alt.Data(values=bars)).mark_bar(height=16, cornerRadius=2, cursor="pointer", color=COLOR)
    shown = seen.encode(x=x, x2="to:Q", y=y, tooltip=tooltip).add_params(bar)
    return (whole + shown).properties(height=ROW_PX * len(films) + 2 * MARGIN_PX)


def _words(start: float, end: float) -> str:
    if clock(start) == clock(end):
        return clock(start)
    return _("{start} to {end}", start=clock(start), end=clock(end))
