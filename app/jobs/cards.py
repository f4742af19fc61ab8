"""The cards of jobs: progress, what was found so far, buttons, report and log."""

from collections.abc import Callable
from typing import Literal

import streamlit as st

from app import draw, page
from app.client import ApiDownError, ApiError, Change
from app.jobs import wording
from app.language.formats import moment, number
from app.language.texts import N_, _, counted
from cluster.api_job_types import JobDetails, JobInfo, Report
from cluster.records import OVER, JobState

MOST = 25
_LOG_LINES = 200
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
    "cancel": (N_("Cancel"), "stop", N_("Cancel this job? Its stored results are kept, and it can be resumed.")),
    "resume": (N_("Resume"), "play_arrow", N_("Resume this job? Finished files are not scanned again.")),
    "retry-failed": (N_("Retry failed"), "refresh", N_("Scan the failed files again, as a new job?")),
}
_YES: dict[Change, str] = {
    "cancel": N_("Yes, cancel"),
    "resume": N_("Yes, resume"),
    "retry-failed": N_("Yes, retry failed"),
}


@st.cache_data(ttl=10, max_entries=2 * MOST, show_spinner=False)  # the cards are drawn again every few seconds
def _over(api: str, job: str) -> JobDetails:
    return page.api().job(job)


@st.cache_data(ttl=5, max_entries=MOST, show_spinner=False)
def _log(api: str, job: str) -> list[str]:
    return page.api().logs(job).splitlines()


def show(job: JobInfo) -> None:
    """Draw the card of a job."""
    with st.container(border=True, gap="xsmall", key=f"card {job.job}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            if job.outcome == "complete_with_warnings":
                st.badge(_("finished with warnings"), color="orange")
            else:
                st.badge(_(job.state), color=_STATES[job.state])
            if job.priority != "normal":
                st.badge(_(job.priority), color="gray")
            others = job.uri_count - len(job.uris)
            more = f" {counted('and {n} more', 'and {n} more', others)}" if others > 0 else ""
            st.markdown(f"**{draw.escape(', '.join(job.uris))}**{more}", width="content")
            st.space("stretch")
            st.caption(draw.escape(f"{job.job} {moment(job.submitted_at or '', seconds=True)}"), width="content")
        if job.units:
            st.progress(min(1.0, job.done / job.units))
        st.caption(draw.escape(wording.progress(job)))
        if job.message:
            st.caption(draw.escape(job.message))
        with st.container(horizontal=True, vertical_alignment="center"):
            _links(job)
            st.space("stretch")
            for change in _changes(job):
                _button(job, change)
        if job.units:
            if job.state in OVER:
                _expander(job, "Report", _("Report"), _details)
            else:
                _expander(job, "By detector", _("By detector"), _details)
        if job.attempts:
            _expander(job, "Log", _("Log"), _show_log)


def _links(job: JobInfo) -> None:
    """Links to the job's files, by its name: others have scanned the same folders."""
    if job.done:
        label = _("Its files") if job.state in OVER else _("What it found so far")
        st.page_link("views/browse.py", label=label, icon=":material/grid_view:", query_params={"job": job.job})
    if job.failed:
        st.page_link(
            "views/browse.py",
            label=counted("{n} failed file", "{n} failed files", job.failed),
            icon=":material/error:",
            query_params={"state": "failed", "job": job.job},
        )


def _changes(job: JobInfo) -> list[Change]:
    if job.state not in OVER:
        return ["cancel"]
    retry: list[Change] = ["retry-failed"] if job.failed else []
    return retry if job.state == "finished" else ["resume", *retry]


def _button(job: JobInfo, change: Change) -> None:
    """Draw a button that asks for confirmation before it changes the job."""
    label, icon, question = _BUTTONS[change]
    away = page.is_down()
    with st.popover(_(label), icon=f":material/{icon}:", key=f"{change} {job.job}", disabled=away):
        st.markdown(_(question))
        if st.button(_(_YES[change]), key=f"yes {change} {job.job}", type="primary", disabled=away):
            try:
                changed = page.api().change(job.job, change)
                none = _("No file of this job failed.")
                st.toast(none if changed is None else _("Done: {job}.", job=draw.escape(changed)))
            except ApiError as error:  # it may have ended meanwhile: keep showing the other jobs
                st.toast(draw.escape(error.sentence), icon=":material/error:")


def _expander(job: JobInfo, name: str, title: str, draw_inside: Callable[[JobInfo], None]) -> None:
    """Draw an expander whose content is asked for only while it is open."""
    with st.expander(title, key=f"{name} {job.job}", on_change="rerun") as opened:
        if opened.open:
            try:
                draw_inside(job)
            except ApiError as error:
                st.caption(draw.escape(error.sentence))


def _details(job: JobInfo) -> None:
    if job.state in OVER:
        _report(_over(page.caller(), job.job).report)
        return
    so_far = page.api().job(job.job)
    st.markdown(wording.so_far_table(so_far) if so_far.so_far else _("No detector has answered yet."))


def _report(report: Report | None) -> None:
    if report is None:
        st.caption(_("The job's driver ended before it wrote a report."))
        return
    st.caption(draw.escape(wording.speed(report)))
    if report.detectors:
        st.markdown(wording.usage_table(report))
    if report.failures:
        st.markdown(wording.failure_table(report))
    if report.left_out_groups:
        st.markdown(wording.left_out_table(report.left_out_groups))


def _show_log(job: JobInfo) -> None:
    try:
        lines = _log(page.caller(), job.job)
    except ApiDownError as error:
        if not error.slow:
            raise
        st.caption(_("Ray has not sent the log yet. Close and open it again."))
        return
    st.caption(
        _(
            "The last {shown} of {all} lines of its drivers. Those of detectors and nodes: `raysift logs --job {job}` "
            "on the head.",
            shown=number(min(len(lines), _LOG_LINES)),
            all=number(len(lines)),
            job=job.job,
        )
    )
    with st.container(height=320, autoscroll=True):
        st.code("\n".join(lines[-_LOG_LINES:]) or _("Nothing is logged yet."), language=None, wrap_lines=True)
