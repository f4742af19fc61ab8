"""The Browse page: files as tiles, in pages, with filters in the sidebar. Its URL holds the filters."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from app import address, components, draw, page
from app.review import several
from cluster.api_queries import AssetQuery
from cluster.api_types import AssetPage, Facets
from cluster.records import ExportFormat

# URL parameters that the filters set
_CHOICES = ("kind", "detector", "label", "detector_label", "job", "state", "decision", "tag")
_ALL = AssetQuery()
_FORMATS: dict[ExportFormat, str] = {
    "csv": "CSV, a row for each detection",
    "jsonl": "JSON lines, a line for each file",
    "parquet": "Parquet, a row for each file",
    "coco": "COCO, boxes in pictures",
}
# cache keys of queries for st.cache_data
_BY_JSON: dict[str | type[Any], Callable[[Any], Any]] = {AssetQuery: lambda query: query.model_dump_json()}


@st.cache_data(ttl=5, max_entries=256, show_spinner=False, hash_funcs=_BY_JSON)
def _assets(api: str, query: AssetQuery) -> AssetPage:
    return page.api().assets(query)


@st.cache_data(ttl=5, max_entries=256, show_spinner=False, hash_funcs=_BY_JSON)
def _facets(api: str, query: AssetQuery) -> Facets:
    return page.api().facets(query)


def show() -> None:
    """Draw the page."""
    api = page.caller()
    filters = _filters(api)
    if st.session_state.get("sort") not in address.SORTS:
        st.session_state.pop("sort", None)
    with st.container(horizontal=True, vertical_alignment="center"):
        heading = st.empty()
        st.space("stretch")
        sort = st.selectbox(
            "Sort",
            address.SORTS,
            key="sort",
            bind="query-params",
            label_visibility="collapsed",
            width=130,
            on_change=_to_first_page,
        )
        _exports(filters)
        deciding = st.container(width="content")
        if page.may("reviewer"):
            st.page_link(
                "views/review.py", label="Review", icon=":material/rule:", query_params=address.in_list(filters)
            )
        look = page.look()
    # the pagination widget is drawn below the tiles: on the first run only the URL has the page number
    number = st.session_state.get("page") or address.query_of(st.query_params.items()).page
    query = filters.model_copy(update={"sort": sort, "page": number})
    with st.spinner("Reading the results"):
        files = _assets(api, query)
    heading.markdown(f"#### {files.total:,} {'file' if files.total == 1 else 'files'}")
    if files.items and page.may("reviewer"):
        with deciding:
            several.decide(files.items)
    if not files.total:
        return _show_nothing(filters)
    context = address.context(query)
    tiles = [draw.tile(asset, page.palette(), context) for asset in files.items]
    components.gallery("tiles", tiles, "Files", look, focus=st.session_state.pop("left", ""))
    if files.total > files.size:
        st.pagination(-(-files.total // files.size), key="page", bind="query-params", width="stretch")


def _exports(filters: AssetQuery) -> None:
    """Draw the links that download an export of the files that pass the filters."""
    with st.popover("Export", icon=":material/download:"):
        st.caption("The files that pass these filters, each with all that was found in it.")
        for format, text in _FORMATS.items():
            page.link(address.export(filters, format), text)


def _filters(api: str) -> AssetQuery:
    """Draw the filters; returns their query, for the first page in the default order."""
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
        start = (under or "").strip()
        filters = chosen.model_copy(update={"min_score": score or None, "under": (start,) if start else ()})
        with counts_here:
            components.facets("facets", _groups(api, filters), _choose)
        if filters != _ALL:
            st.button("Clear all filters", width="stretch", on_click=_clear)
    return filters


def _groups(api: str, filters: AssetQuery) -> list[components.Group]:
    """The filters with counts. A filter does not apply to its own counts, so that a second value can be added."""
    labels = _facets(api, filters.model_copy(update={"detector": (), "label": (), "detector_label": ()}))
    kinds = _facets(api, filters.model_copy(update={"kind": (), "failed": None}))
    decided = _facets(api, filters)
    palette = page.palette()
    failed = ("failed",) if filters.failed else ()
    by_detector = [_option(name, count, draw.color(name, palette)) for name, count in labels.found_by.items()]
    groups = [
        _group("kind", "Kind", [_option(kind, count) for kind, count in kinds.kinds.items()], filters.kind),
        _group("decision", "Decision", [_option(*counted) for counted in decided.decisions.items()], filters.decision),
        _group("tag", "Tag", [_option(*counted) for counted in decided.tags.items()], filters.tag),
        _group("state", "State", [_option("failed", kinds.failed)], failed),
        _group("job", "Job", [_option(job, labels.total) for job in filters.job], filters.job),
        _group("detector", "Found by", by_detector, filters.detector),
        _group("detector_label", "Label", _label_options(labels, filters, palette), filters.detector_label),
        _group("label", "Label, by any detector", [], filters.label),
    ]
    return [group for group in groups if group["options"]]


def _label_options(facets: Facets, filters: AssetQuery, palette: dict[str, str]) -> list[components.Option]:
    """One option per detector and label; a label of several detectors is shown with the detector's name."""
    shown = [facet for facet in facets.detectors if not filters.detector or facet.detector in filters.detector]
    labels = [facet.label for facet in shown]
    options = []
    for facet in shown:
        text = f"{facet.label} ({facet.detector})" if labels.count(facet.label) > 1 else facet.label
        value = f"{facet.detector}:{facet.label}"
        options.append(_option(value, facet.count, draw.color(facet.detector, palette), text))
    return options


def _option(value: str, count: int, color: str = "", text: str = "") -> components.Option:
    return {"value": value, "text": text or value, "count": count, "chosen": False, "color": color}


def _group(name: str, title: str, options: list[components.Option], chosen: tuple[str, ...]) -> components.Group:
    """A filter with its options by descending count. Chosen options are kept even if their count is 0."""
    absent = set(chosen) - {option["value"] for option in options}
    options = [*options, *(_option(value, 0) for value in absent)]
    for option in options:
        option["chosen"] = option["value"] in chosen
    kept = [option for option in options if option["count"] or option["chosen"]]
    return {
        "name": name,
        "title": title,
        "options": sorted(kept, key=lambda option: (-option["count"], option["value"])),
    }


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


def _clear() -> None:
    for name in _CHOICES:
        st.query_params.pop(name, None)
    st.session_state["min_score"] = 0.0
    st.session_state["under"] = ""
    _to_first_page()


def _to_first_page() -> None:
    st.session_state["page"] = 1


def _show_nothing(filters: AssetQuery) -> None:
    if filters != _ALL:
        st.info("No file passes these filters. Clear some of them in the sidebar.")
        return
    st.info("Nothing has been analysed yet.")
    st.markdown("Start a scan of a folder or bucket on the **Jobs** page, or on the command line:")
    st.code("raysift scan s3://bucket/folder", language=None)
    st.page_link("views/jobs.py", label="Go to Jobs", icon=":material/checklist:")


with page.guarded():
    show()
