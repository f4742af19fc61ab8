"""Draws a figure as an Altair chart, of which each bar is a link, or as a table of links."""

import html
from typing import Any

import altair as alt
import streamlit as st

from app import address, draw
from app.address import Pairs
from app.figures.figure import LONGEST, SECONDS, Figure, Row
from app.language.formats import chart_locale, number
from app.language.texts import _

VIEWS = {"": "views/browse.py", "left_out": "views/left_out.py"}  # path of a page -> its script
ROW_PX, UPRIGHT_PX, MARGIN_PX = 26, 150, 14  # height of a bar with its gap; of a chart with columns; of its margin
COLOR = "#2b8ba3"  # of bars that belong to no detector; it is seen on light and dark backgrounds
FEW = 12  # columns that are not as wide as there is room


def show(figure: Figure, as_table: bool) -> None:
    """Draw a figure with its title. A click on a bar opens the list of its files."""
    st.markdown(f"##### {draw.escape(figure.title)}", help=figure.help or None)
    if as_table:
        st.markdown(table(figure), unsafe_allow_html=True)
        return
    # a new key after each click, or the bar would still be chosen when the user comes back
    turn = st.session_state.get("figure_turn", 0)
    chosen: Any = st.altair_chart(
        chart(figure), key=f"{figure.name} {turn}", on_select="rerun", selection_mode="bar", alt=figure.described
    )
    for point in chosen.selection.get("bar", []):
        st.session_state["figure_turn"] = turn + 1
        st.switch_page(VIEWS[figure.page], query_params=figure.rows[int(point["n"])].to)


def chart(figure: Figure) -> Any:
    """The bars of a figure: upright columns in their order, or lying bars with their values beside the labels."""
    values = [_values(n, row, figure.unit) for n, row in enumerate(figure.rows)]
    size: dict[str, Any] = {"height": 14}
    if figure.upright:
        size = {"width": 36 if len(values) < FEW else {"band": 0.7}}
    bars = alt.Chart(alt.Data(values=values)).mark_bar(cornerRadiusEnd=2, cursor="pointer", **size)
    text = {"sort": None, "title": None}
    if figure.upright:
        x = alt.X("label:O", axis=alt.Axis(labelAngle=0, labelOverlap=True, ticks=False), **text)
        y = alt.Y("value:Q", axis=alt.Axis(title=None, tickCount=3, tickMinStep=1, format="~s"))
        height = UPRIGHT_PX
    else:
        labels = alt.Axis(labelLimit=420, labelFontSize=13, ticks=False, domain=False, labelPadding=8)
        x, y = alt.X("value:Q", axis=None), alt.Y("shown:O", axis=labels, **text)
        height = ROW_PX * len(values) + MARGIN_PX
    tooltip = [alt.Tooltip("label:N", title=_("value")), alt.Tooltip("files:N", title=_(figure.unit))]
    tooltip += [alt.Tooltip("note:N", title=_("note"))] if any(row.note for row in figure.rows) else []
    color = alt.Color("color:N", scale=None, legend=None)
    bar = alt.selection_point(name="bar", fields=["n"], on="click", clear=False, toggle=False)
    drawn = bars.encode(x=x, y=y, color=color, tooltip=tooltip).properties(height=height).add_params(bar)
    return drawn.configure(locale={"number": chart_locale()})


def _values(n: int, row: Row, unit: str) -> dict[str, Any]:
    value = shown_value(row, unit)
    # the number keeps labels apart that are cut to the same text
    shown = f"{draw.shorten(row.label, LONGEST)}  {value}"
    return {
        "n": n,
        "label": row.label,
        "shown": shown,
        "value": row.value,
        "files": value,
        "note": row.note,
        "color": row.color or COLOR,
    }


def shown_value(row: Row, unit: str) -> str:
    """The value with separators of thousands; seconds with one decimal."""
    return number(row.value, 1 if unit == SECONDS else 0)


def table(figure: Figure) -> str:
    """The figure as an HTML table: label, value as a link to its files, and note."""
    lines = []
    for row in figure.rows:
        if not row.value:
            continue
        value = shown_value(row, figure.unit)
        cells = [html.escape(row.label), link(value, row.to, figure.page), html.escape(row.note)]
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    unit = html.escape(_(figure.unit))
    return f"<table><thead><tr><th></th><th>{unit}</th><th></th></tr></thead><tbody>{''.join(lines)}</tbody></table>"


def link(text: str, to: Pairs, page: str = "") -> str:
    """An HTML link to a page, by its path, with these parameters, in the same tab."""
    return f'<a href="{html.escape(address.href(f"/{page}", to))}" target="_self">{html.escape(text)}</a>'
