"""The Analyze page: run all detectors on an uploaded file. The upload is not stored."""

import mimetypes
import re
import time

import streamlit as st
from streamlit import runtime
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app import components, draw, draw_file, page
from app.client import ApiError
from app.language.formats import number
from app.language.texts import _
from app.viewing import exposure
from cluster.api_types import Upload

_SHOWN = re.compile(r"(image|video|audio)/(?!svg)[\w.+-]+")


def show() -> None:
    """Draw the page."""
    st.markdown(f"#### {_('Analyze a file')}")
    upload = st.file_uploader(
        _("An image, a video or an audio recording. It is sent to the detectors and not stored."),
        key="upload",
        max_upload_size=500,
        disabled=page.is_down(),
    )
    if upload is None:
        st.session_state.pop("answer", None)
        return
    try:
        file, seconds = _result(upload)
    except ApiError as error:
        name, why = draw.escape(upload.name), draw.escape(error.sentence)
        st.warning(_("{name} could not be analysed: {why}", name=name, why=why))
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(_("Took {seconds} s", seconds=number(seconds, 1)))
        st.space("stretch")
        look = exposure.look()
    drawn = draw_file.viewer(file, page.palette(), _source(upload), upload.name)
    components.viewer("analyzed", drawn, {}, look)


def _result(upload: UploadedFile) -> tuple[Upload, float]:
    """The analysis of this upload, and its duration in seconds. Kept in the session: a switch reruns the page."""
    known = st.session_state.get("answer")
    if known is None or known[0] != upload.file_id:
        with st.spinner(_("Running every detector"), show_time=True):
            began = time.monotonic()
            file = page.api().analyze(upload.name, upload)
            known = (upload.file_id, file, time.monotonic() - began)
        st.session_state["answer"] = known
    return known[1], known[2]


def _source(upload: UploadedFile) -> str:
    """A URL of the upload that is valid while the page is open. Empty if it is no image, video or audio."""
    kind = mimetypes.guess_type(upload.name)[0] or ""
    if not _SHOWN.fullmatch(kind):
        return ""
    return runtime.get_instance().media_file_mgr.add(upload.getvalue(), kind, "analyze.upload")


with page.guarded():
    show()
