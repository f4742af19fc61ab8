"""Scans: start one, see how far they are."""

from typing import Literal

import streamlit as st

from app import draw, page
from app.answers import Job

_MOST = 25
_Color = Literal["gray", "blue", "green", "red"]
_STATES: dict[str, _Color] = {"listing": "blue", "running": "blue", "finished": "green", "failed": "red"}


def show() -> None:
    with st.sidebar:
        _form()
    st.markdown("#### Jobs")
    _jobs()


def _form() -> None:
    names = [detector["name"] for detector in page.detectors()]
    with st.form("scan", clear_on_submit=True):
        st.markdown("##### Start a scan")
        written = st.text_area(
            "Folders, buckets or files",
            placeholder="s3://bucket/folder\n/data/pictures",
            help="One a line. Folders of this machine or s3://, gs://, az:// addresses.",
        )
        chosen = st.multiselect("Detectors", names, placeholder="All of them")
        started = st.form_submit_button("Start", type="primary", width="stretch")
    if not started:
        return
    uris = [line.strip() for line in written.splitlines() if line.strip()]
    if not uris:
        st.warning("Say which folder or bucket to scan, for example s3://bucket/folder.")
        return
    job = page.door().submit(uris, chosen or None)
    st.success(f"Job {draw.plain(job)} was started.")


@st.fragment(run_every=1)
def _jobs() -> None:
    with page.guarded():
        jobs = page.door().jobs()
        if not jobs:
            st.info("No scan has been started yet. Start one at the side, or with `raysift scan s3://bucket/folder`.")
        for job in jobs[:_MOST]:
            _job(job)
        if len(jobs) > _MOST:
            st.caption(f"{len(jobs) - _MOST} older jobs are not shown; `raysift jobs` lists them all.")


def _job(job: Job) -> None:
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(job["state"], color=_STATES.get(job["state"], "gray"))
            st.markdown(f"**{draw.plain(', '.join(job['uris']))}**", width="content")
            st.space("stretch")
            st.caption(
                draw.plain(f"{job['job']} {(job['submitted_at'] or '')[:19].replace('T', ' ')}"), width="content"
            )
        if job["state"] in ("running", "finished", "failed") and job["units"]:
            st.progress(min(1.0, job["done"] / job["units"]))
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(draw.plain(draw.progress(job)))
            if job["failed"]:
                st.page_link(
                    "views/browse.py",
                    label=f"{job['failed']:,} failed files" if job["failed"] > 1 else "1 failed file",
                    icon=":material/error:",
                    query_params={"state": "failed", "under": job["uris"][0]},
                )
        if job["message"]:
            st.caption(draw.plain(job["message"]))


with page.guarded():
    show()
