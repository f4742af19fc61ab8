"""The Browse page: files as tiles, in pages, with filters in the sidebar and above. Its URL holds the filters."""

import time
from collections.abc import Callable
from typing import Any

import streamlit as st

from app import address, components, draw, page
from app.browsing import builder, groups, held, selection
from app.client import ApiError
from app.review import several
from cluster.api_queries import AssetQuery, Sort
from cluster.api_types import AssetPage, Facet, Facets
from cluster.filters import wording
from cluster.filters.conditions import Alternative, Detected, parse, write

# URL parameters that the filters set
_CHOICES = ("kind", "detector", "label", "detector_label", "job", "state", "where", "decision", "tag")
_ALL = AssetQuery()
# cache keys of queries for st.cache_data
_BY_JSON: dict[str | type[Any], Callable[[Any], Any]] = {AssetQuery: lambda query: query.model_dump_json()}


@st.cache_data(ttl=5, max_entries=256, show_spinner=False, hash_funcs=_BY_JSON)
def _assets(api: str, query: AssetQuery) -> AssetPage:
    return page.api().assets(query)


@st.cache_data(ttl=5, max_entries=256, show_spinner=False, hash_funcs=_BY_JSON)
def _facets(api: str, query: AssetQuery) -> Facets:
    return page.api().facets(query)


def _forget() -> None:
    _assets.clear()
    _facets.clear()


def show() -> None:
    """Draw the page. If the file up to which its list is held has been deleted, begin with a new list."""
    try:
        _show(page.caller())
    except ApiError as error:
        if error.status != 422 or not held.release():
            raise
        st.rerun()


def _show(api: str) -> None:
    filters, labels, floors = _filters(api)
    with st.container(horizontal=True, vertical_alignment="center"):
        heading = st.empty()
        arrivals_here = st.container(width="content")
        st.space("stretch")
        sort, score_of = _order(labels)
        builder.show(labels, list(page.palette()), filters.where)
        selection.exports(filters)
        deciding = st.container(width="content")
        if page.may("reviewer"):
            st.page_link(
                "views/review.py", label="Review", icon=":material/rule:", query_params=address.in_list(filters)
            )
        look = page.look()
    if filters.where:
        components.conditions("conditions", [wording.alternatives(text) for text in filters.where], _remove)
    # the pagination widget is drawn below the tiles: on the first run only the URL has the page number
    number = st.session_state.get("page") or address.query_of(st.query_params.items()).page
    query = filters.model_copy(update={"sort": sort, "score_of": score_of, "page": number})
    with st.spinner("Reading the results"):
        files = _assets(api, query)
    read_at = 0.0
    if filters.upto is None:
        held.hold(filters, files.latest)
        read_at = time.monotonic()
    heading.markdown(f"#### {files.total:,} {'file' if files.total == 1 else 'files'}")
    with arrivals_here:
        held.arrivals(filters, files.total, read_at, _forget)
    if files.items and page.may("reviewer"):
        with deciding:
            several.decide(files.items)
    if not files.total:
        return _show_nothing(filters)
    selection.bar(query, files)
    # it says so if there is no filter: a file whose address names no list is shown among those of its folder
    context = [*page.case_pairs(), *address.context(query)] or [("sort", query.sort)]
    tiles = [draw.tile(groups.without_weak(asset, floors), page.palette(), context) for asset in files.items]
    components.gallery(
        "tiles",
        tiles,
        "Files",
        look,
        focus=st.session_state.pop("left", ""),
        picked=selection.selected(),
        on_pick=selection.pick,
    )
    if files.total > files.size:
        st.pagination(-(-files.total // files.size), key="page", bind="query-params", width="stretch")


def _order(labels: list[Facet]) -> tuple[Sort, str | None]:
    """Draw what the files are sorted by; returns it, and the label whose score counts, None for any."""
    if st.session_state.get("sort") not in address.SORTS:
        st.session_state.pop("sort", None)
    sort = st.selectbox(
        "Sort",
        address.SORTS,
        key="sort",
        bind="query-params",
        label_visibility="collapsed",
        width=130,
        on_change=_to_first_page,
    )
    if sort != "score":
        return sort, None
    chosen = address.query_of(st.query_params.items()).score_of
    found = [Detected(name) for name in dict.fromkeys(facet.detector for facet in labels)]
    found += [Detected(facet.detector, facet.label) for facet in labels]
    options = {write([Alternative(of)]): f"of {wording.label(of.detector, of.label)}" for of in found}
    if chosen and chosen not in options:
        options[chosen] = f"of {chosen}"
    names = ["", *options]
    score_of = st.selectbox(
        "Score of",
        names,
        index=names.index(chosen or ""),
        format_func=lambda name: options.get(name, "of any label"),
        key=f"score of {chosen}",  # the URL decides: a link to this page may have another one
        label_visibility="collapsed",
        width=210,
        on_change=_order_by_score_of,
        args=(f"score of {chosen}",),
    )
    return sort, score_of or None


def _order_by_score_of(key: str) -> None:
    st.query_params["score_of"] = st.session_state[key]
    if not st.session_state[key]:
        st.query_params.pop("score_of")
    _to_first_page()


def _filters(api: str) -> tuple[AssetQuery, list[Facet], groups.Floors]:
    """Draw the filters of the sidebar.

    Returns the query of all filters, for the first page in the default order, as it is held; the labels that its
    files have; and the floors of the detectors, none if weak labels are shown.
    """
    chosen = address.query_of((name, value) for name in _CHOICES for value in st.query_params.get_all(name))
    with st.sidebar:
        counts_here = st.container()
        score = st.slider(
            "Minimum score", 0.0, 1.0, 0.0, 0.05, key="min_score", bind="query-params", on_change=_to_first_page
        )
        under = st.text_input(
            "Folder",
            key="under",
            bind="query-params",
            placeholder="s3://bucket/folder",
            help="Only files whose address starts with this text.",
            on_change=_to_first_page,
        )
        weak = st.toggle(
            "Weak labels",
            key="weak",
            bind="query-params",
            help="Labels whose score is below what their detector keeps today. Earlier scans kept more.",
        )
        start = (under or "").strip()
        without_case = chosen.model_copy(update={"min_score": score or None, "under": (start,) if start else ()})
        filters = without_case.model_copy(update={"case": page.case()})
        filters = filters.model_copy(update={"upto": held.upto(filters)})
        floors = {} if weak else page.floors()
        labels = _facets(api, filters.model_copy(update={"detector": (), "label": (), "detector_label": ()}))
        kinds = _facets(api, filters.model_copy(update={"kind": (), "failed": None}))
        with counts_here:
            # one request less where nothing is decided: without the filters of labels there are no fewer decisions
            decided = _facets(api, filters) if labels.decisions or labels.tags else labels
            options = groups.groups(labels, kinds, decided, filters, page.palette(), floors)
            components.facets("facets", options, _choose)
        if without_case != _ALL:
            st.button("Clear all filters", width="stretch", on_click=_clear)
    return filters, groups.strong(labels, floors), floors


def _choose() -> None:
    """Add the clicked option to the page's URL, or remove it."""
    choice = st.session_state["facets"].choose
    name = choice["name"]
    values = [value for value in st.query_params.get_all(name) if value != choice["value"]]
    st.query_params[name] = [*values, choice["value"]] if choice["chosen"] else values
    if not st.query_params.get_all(name):
        st.query_params.pop(name, None)
    if name == "detector":  # a label of a detector that is not chosen would match no file
        for labels in ("label", "detector_label"):
            st.query_params.pop(labels, None)
    _to_first_page()


def _remove() -> None:
    """Remove an alternative of a condition from the page's URL, and the condition with its last one."""
    place = st.session_state["conditions"].remove
    where = list(address.query_of(("where", text) for text in st.query_params.get_all("where")).where)
    alternatives = list(parse(where[place["condition"]]))
    del alternatives[place["alternative"]]
    where[place["condition"] : place["condition"] + 1] = [write(alternatives)] if alternatives else []
    st.query_params["where"] = where
    if not where:
        st.query_params.pop("where")
    _to_first_page()


def _clear() -> None:
    for name in _CHOICES:
        st.query_params.pop(name, None)
    st.session_state["min_score"] = 0.0
    st.session_state["under"] = ""
    _to_first_page()


def _to_first_page() -> None:
    st.session_state["page"] = 1


def _show_nothing(filters: AssetQuery) -> None:
    if filters.model_copy(update={"upto": None, "case": None}) != _ALL:
        st.info("No file passes these filters. Clear some of them, above or in the sidebar.")
        return
    st.info("Nothing has been analysed in this case yet." if filters.case else "Nothing has been analysed yet.")
    st.markdown("Start a scan of a folder or bucket on the **Jobs** page, or on the command line:")
    st.code("raysift scan s3://bucket/folder", language=None)
    st.page_link("views/jobs.py", label="Go to Jobs", icon=":material/checklist:")


with page.guarded():
    show()
