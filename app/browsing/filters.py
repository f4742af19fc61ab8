"""The filters of the Browse and Search pages: with counts in the sidebar, as conditions above the files."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import address, components, page
from app.browsing import groups, reasons
from app.language import wording
from app.language.texts import _
from cluster.api_queries import AssetQuery
from cluster.api_types import Facet, Facets
from cluster.filters.conditions import parse, write

ALL = AssetQuery()
# cache keys of queries for st.cache_data
BY_JSON: dict[str | type[Any], Callable[[Any], Any]] = {AssetQuery: lambda query: query.model_dump_json()}
# URL parameters that the filters set, beside those of the slider and the text
_CHOICES = ("kind", "detector", "label", "detector_label", "job", "state", "where", "decision", "tag")


class Filters(NamedTuple):
    """The filters that are chosen."""

    query: AssetQuery  # for the first page in the default order
    floors: groups.Floors  # none if weak labels are shown
    draw_counts: Callable[[], list[Facet]]  # draws the options with counts; returns the labels that files have

    @property
    def are_set(self) -> bool:
        """Whether any filter beside the case is chosen."""
        return self.query.model_copy(update={"upto": None, "case": None}) != ALL


@st.cache_data(ttl=5, max_entries=256, show_spinner=False, hash_funcs=BY_JSON)
def _facets(api: str, query: AssetQuery) -> Facets:
    return page.api().facets(query)


def forget() -> None:
    """Empty the cache of counts."""
    _facets.clear()


def sidebar(api: str, upto: Callable[[AssetQuery], str | None] = lambda filters: None, sorts: bool = False) -> Filters:
    """Draw the filters in the sidebar; returns them. `upto`: of the list with these filters, see AssetFilter.

    The counts of a million files take longer than a page of them, so they are drawn later, by `draw_counts`.
    `sorts`: whether they offer to sort the files by the score of a label.
    """
    chosen = address.query_of((name, value) for name in _CHOICES for value in st.query_params.get_all(name))
    with st.sidebar:
        counts_here = st.container()
        score = st.slider(
            _("Minimum score"),
            0.0,
            1.0,
            0.0,
            0.05,
            format="localized",
            key="min_score",
            bind="query-params",
            on_change=to_first_page,
            disabled=page.is_down(),
        )
        under = st.text_input(
            _("Folder"),
            key="under",
            bind="query-params",
            placeholder="s3://bucket/folder",
            help=_("Only files whose address starts with this text."),
            on_change=to_first_page,
            disabled=page.is_down(),
        )
        weak = st.toggle(
            _("Weak labels"),
            key="weak",
            bind="query-params",
            help=_("Labels whose score is below what their detector keeps today. Earlier scans kept more."),
            disabled=page.is_down(),
        )
        start = (under or "").strip()
        query = chosen.model_copy(
            update={"min_score": score or None, "under": (start,) if start else (), "case": page.case()}
        )
        query = query.model_copy(update={"upto": upto(query)})
        floors = {} if weak else page.floors()
        filters = Filters(query, floors, partial(_draw_counts, counts_here, api, query, floors, sorts))
        if filters.are_set:
            st.button(_("Clear all filters"), width="stretch", on_click=_clear)
    return filters


def _draw_counts(here: DeltaGenerator, api: str, query: AssetQuery, floors: groups.Floors, sorts: bool) -> list[Facet]:
    """Draw the options with their counts in a container; returns the labels that files have, without weak ones."""
    labels = _facets(api, query.model_copy(update={"detector": (), "label": (), "detector_label": ()}))
    kinds = _facets(api, query.model_copy(update={"kind": (), "failed": None}))
    # one request less where nothing is decided: without the filters of labels there are no fewer decisions
    decided = _facets(api, query) if labels.decisions or labels.tags else labels
    failed = kinds
    if reasons.chosen(query.where):
        failed = _facets(api, query.model_copy(update={"where": reasons.without(query.where), "failed": None}))
    options = groups.groups(labels, kinds, decided, failed, query, page.palette(), floors)
    with here:
        components.facets("facets", options, _choose, sorts)
    return groups.strong(labels, floors)


def conditions(where: tuple[str, ...]) -> None:
    """Draw the conditions in words, each with a button that removes it."""
    if where:
        components.conditions("conditions", [wording.alternatives(text) for text in where], _remove)


def to_first_page() -> None:
    """Go to the first page of the Browse page's list."""
    st.session_state["page"] = 1


def _choose() -> None:
    """Add the clicked option to the page's URL, or remove it."""
    choice = st.session_state["facets"].choose
    name, value = choice["name"], choice["value"]
    if name == "score_of":
        st.query_params["sort"], st.query_params[name] = "score", value
        return to_first_page()
    if name == groups.REASON:
        name, values = "where", list(reasons.toggled(_where(), value, choice["chosen"]))
    else:
        values = [each for each in st.query_params.get_all(name) if each != value]
        values += [value] if choice["chosen"] else []
    st.query_params[name] = values
    if not values:
        st.query_params.pop(name, None)
    if name == "detector":  # a label of a detector that is not chosen would match no file
        for labels in ("label", "detector_label"):
            st.query_params.pop(labels, None)
    to_first_page()


def _where() -> tuple[str, ...]:
    """The conditions of the page's URL."""
    return address.query_of(("where", text) for text in st.query_params.get_all("where")).where


def _remove() -> None:
    """Remove an alternative of a condition from the page's URL, and the condition with its last one."""
    place = st.session_state["conditions"].remove
    where = list(_where())
    alternatives = list(parse(where[place["condition"]]))
    del alternatives[place["alternative"]]
    where[place["condition"] : place["condition"] + 1] = [write(alternatives)] if alternatives else []
    st.query_params["where"] = where
    if not where:
        st.query_params.pop("where")
    to_first_page()


def _clear() -> None:
    for name in _CHOICES:
        st.query_params.pop(name, None)
    st.session_state["min_score"] = 0.0
    st.session_state["under"] = ""
    to_first_page()
