"""The Cases page: the cases with their numbers of files, and all files. One is chosen before anything else is shown."""

import streamlit as st
from pydantic import ValidationError

from app import address, draw, page
from app.language.texts import _, counted
from cluster.api_queries import AssetQuery
from cluster.cases.api_types import CaseInfo, NewCase

_MOST_FOLDERS = 3  # of a case, shown


@st.cache_data(ttl=10, max_entries=64, show_spinner=False)
def _all_files(api: str) -> int:
    return page.api().assets(AssetQuery(size=1)).total


def show() -> None:
    """Draw the page."""
    if page.may("operator"):
        with st.sidebar:
            _form()
    st.markdown(f"#### {_('Cases')}")
    cases = page.cases()
    if not cases:
        st.info(_("There is no case yet. A case is a name for folders and buckets whose files belong together."))
        st.code("raysift cases add harbour s3://bucket/folder", language=None)
    for case in sorted(cases, key=lambda case: (case.closed_at is not None, case.title or case.name)):
        _case(case)
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        _line(_("All files"), _all_files(page.caller()), address.ALL_FILES)


def _case(case: CaseInfo) -> None:
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center"):
            if case.closed_at is not None:
                st.badge(_("closed"), color="gray")
            _line(case.title or case.name, case.files, case.name)
        folders = [draw.escape(folder) for folder in case.folders[:_MOST_FOLDERS]]
        more = len(case.folders) - len(folders)
        others = [counted("{n} more folder", "{n} more folders", more)] if more else []
        st.caption(", ".join([case.name, *folders, *others]))


def _line(title: str, files: int, case: str) -> None:
    """The title, the number of files, and links to Overview and Browse, in the container that is open."""
    st.markdown(f"**{draw.escape(title)}**", width="content")
    st.caption(counted("{n} file", "{n} files", files), width="content")
    st.space("stretch")
    for view, label, icon in (("overview", _("Overview"), "monitoring"), ("browse", _("Browse"), "grid_view")):
        st.page_link(f"views/{view}.py", label=label, icon=f":material/{icon}:", query_params={"case": case})


def _form() -> None:
    with st.form("case", clear_on_submit=True):
        st.markdown(f"##### {_('New case')}")
        away = page.is_down()
        name = st.text_input(
            _("Name"), placeholder=_("harbour-2026"), help=_("Lower-case letters, digits, - and _."), disabled=away
        )
        title = st.text_input(_("Title"), max_chars=200, disabled=away)
        written = st.text_area(
            _("Folders, buckets or files"),
            placeholder="s3://bucket/folder",
            help=_("One per line. Scans may add others."),
            disabled=away,
        )
        made = st.form_submit_button(_("Make"), key="make", type="primary", width="stretch", disabled=page.is_down())
    if not made:
        return
    folders = tuple(line.strip() for line in written.splitlines() if line.strip())
    try:
        new = NewCase(name=name.strip(), title=title.strip(), folders=folders)
    except ValidationError:
        st.warning(_("A name has 1 to 63 lower-case letters, digits, - and _, and begins with a letter or digit."))
        return
    page.api().add_case(new)
    st.cache_data.clear()  # the list is cached
    st.rerun()


with page.guarded():
    show()
