"""The Jobs page: plan, start, cancel, resume and retry scans; shows their progress, reports and logs."""

import streamlit as st

from app import page
from app.jobs import cards, scan
from app.language.texts import _
from cluster.records import OVER

_REFRESH_S, _IDLE_S = 1, 10  # while a job is not over, and else


def show() -> None:
    """Draw the page."""
    with st.sidebar:
        scan.form()
    scan.message()
    scan.plan()
    st.markdown(f"#### {_('Jobs')}")
    is_busy = st.session_state.get(scan.BUSY, True)
    with page.steady("jobs"):
        st.fragment(run_every=_REFRESH_S if is_busy else _IDLE_S)(_jobs)(page.case())


def _jobs(case: str | None) -> None:
    with page.guarded():
        jobs = page.api().jobs(cards.MOST + 1, case)
        is_busy = any(job.state not in OVER for job in jobs)
        if st.session_state.get(scan.BUSY, True) != is_busy:
            st.session_state[scan.BUSY] = is_busy
            st.rerun()  # with another interval
        if not jobs:
            st.info(
                _("No scan has been started yet. Start one in the sidebar, or with `raysift scan s3://bucket/folder`.")
            )
        for job in jobs[: cards.MOST]:
            cards.show(job)
        if len(jobs) > cards.MOST:
            st.caption(_("Older jobs are not shown; `raysift jobs list` lists them all."))


with page.guarded():
    show()
