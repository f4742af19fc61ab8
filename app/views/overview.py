"""The Overview page: what is in the files, as charts whose bars lead to Browse, and what the jobs over them did.

Its URL has the filters of the Browse page, to which it is narrowed, and the score from which a finding counts.
"""

from collections.abc import Callable
from typing import Any

import streamlit as st

from app import address, draw, page
from app.address import Pairs
from app.figures import drawing, figure
from app.figures.figure import Figure
from app.language.formats import number
from app.language.texts import N_, _, counted
from cluster.api_queries import AssetFilter
from cluster.cases.overview import JobProgress, JobsOverview, Overview, OverviewQuery

_REFRESH_S = 3  # while a job runs
_CHARTS, _TABLES = N_("Charts"), N_("Tables")
_BY_JSON: dict[str | type[Any], Callable[[Any], Any]] = {OverviewQuery: lambda query: query.model_dump_json()}


@st.cache_data(ttl=10, max_entries=64, show_spinner=False, hash_funcs=_BY_JSON)
def _overview(api: str, query: OverviewQuery) -> Overview:
    return page.api().overview(query)


def show() -> None:
    """Draw the page."""
    filters = address.query_of(st.query_params.items())
    narrowed = address.context(filters.model_copy(update={"sort": address.SORTS[0], "page": 1}))
    filters = filters.model_copy(update={"case": page.case()})
    base = [*page.case_pairs(), *narrowed]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        heading = st.container()
        st.space("stretch")
        least = st.slider(
            _("Count findings from score"),
            0.0,
            1.0,
            0.5,
            0.05,
            format="localized",
            key="least_score",
            bind="query-params",
            width=230,
            disabled=page.is_down(),
            help=_("Weaker findings are often wrong. The histograms show all scores."),
        )
        # not bound to the URL by Streamlit, which would write there what is shown, in one language
        shape = st.session_state["as"] = _TABLES if st.query_params.get("as") == _TABLES else _CHARTS
        st.segmented_control(
            _("Show as"),
            (_CHARTS, _TABLES),
            key="as",
            format_func={each: _(each) for each in (_CHARTS, _TABLES)}.__getitem__,
            required=True,
            disabled=page.is_down(),
            on_change=_show_as,
        )
    wanted = filters.model_dump(include=set(AssetFilter.model_fields), exclude_defaults=True)
    with st.spinner(_("Counting")):
        found = _overview(page.caller(), OverviewQuery(**wanted, least_score=least))
    heading.markdown(_summary(found, base), unsafe_allow_html=True)
    if narrowed:
        filters_set = draw.escape(", ".join(f"{name} {value}" for name, value in narrowed))
        heading.caption(_("Only these files: {filters}", filters=filters_set))
        heading.page_link("views/overview.py", label=_("Show all"), query_params=dict(page.case_pairs()))
    jobs = page.api().jobs_overview(filters.case)
    if jobs.running:
        with page.steady("running"):
            st.fragment(run_every=_REFRESH_S)(_running)(filters.case)
    if not found.total and (narrowed or not jobs.jobs):
        _show_nothing(bool(narrowed))
        return
    _figures(found, jobs, least, base, shape == _TABLES)


def _show_as() -> None:
    st.query_params["as"] = st.session_state["as"]


def _summary(found: Overview, base: Pairs) -> str:
    """The heading: how many files there are and how many failed, as links."""
    files = drawing.link(counted("{n} file", "{n} files", found.total), base)
    failed = drawing.link(_("{n} failed", n=number(found.failed)), figure.leads_to(base, ("state", "failed")))
    return f"<h4>{files}{', ' + failed if found.failed else ''}</h4>"


def _figures(found: Overview, jobs: JobsOverview, least: float, base: Pairs, tables: bool) -> None:
    palette = page.palette()
    _grid(
        [
            figure.kinds(found.kinds, base),
            figure.days(found.days, base),
            figure.found_by(found.detectors, least, base, palette),
            figure.seconds(jobs.detectors, base, palette),
            figure.failures(found.failures, found.other_failures, base),
            figure.left_out(jobs.left_out, page.case_pairs()),
        ],
        tables,
    )
    if jobs.without_report:
        st.caption(
            counted(
                "{n} job ended without a report: its time and what it left out is missing.",
                "{n} jobs ended without a report: their time and what they left out is missing.",
                jobs.without_report,
            )
        )
    for detector in found.detectors:
        with st.container(border=True):
            st.markdown(f"#### {draw.escape(detector.detector)}")
            _grid([figure.labels(detector, least, base, palette), figure.scores(detector, base, palette)], tables)


def _grid(figures: list[Figure], tables: bool) -> None:
    """Draw the figures that have values, two beside each other; on a narrow screen one below the other."""
    shown = [each for each in figures if any(row.value for row in each.rows)]
    for place in range(0, len(shown), 2):
        for column, each in zip(st.columns(2, gap="large"), shown[place : place + 2], strict=False):
            with column:
                drawing.show(each, tables)


def _running(case: str | None) -> None:
    """Draw the progress of the jobs that are not over; when none is left, the whole page again."""
    with page.guarded():
        running = page.api().jobs_overview(case).running
    if not running:
        st.rerun()
    for job in running:
        _progress(job)


def _progress(job: JobProgress) -> None:
    done = _("files not listed yet")
    if job.units is not None:
        done = _("{n} of {total}", n=number(job.done), total=number(job.units))
    failed = f", {_('{n} failed', n=number(job.failed))}" if job.failed else ""
    share = min(1.0, job.done / job.units) if job.units else 0.0
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(share, f"{draw.escape(job.job)}, {_(job.state)}: {done}{failed}", width="stretch")
        st.page_link("views/browse.py", label=_("Its files"), query_params={"job": job.job})


def _show_nothing(narrowed: bool) -> None:
    if narrowed:
        st.info(_("No file passes these filters."))
        st.page_link("views/overview.py", label=_("Show all"), query_params=dict(page.case_pairs()))
        return
    st.info(_("Nothing has been analysed yet."))
    st.markdown(_("Start a scan on the **Jobs** page, or on the command line:"))
    st.code("raysift scan s3://bucket/folder", language=None)


with page.guarded():
    show()
