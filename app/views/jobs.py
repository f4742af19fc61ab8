"""The Jobs page: start, cancel, resume and retry scans; shows their progress and reports."""

from typing import Literal

import streamlit as st

from app import draw, page
from app.client import ApiError, Change
from cluster.api_job_types import JobInfo, Report
from cluster.records import OVER, PRIORITIES, JobState

_MAX_JOBS = 25
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
_BUTTONS: dict[Change, tuple[str, str, str]] = {  # label, icon, question to confirm
    "cancel": ("Cancel", "stop", "Cancel this job? Its stored results are kept, and it can be resumed."),
    "resume": ("Resume", "play_arrow", "Resume this job? Finished files are not scanned again."),
    "retry-failed": ("Retry failed", "refresh", "Scan the failed files again, as a new job?"),
}


def show() -> None:
    """Draw the page."""
    with st.sidebar:
        _form()
    st.markdown("#### Jobs")
    _jobs(page.case())


def _form() -> None:
    names = [detector.name for detector in page.detectors()]
    with st.form("scan", clear_on_submit=True):
        st.markdown("##### Start a scan")
        written = st.text_area(
            "Folders, buckets or files",
            placeholder="s3://bucket/folder\n/data/pictures",
            help="One per line: folders of this machine or s3://, gs://, az:// addresses.",
        )
        chosen = st.multiselect("Detectors", names, placeholder="All of them")
        priority = st.selectbox(
            "Priority", PRIORITIES, index=1, help="An urgent scan starts at once, a bulk scan when no other scan runs."
        )
        started = st.form_submit_button("Start", key="start", type="primary", width="stretch")
    if not started:
        return
    uris = [line.strip() for line in written.splitlines() if line.strip()]
    if not uris:
        st.warning("Enter a folder or bucket to scan, for example s3://bucket/folder.")
        return
    job = page.api().submit(uris, chosen or None, priority, page.case())
    st.success(f"Job {draw.escape(job)} was started.")


@st.fragment(run_every=1)
def _jobs(case: str | None) -> None:
    with page.guarded():
        jobs = page.api().jobs(_MAX_JOBS + 1, case)
        if not jobs:
            st.info(
                "No scan has been started yet. Start one in the sidebar, or with `raysift scan s3://bucket/folder`."
            )
        for job in jobs[:_MAX_JOBS]:
            _job(job)
        if len(jobs) > _MAX_JOBS:
            st.caption("Older jobs are not shown; `raysift jobs list` lists them all.")


def _job(job: JobInfo) -> None:
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            if job.outcome == "complete_with_warnings":
                st.badge("finished with warnings", color="orange")
            else:
                st.badge(job.state, color=_STATES[job.state])
            if job.priority != "normal":
                st.badge(job.priority, color="gray")
            st.markdown(f"**{draw.escape(', '.join(job.uris))}**", width="content")
            st.space("stretch")
            st.caption(draw.escape(f"{job.job} {(job.submitted_at or '')[:19].replace('T', ' ')}"), width="content")
        if job.units:
            st.progress(min(1.0, job.done / job.units))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(draw.escape(draw.progress(job)))
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
            st.caption(draw.escape(job.message))
        if job.state in OVER and job.units:
            with st.expander("Report", key=f"report {job.job}", on_change="rerun") as opened:
                if opened.open:
                    _report(_report_of(job.job, page.caller()))


def _changes(job: JobInfo) -> list[Change]:
    if job.state not in OVER:
        return ["cancel"]
    retry: list[Change] = ["retry-failed"] if job.failed else []
    return retry if job.state == "finished" else ["resume", *retry]


def _button(job: JobInfo, change: Change) -> None:
    """Draw a button that asks for confirmation before it changes the job."""
    label, icon, question = _BUTTONS[change]
    with st.popover(label, icon=f":material/{icon}:", key=f"{change} {job.job}"):
        st.markdown(question)
        if st.button(f"Yes, {label.lower()}", key=f"yes {change} {job.job}", type="primary"):
            try:
                changed = page.api().change(job.job, change)
                st.toast("No file of this job failed." if changed is None else f"Done: {draw.escape(changed)}.")
            except ApiError as error:  # it may have ended meanwhile: keep showing the other jobs
                st.toast(draw.escape(error.sentence), icon=":material/error:")


@st.cache_data(ttl=10, max_entries=_MAX_JOBS, show_spinner=False)  # the page is redrawn every second
def _report_of(job: str, api: str) -> Report | None:
    return page.api().job(job).report


def _report(report: Report | None) -> None:
    if report is None:
        st.caption("The job's driver ended before it wrote a report.")
        return
    st.caption(draw.escape(draw.speed(report)))
    if report.detectors:
        st.markdown(draw.usage_table(report))
    if report.failures:
        st.markdown(draw.failure_table(report))
    if report.left_out_groups:
        st.markdown(draw.left_out_table(report))


with page.guarded():
    show()
