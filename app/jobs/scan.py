"""A new scan: its form, what it would do, and its start."""

from typing import NamedTuple

import streamlit as st

from app import draw, page
from app.client import ApiError
from app.jobs import wording
from app.language.formats import number
from app.language.texts import _, counted
from app.language.wording import size
from cluster.api_job_types import ScanPlan
from cluster.api_queries import ScanRequest
from cluster.records import PRIORITIES

BUSY = "a job is not over"  # in the session: whether that was so at the last refresh; True at first
# in the session: a Planned; the name of a job that was just started; the number of scans that were
_PLANNED, _STARTED, _TURN = "planned scan", "started job", "scan turn"
_MOST_ROWS = 8  # of what is left out


class Planned(NamedTuple):
    """A scan that was looked at, and what it would do."""

    request: ScanRequest
    plan: ScanPlan


def form() -> None:
    """Draw the form of a new scan. It is looked at, or started."""
    turn = st.session_state.get(_TURN, 0)  # other keys after a start, which empties the form
    with st.form("scan"):
        st.markdown(f"##### {_('New scan')}")
        written = st.text_area(
            _("Folders, buckets or files"),
            placeholder="s3://bucket/folder\n/data/pictures",
            help=_("One per line: folders of this machine or s3://, gs://, az:// addresses."),
            key=f"uris {turn}",
            disabled=page.is_down(),
        )
        names = [] if page.is_down() else [detector.name for detector in page.detectors()]
        chosen = st.multiselect(
            _("Detectors"), names, placeholder=_("All of them"), key=f"detectors {turn}", disabled=page.is_down()
        )
        priority = st.selectbox(
            _("Priority"),
            PRIORITIES,
            index=1,
            format_func={each: _(each) for each in PRIORITIES}.__getitem__,
            help=_("An urgent scan starts at once, a bulk scan when no other scan runs."),
            key=f"priority {turn}",
            disabled=page.is_down(),
        )
        with st.container(horizontal=True):
            looked = st.form_submit_button(
                _("Look first"),
                key="look",
                help=_("Counts the files, and changes nothing."),
                disabled=page.is_down(),
            )
            started = st.form_submit_button(_("Start"), key="start", type="primary", disabled=page.is_down())
    if not (looked or started):
        return
    uris = [line.strip() for line in written.splitlines() if line.strip()]
    if not uris:
        st.warning(_("Enter a folder or bucket to scan, for example s3://bucket/folder."))
        return
    request = ScanRequest(uris=uris, detectors=chosen or None, priority=priority, case=page.case())
    try:
        if started:
            _start(request)
        with st.spinner(_("Listing the files")):
            st.session_state[_PLANNED] = Planned(request, page.api().plan(request))
    except ApiError as error:  # the jobs are shown all the same
        st.warning(draw.escape(error.sentence))


def message() -> None:
    """Say once that a scan was started."""
    if (job := st.session_state.pop(_STARTED, None)) is not None:
        st.success(_("Job {job} was started.", job=draw.escape(job)))


def plan() -> None:
    """Draw what the scan would do that was looked at, with a button that starts it."""
    planned: Planned | None = st.session_state.get(_PLANNED)
    if planned is None:
        return
    request, made = planned
    with st.container(border=True, key="plan"):
        st.markdown(f"##### {_would_be_analysed(made)}")
        st.caption(draw.escape(", ".join(request.uris)))
        if not made.complete:
            st.warning(
                _(
                    "There are more files: the listing takes too long for a page, and was ended. "
                    "`raysift scan --dry-run` counts all of them."
                )
            )
        st.markdown(wording.plan_table(made))
        left_out = sum(group.count for group in made.left_out_groups)
        parts = [
            _("{n} unchanged", n=number(made.skipped)),
            _("{n} left out", n=number(left_out)),
            wording.estimate(made),
        ]
        st.markdown(" · ".join(draw.escape(part) for part in parts))
        if made.left_out_groups:
            st.markdown(wording.left_out_table(made.left_out_groups[:_MOST_ROWS]))
        if made.detectors:
            with st.expander(_("Work of each detector")):
                st.markdown(wording.work_table(made))
        label = _("Start this scan") if made.files else _("Start it all the same")
        with st.container(horizontal=True):
            started = st.button(label, key="start planned", type="primary", disabled=page.is_down())
            st.button(_("Close"), key="close plan", on_click=_close)
        if started:
            try:
                _start(request)
            except ApiError as error:
                st.warning(draw.escape(error.sentence))


def _would_be_analysed(made: ScanPlan) -> str:
    bytes = size(sum(unit.bytes for unit in made.units))
    if made.complete:
        return counted(
            "{n} file would be analysed, {size}", "{n} files would be analysed, {size}", made.files, size=bytes
        )
    return counted(
        "At least {n} file would be analysed, {size}",
        "At least {n} files would be analysed, {size}",
        made.files,
        size=bytes,
    )


def _start(request: ScanRequest) -> None:
    st.session_state[_STARTED] = page.api().submit(request)
    st.session_state[BUSY] = True
    st.session_state[_TURN] = st.session_state.get(_TURN, 0) + 1
    _close()
    st.rerun()


def _close() -> None:
    st.session_state.pop(_PLANNED, None)
