"""The files that are selected on the Browse page, in this session, and what can be done with them."""

from collections.abc import Sequence

import streamlit as st

from app import address, page
from app.client import ApiDownError, ApiError
from app.language.formats import number
from app.language.texts import N_, _
from cluster.api_queries import MAX_IDS, AssetQuery
from cluster.api_types import AssetPage
from cluster.records import ExportFormat, Pictures, ReportFormat

FORMATS: dict[ExportFormat, str] = {
    "csv": N_("CSV, a row for each detection"),
    "jsonl": N_("JSON lines, a line for each file"),
    "parquet": N_("Parquet, a row for each file"),
    "coco": N_("COCO, boxes in pictures"),
}
REPORTS: dict[ReportFormat, str] = {"pdf": N_("Report, PDF"), "html": N_("Report, one HTML file")}
PICTURES: dict[Pictures, str] = {"blurred": N_("Blurred"), "plain": N_("Not blurred"), "none": N_("None")}
# in the session: ids of files, in the order in which they were selected; how often they were so outside of the table
_KEY, _TURN = "selected", "selection turn"


def selected() -> list[str]:
    """The ids of the selected files, at most MAX_IDS."""
    return st.session_state.get(_KEY, [])


def pick() -> None:
    """Take over what was clicked in the gallery `tiles`."""
    changes: dict[str, bool] = st.session_state["tiles"].pick
    _select([id for id, on in changes.items() if on], [id for id, on in changes.items() if not on])


def take_rows(table: str, ids: Sequence[str]) -> None:
    """Take over which rows are ticked in the table of these files."""
    ticked = [ids[place] for place in st.session_state[table].selection.get("rows", [])]
    _keep(ticked, [id for id in ids if id not in ticked])


def turn() -> int:
    """A number that changes when the selection is changed elsewhere than in the table, which has to be drawn anew."""
    number: int = st.session_state.get(_TURN, 0)
    return number


def next_turn() -> None:
    """Have the table drawn anew."""
    st.session_state[_TURN] = turn() + 1


def exports(filters: AssetQuery) -> None:
    """Draw the links that download an export or report of the selected files, or of all that pass the filters."""
    with st.popover(_("Export"), icon=":material/download:"):
        ids = selected()
        what, query = _("The files that pass these filters, each with all that was found in it."), filters
        if ids and st.toggle(_("Only the {n} selected", n=number(len(ids))), True, key="export selected"):
            what = _("The selected files, each with all that was found in it.")
            query = AssetQuery(id=tuple(ids), case=filters.case)
        st.caption(what)
        for format, text in FORMATS.items():
            page.link(address.export(query, format), _(text))
        if page.may("reviewer"):
            _reports(query)


def _reports(query: AssetQuery) -> None:
    """Draw the links that download a report, and the choice of its pictures."""
    st.caption(_("A report for people: hashes, findings, decisions, methods, chain of custody. It is in English."))
    pictures = st.segmented_control(
        _("Pictures in the report"),
        list(PICTURES),
        default="blurred",
        format_func={each: _(text) for each, text in PICTURES.items()}.__getitem__,
        required=True,
    )
    for format, text in REPORTS.items():
        page.link(address.report(query, format, pictures), _(text))


def bar(filters: AssetQuery, files: AssetPage) -> None:
    """Draw how many files are selected, with buttons that select more, and none, in the container that is open.

    `files`: the page that is shown of those that pass the filters. The bar is always there, so that the first selected
    file does not move the others.
    """
    ids = selected()
    help = _("Tick files, or press x; with Shift, all in between.")
    st.markdown(_("{n} selected", n=number(len(ids))), width="content", help=help)
    if files.total <= MAX_IDS:
        all = _("Select all {n}", n=number(files.total))
        st.button(all, type="tertiary", on_click=_select_all, args=(filters,))
    else:
        here = [file.id for file in files.items]
        st.button(_("Select this page"), type="tertiary", on_click=_select, args=(here, []))
    st.button(_("Select none"), type="tertiary", disabled=not ids, on_click=_clear)
    if len(ids) == MAX_IDS:
        most = _("{n} is the most; Export can have all that pass the filters.", n=number(MAX_IDS))
        st.caption(most, width="content")


def _select_all(filters: AssetQuery) -> None:
    try:
        files = page.api().assets(filters.model_copy(update={"page": 1, "size": MAX_IDS}))
    except (ApiError, ApiDownError):
        st.toast(_("The files could not be selected, as the API did not list them. Try again."))
        return
    _select([file.id for file in files.items], [])


def _select(on: list[str], off: list[str]) -> None:
    _keep(on, off)
    next_turn()


def _keep(on: list[str], off: list[str]) -> None:
    kept = [id for id in selected() if id not in off]
    st.session_state[_KEY] = list(dict.fromkeys([*kept, *on]))[:MAX_IDS]


def _clear() -> None:
    st.session_state[_KEY] = []
    next_turn()
