"""The files of the Browse page as a table, with a row for each: its findings, decision, job and date."""

from collections.abc import Sequence
from typing import Any, Literal

import streamlit as st

from app import address, draw, page
from app.address import Pairs
from app.browsing import selection
from app.language.formats import date_input, number
from app.language.texts import N_, _
from cluster.api_types import Asset

View = Literal["gallery", "table"]
_VIEWS: dict[View, str] = {"gallery": N_("Gallery"), "table": N_("Table")}
_NAME = N_("Name")
_KEY = "view"  # of the URL and the session
_MOST_ROWS, _HEIGHT_PX = 20, 740  # a table of more rows scrolls


def choose() -> View:
    """Draw the choice of how the files are shown; returns it. The URL names it; else it stays as in the session."""
    asked = st.query_params.get(_KEY)
    chosen: View = "table" if asked == "table" else st.session_state.get(_KEY, "gallery")
    _keep(chosen)
    page.choose(_("Show as"), _VIEWS, chosen, _KEY, _keep)
    return chosen


def _keep(view: View) -> None:
    st.session_state[_KEY] = view
    if view == "table":
        st.query_params[_KEY] = view
    else:
        st.query_params.pop(_KEY, None)


def show(files: Sequence[Asset], context: Pairs) -> None:
    """Draw the files. A click on a name opens the file; `context`: the list that it is then one of."""
    ids = [file.id for file in files]
    # what is ticked is kept by position, and a cell stays chosen: other files and each other choice need a new table
    key = f"table {selection.turn()} {' '.join(ids)}"
    picked = selection.selected()
    chosen: Any = st.dataframe(
        [row(file) for file in files],
        key=key,
        hide_index=True,
        height=_HEIGHT_PX if len(files) > _MOST_ROWS else "content",
        on_select=lambda: selection.take_rows(key, ids),
        selection_mode=["multi-row", "single-cell"],
        selection_default={"selection": {"rows": [n for n, id in enumerate(ids) if id in picked]}},
        column_config={
            _(_NAME): st.column_config.TextColumn(width="medium", help=_("A click opens the file.")),
            _("Size"): st.column_config.NumberColumn(format="bytes"),
            _("Findings"): st.column_config.TextColumn(width="large"),
            # a time and no text: a German one would be sorted by the day of the month
            _("Analysed"): st.column_config.DatetimeColumn(format=f"{date_input()} HH:mm"),
        },
    )
    st.caption(_("A click on a name opens the file; one on a heading sorts the files of this page."))
    for place, column in chosen.selection.get("cells", []):
        if column == _(_NAME):
            selection.next_turn()
            st.switch_page("views/file.py", query_params=address.of_file(ids[place], context))


def row(file: Asset) -> dict[str, str | int | None]:
    """The row of a file."""
    findings = [f"{draw.times(label.label, label.count)} {number(label.score, 2)}" for label in file.labels]
    return {
        _(_NAME): file.name,
        _("Kind"): _(file.kind or "unknown"),
        _("Size"): file.bytes,
        _("Findings"): ", ".join(findings) or "; ".join(draw.failures(file.errors)),
        _("Decision"): file.decision or "",
        _("Job"): file.job or "",
        _("Analysed"): file.analyzed_at[:16].replace("T", " "),
    }
