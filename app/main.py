"""The app's navigation. `streamlit run app/serve.py` runs this script for every visitor."""

import streamlit as st

from app import address, components, draw, page
from app.language.choice import NAMES, PARAMETER, current
from app.language.texts import _
from app.purpose import PATH as PURPOSE_PATH
from app.sign_in import OUT_PATH
from app.viewing import exposure

_ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#2b8ba3">
<path stroke-width="2.6" stroke-linecap="round" d="M3 5h18M6 11h12M9 17h6"/></svg>"""
_MARK = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 108 24">
<g fill="none" stroke="#2b8ba3" stroke-width="2.4" stroke-linecap="round"><path d="M3 5h18M6 11h12M9 17h6"/></g>
<circle cx="12" cy="22" r="1.6" fill="#2b8ba3"/>
<text x="30" y="18" font-family="sans-serif" font-size="17" font-weight="600" fill="#2b8ba3">Raysift</text></svg>"""

# without a page_icon Streamlit fetches the icon of the page from a font server, as favicon
st.set_page_config(page_icon=_ICON, layout="wide", initial_sidebar_state="auto")
st.logo(_MARK, size="medium")
with page.guarded():
    page.notice()
    who = page.viewer()
    pages = [
        st.Page("views/cases.py", title=_("Cases"), icon=":material/folder_special:"),
        st.Page("views/browse.py", title=_("Browse"), icon=":material/grid_view:", default=True),
        st.Page("views/overview.py", title=_("Overview"), icon=":material/monitoring:"),
        st.Page("views/search.py", title=_("Search"), icon=":material/search:"),
        st.Page("views/people.py", title=_("People"), icon=":material/group:"),
        st.Page("views/logos.py", title=_("Logos"), icon=":material/verified:"),
        st.Page("views/file.py", title=_("File"), visibility="hidden"),
        st.Page("views/left_out.py", title=_("Left out"), visibility="hidden"),
    ]
    if page.may("reviewer"):
        pages.insert(6, st.Page("views/review.py", title=_("Review"), icon=":material/rule:"))
        pages.insert(7, st.Page("views/analyze.py", title=_("Analyze"), icon=":material/upload_file:"))
    if page.may("operator"):
        pages.insert(8, st.Page("views/jobs.py", title=_("Jobs"), icon=":material/checklist:"))
    if page.may_for_all("operator"):
        pages.append(st.Page("views/cluster.py", title=_("Cluster"), icon=":material/dns:"))
    if page.may_for_all("admin"):
        pages.append(st.Page("views/settings.py", title=_("Settings"), icon=":material/settings:"))
    cases = page.cases()
shown = st.navigation(pages, position="top")
if shown.url_path == "" and cases and not st.query_params and "case" not in st.session_state:
    st.switch_page("views/cases.py")  # Browse without a choice: first one is made
with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap="small"):
    if shown.url_path != "cases":
        with page.guarded():
            page.choose_case()
        st.space("stretch")
    st.caption(draw.escape(f"{who.name}, {_(who.role)}"), width="content")
    here = [(name, value) for name in st.query_params for value in st.query_params.get_all(name) if name != PARAMETER]
    for language, name in NAMES.items():
        if language != current():
            page.link(address.href(f"/{shown.url_path}", [*here, (PARAMETER, language)]), name)
    if page.purpose():
        page.link(PURPOSE_PATH, _("Purpose"))
    page.link(OUT_PATH, _("Sign out"))
components.keys()
page.legible()
with page.guarded():
    exposure.remind()
shown.run()
