"""The files and what was found in them: filters at the side, tiles, pages. The address holds what is chosen."""

from dataclasses import replace

import streamlit as st

from app import address, components, draw, page
from app.client import PAGE_SIZE, Filters, Sort
from cluster.api_types import Facets, Page

_CHOICES = ("kind", "detector", "label", "state")


@st.cache_data(ttl=5, max_entries=256, show_spinner=False)
def _assets(api: str, filters: Filters, sort: Sort, number: int) -> Page:
    return page.api().assets(filters, sort, number)


@st.cache_data(ttl=5, max_entries=256, show_spinner=False)
def _facets(api: str, filters: Filters) -> Facets:
    return page.api().facets(filters)


def show() -> None:
    api = page.api().url
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
        look = page.look()
    # the switch of pages stands below the tiles: on the first run only the address knows
    number = st.session_state.get("page") or address.listed(st.query_params.items())[2]
    with st.spinner("Reading the results"):
        found = _assets(api, filters, sort, number)
    heading.markdown(f"#### {found['total']:,} {'file' if found['total'] == 1 else 'files'}")
    if not found["total"]:
        return _nothing(filters)
    context = address.context(filters, sort, number)
    tiles = [draw.tile(asset, page.palette(), context) for asset in found["items"]]
    components.gallery("tiles", tiles, "Files", look, focus=st.session_state.pop("left", ""))
    if found["total"] > PAGE_SIZE:
        pages = -(-found["total"] // PAGE_SIZE)
        st.pagination(pages, key="page", bind="query-params", width="stretch")


def _filters(api: str) -> Filters:
    chosen = address.listed((name, value) for name in _CHOICES for value in st.query_params.get_all(name))[0]
    with st.sidebar:
        counts_here = st.container()
        score = st.slider(
            "At least this score", 0.0, 1.0, 0.0, 0.05, key="min_score", bind="query-params", on_change=_to_first_page
        )
        under = st.text_input(
            "Folder",
            key="under",
            bind="query-params",
            placeholder="s3://bucket/folder",
            help="Only files whose address begins with this.",
            on_change=_to_first_page,
        )
        filters = replace(chosen, min_score=score, under=(under or "").strip())
        with counts_here:
            components.facets("facets", _groups(api, filters), _choose)
        if filters != Filters():
            st.button("Clear all filters", width="stretch", on_click=_clear)
    return filters


def _groups(api: str, filters: Filters) -> list[components.Group]:
    """Counts of a filter's options are made without that filter, so that a second option can be added to the first."""
    labels = _facets(api, replace(filters, detectors=(), labels=()))
    kinds = labels if not (filters.kinds or filters.failed) else _facets(api, replace(filters, kinds=(), failed=False))
    palette = page.palette()
    by_label: dict[str, tuple[int, str]] = {}
    for facet in labels["detectors"]:
        name, label = facet["detector"], facet["label"]
        if not filters.detectors or name in filters.detectors:
            by_label[label] = (by_label.get(label, (0, ""))[0] + facet["count"], draw.color(name, palette))
    groups = [
        _group("kind", "Kind", {kind: (count, "") for kind, count in kinds["kinds"].items()}, filters.kinds),
        _group("state", "State", {"failed": (kinds["failed"], "")}, ("failed",) if filters.failed else ()),
        _group(
            "detector",
            "Found by",
            {name: (count, draw.color(name, palette)) for name, count in labels["found_by"].items()},
            filters.detectors,
        ),
        _group("label", "Label", by_label, filters.labels),
    ]
    return [group for group in groups if group["options"]]


def _group(name: str, title: str, counts: dict[str, tuple[int, str]], chosen: tuple[str, ...]) -> components.Group:
    """Most frequent first; what is chosen stays even where nothing has it any more."""
    counts = {**dict.fromkeys(chosen, (0, "")), **counts}
    ordered = sorted(counts.items(), key=lambda item: (-item[1][0], item[0]))
    options: list[components.Option] = [
        {"value": value, "count": count, "chosen": value in chosen, "color": color}
        for value, (count, color) in ordered
        if count or value in chosen
    ]
    return {"name": name, "title": title, "options": options}


def _choose() -> None:
    choice = st.session_state["facets"].choose
    name = choice["name"]
    values = [value for value in st.query_params.get_all(name) if value != choice["value"]]
    st.query_params[name] = [*values, choice["value"]] if choice["chosen"] else values
    if not st.query_params.get_all(name):
        st.query_params.pop(name, None)
    if name == "detector":
        st.query_params.pop("label", None)  # labels of a detector that is no longer chosen would hide everything
    _to_first_page()


def _clear() -> None:
    for name in _CHOICES:
        st.query_params.pop(name, None)
    st.session_state["min_score"] = 0.0
    st.session_state["under"] = ""
    _to_first_page()


def _to_first_page() -> None:
    st.session_state["page"] = 1


def _nothing(filters: Filters) -> None:
    if filters != Filters():
        st.info("No file passes these filters. Clear some of them at the side.")
        return
    st.info("Nothing has been analysed yet.")
    st.markdown("Start a scan of a folder or bucket on the **Jobs** page, or on the command line:")
    st.code("raysift scan s3://bucket/folder", language=None)
    st.page_link("views/jobs.py", label="Go to Jobs", icon=":material/checklist:")


with page.guarded():
    show()
