"""The Browse page: files as tiles or as a table, in pages, with filters. Its URL holds the filters."""

import time

import streamlit as st

from app import address, components, draw, page
from app.browsing import builder, filters, groups, held, selection, table
from app.client import ApiError
from app.language.texts import _, counted
from app.language.wording import label
from app.review import several
from app.viewing import exposure
from cluster.api_queries import AssetQuery
from cluster.api_types import AssetPage, Facet
from cluster.exposure.exposure import Exposure
from cluster.filters.conditions import Alternative, Detected, write


@st.cache_data(ttl=5, max_entries=256, show_spinner=False, hash_funcs=filters.BY_JSON)
def _assets(api: str, query: AssetQuery) -> AssetPage:
    return page.api().assets(query)


def _forget() -> None:
    _assets.clear()
    filters.forget()


def show() -> None:
    """Draw the page. If the file up to which its list is held has been deleted, begin with a new list."""
    try:
        _show(page.caller())
    except ApiError as error:
        if error.status != 422 or not held.release():
            raise
        st.rerun()


def _show(api: str) -> None:
    chosen = filters.sidebar(api, held.upto, sorts=True)
    wanted, asked = chosen.query, address.query_of(st.query_params.items())
    with st.container(horizontal=True, vertical_alignment="center"):
        heading = st.empty()
        arrivals_here = st.container(width="content")
        st.space("stretch")
        choices_here = st.container(horizontal=True, vertical_alignment="center", width="content")
        selection.exports(wanted)
        deciding = st.container(width="content")
        if page.may("reviewer"):
            st.page_link(
                "views/review.py", label=_("Review"), icon=":material/rule:", query_params=address.in_list(wanted)
            )
        look = exposure.look()
    filters.conditions(wanted.where)
    # the pagination widget is drawn below the tiles: on the first run only the URL has the page number
    number = st.session_state.get("page") or asked.page
    score_of = asked.score_of if asked.sort == "score" else None
    query = wanted.model_copy(update={"sort": asked.sort, "score_of": score_of, "page": number})
    with st.spinner(_("Reading the results")):
        files = _assets(api, query)
    read_at = 0.0
    if wanted.upto is None:
        held.hold(wanted, files.latest)
        read_at = time.monotonic()
    heading.markdown(f"#### {counted('{n} file', '{n} files', files.total)}")
    if files.items and page.may("reviewer"):
        with deciding:
            several.decide(files.items)
    if files.total:
        _show_files(files, query, chosen, look)
    else:
        _show_nothing(chosen)
    # what takes long comes after the files
    labels = chosen.draw_counts()
    with choices_here:
        _order(asked, labels)
        builder.show(labels, list(page.palette()), wanted.where)
    with arrivals_here:
        held.arrivals(wanted, files.total, read_at, _forget)


def _show_files(files: AssetPage, query: AssetQuery, chosen: filters.Filters, look: Exposure) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        view = table.choose()
        selection.bar(query, files)
    # it says so if there is no filter: a file whose address names no list is shown among those of its folder
    context = [*page.case_pairs(), *address.context(query)] or [("sort", query.sort)]
    items = [groups.without_weak(asset, chosen.floors) for asset in files.items]
    if view == "table":
        table.show(items, context)
    else:
        components.gallery(
            "tiles",
            [draw.tile(asset, page.palette(), context) for asset in items],
            _("Files"),
            look,
            focus=st.session_state.pop("left", ""),
            picked=selection.selected(),
            on_pick=selection.pick,
        )
    if files.total > files.size:
        st.pagination(-(-files.total // files.size), key="page", bind="query-params", width="stretch")


def _order(asked: AssetQuery, labels: list[Facet]) -> None:
    """Draw what the files are sorted by, as the URL asks for it; by the score of a label: of which one."""
    # not bound to the URL by Streamlit, which would write the orders there as they are shown, in one language
    st.session_state["sort"] = asked.sort
    st.selectbox(
        _("Sort"),
        address.SORTS,
        key="sort",
        format_func={each: _(each) for each in address.SORTS}.__getitem__,
        label_visibility="collapsed",
        width=130,
        on_change=_order_by,
    )
    if asked.sort != "score":
        return
    chosen = asked.score_of
    found = [Detected(name) for name in dict.fromkeys(facet.detector for facet in labels)]
    found += [Detected(facet.detector, facet.label) for facet in labels]
    options = {write([Alternative(of)]): _("of {label}", label=label(of.detector, of.label)) for of in found}
    if chosen and chosen not in options:
        options[chosen] = _("of {label}", label=chosen)
    options = {"": _("of any label"), **options}
    names = list(options)
    st.selectbox(
        _("Score of"),
        names,
        index=names.index(chosen or ""),
        format_func=options.__getitem__,
        key=f"score of {chosen}",  # the URL decides: a link to this page may have another one
        label_visibility="collapsed",
        width=210,
        on_change=_order_by_score_of,
        args=(f"score of {chosen}",),
    )


def _order_by() -> None:
    st.query_params["sort"] = st.session_state["sort"]
    if st.session_state["sort"] == address.SORTS[0]:
        st.query_params.pop("sort")
    filters.to_first_page()


def _order_by_score_of(key: str) -> None:
    st.query_params["score_of"] = st.session_state[key]
    if not st.session_state[key]:
        st.query_params.pop("score_of")
    filters.to_first_page()


def _show_nothing(chosen: filters.Filters) -> None:
    if chosen.are_set:
        none = _("No file passes these filters. Clear some of them, above or in the sidebar.")
        st.info(f"{none} {_('Files that a running job adds appear here by themselves.')}")
        return
    nothing = _("Nothing has been analysed yet.")
    st.info(_("Nothing has been analysed in this case yet.") if chosen.query.case else nothing)
    st.markdown(_("Start a scan of a folder or bucket on the **Jobs** page, or on the command line:"))
    st.code("raysift scan s3://bucket/folder", language=None)
    st.page_link("views/jobs.py", label=_("Go to Jobs"), icon=":material/checklist:")


with page.guarded():
    show()
