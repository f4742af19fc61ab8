"""Scans: start one, see how far they are, end them or go on with them, and what they took."""

from typing import Literal

import streamlit as st

from app import draw, page
from app.client import ApiError, Change
from cluster.api_job_types import OVER, PRIORITIES, JobInfo, JobState, Report

_MOST = 25
_Color = Literal["gray", "blue", "green", "red", "orange", "violet"]
_STATES: dict[JobState, _Color] = {
    "waiting": "gray",
    "listing": "blue",
    "running": "blue",
    "blocked": "orange",
    "finished": "green",
    "failed": "red",
    "cancelled": "violet",
}
_ASKED: dict[Change, tuple[str, str, str]] = {  # what the button says, its sign, what is asked before
    "cancel": ("Cancel", "stop", "Stop this job? What it has stored stays, and it can be resumed."),
    "resume": ("Resume", "play_arrow", "Go on with this job? No finished file is done again."),
    "retry-failed": ("Retry failed", "refresh", "Do the failed files again, as a new job?"),
}


def show() -> None:
    """Draw the page."""
    with st.sidebar:
        _form()
    st.markdown("#### Jobs")
    _jobs()


def _form() -> None:
    names = [detector.name for detector in page.detectors()]
    with st.form("scan", clear_on_submit=True):
        st.markdown("##### Start a scan")
        written = st.text_area(
            "Folders, buckets or files",
            placeholder="s3://bucket/folder\n/data/pictures",
            help="One a line. Folders of this machine or s3://, gs://, az:// addresses.",
        )
        chosen = st.multiselect("Detectors", names, placeholder="All of them")
        priority = st.selectbox(
            "Priority", PRIORITIES, index=1, help="An urgent scan starts at once, a bulk one when nothing else runs."
        )
        started = st.form_submit_button("Start", key="start", type="primary", width="stretch")
    if not started:
        return
    uris = [line.strip() for line in written.splitlines() if line.strip()]
    if not uris:
        st.warning("Say which folder or bucket to scan, for example s3://bucket/folder.")
        return
    job = page.api().submit(uris, chosen or None, priority)
    st.success(f"Job {draw.plain(job)} was started.")


@st.fragment(run_every=1)
def _jobs() -> None:
    with page.guarded():
        jobs = page.api().jobs(_MOST + 1)
        if not jobs:
            st.info("No scan has been started yet. Start one at the side, or with `raysift scan s3://bucket/folder`.")
        for job in jobs[:_MOST]:
            _job(job)
        if len(jobs) > _MOST:
            st.caption("Older jobs are not shown; `raysift jobs list` names them all.")


def _job(job: JobInfo) -> None:
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(job.state, color=_STATES[job.state])
            if job.priority != "normal":
                st.badge(job.priority, color="gray")
            st.markdown(f"**{draw.plain(', '.join(job.uris))}**", width="content")
            st.space("stretch")
            st.caption(draw.plain(f"{job.job} {(job.submitted_at or '')[:19].replace('T', ' ')}"), width="content")
        if job.units:
            st.progress(min(1.0, job.done / job.units))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(draw.plain(draw.progress(job)))
            if job.failed:
                st.page_link(
                    "views/browse.py",
                    label=f"{job.failed:,} failed files" if job.failed > 1 else "1 failed file",
                    icon=":material/error:",
                    query_params={"state": "failed", "job": job.job},
                )
            st.space("stretch")
            for change in _changes(job):
                _button(job, change)
        if job.message:
            st.caption(draw.plain(job.message))
        if job.state in OVER and job.units:
            with st.expander("Report", key=f"report {job.job}", on_change="rerun") as opened:
                if opened.open:
                    _report(_report_of(job.job, page.api().url))


def _changes(job: JobInfo) -> list[Change]:
    if job.state not in OVER:
        return ["cancel"]
    again: list[Change] = ["retry-failed"] if job.failed else []
    return again if job.state == "finished" else ["resume", *again]


def _button(job: JobInfo, change: Change) -> None:
    """A button that asks before it does what it says."""
    label, sign, question = _ASKED[change]
    with st.popover(label, icon=f":material/{sign}:", key=f"{change} {job.job}"):
        st.markdown(question)
        if st.button(f"Yes, {label.lower()}", key=f"yes {change} {job.job}", type="primary"):
            try:
                again = page.api().change(job.job, change)
                st.toast("Nothing failed in it." if again is None else f"Done: {draw.plain(again)}.")
            except ApiError as error:  # it may have ended meanwhile: the other jobs are still to be seen
                st.toast(draw.plain(error.sentence), icon=":material/error:")


@st.cache_data(ttl=10, max_entries=_MOST, show_spinner=False)  # the page asks every second
def _report_of(job: str, url: str) -> Report | None:
    return page.api().job(job).report


def _report(report: Report | None) -> None:
    if report is None:
        st.caption("Its driver ended before it could write a report.")
        return
    st.caption(draw.plain(draw.speed(report)))
    if report.detectors:
        st.markdown(draw.spent(report))
    if report.failures:
        st.markdown(draw.reasons(report))


with page.guarded():
    show()
