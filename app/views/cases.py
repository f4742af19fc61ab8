"""The Cases page: the cases with their numbers of files, and all files. One is chosen before anything else is shown."""

import streamlit as st
from pydantic import ValidationError

from app import address, draw, page
from cluster.api_queries import AssetQuery
from cluster.cases.api_types import CaseInfo, NewCase
from cluster.filters.wording import counted

_MOST_FOLDERS = 3  # of a case, shown


@st.cache_data(ttl=10, max_entries=64, show_spinner=False)
def _all_files(api: str) -> int:
    return page.api().assets(AssetQuery(size=1)).total


def show() -> None:
    """Draw the page."""
    if page.may("operator"):
        with st.sidebar:
            _form()
    st.markdown("#### Cases")
    cases = page.cases()
    if not cases:
        st.info("There is no case yet. A case is a name for folders and buckets whose files belong together.")
        st.code("raysift cases add harbour s3://bucket/folder", language=None)
    for case in sorted(cases, key=lambda case: (case.closed_at is not None, case.title or case.name)):
        _case(case)
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        _line("All files", _all_files(page.caller()), address.ALL_FILES)


def _case(case: CaseInfo) -> None:
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            if case.closed_at is not None:
                st.badge("closed", color="gray")
            _line(case.title or case.name, case.files, case.name)
        folders = [draw.escape(folder) for folder in case.folders[:_MOST_FOLDERS]]
        more = len(case.folders) - len(folders)
        st.caption(", ".join([case.name, *folders, *([f"{more:,} more folders"] if more else [])]))


def _line(title: str, files: int, case: str) -> None:
    """The title, the number of files, and links to Overview and Browse, in the container that is open."""
    st.markdown(f"**{draw.escape(title)}**", width="content")
    st.caption(counted(files, "file"), width="content")
    st.space("stretch")
    for view, label, icon in (("overview", "Overview", "monitoring"), ("browse", "Browse", "grid_view")):
        st.page_link(f"views/{view}.py", label=label, icon=f":material/{icon}:", query_params={"case": case})


def _form() -> None:
    with st.form("case", clear_on_submit=True):
        st.markdown("##### New case")
        away = page.is_down()
        name = st.text_input(
            "Name", placeholder="harbour-2026", help="Lower-case letters, digits, - and _.", disabled=away
        )
        title = st.text_input("Title", max_chars=200, disabled=away)
        written = st.text_area(
            "Folders, buckets or files",
            placeholder="s3://bucket/folder",
            help="One per line. Scans may add others.",
            disabled=away,
        )
        made = st.form_submit_button("Make", key="make", type="primary", width="stretch", disabled=page.is_down())
    if not made:
        return
    folders = tuple(line.strip() for line in written.splitlines() if line.strip())
    try:
        new = NewCase(name=name.strip(), title=title.strip(), folders=folders)
    except ValidationError:
        st.warning("A name has 1 to 63 lower-case letters, digits, - and _, and begins with a letter or digit.")
        return
    page.api().add_case(new)
    st.cache_data.clear()  # the list is cached
    st.rerun()


with page.guarded():
    show()
