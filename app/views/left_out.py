"""What scans left out, file by file with the reason; ?reason and ?suffix narrow it, ?job limits it to one scan."""

import streamlit as st

from app import draw, page
from app.language.formats import number
from app.language.texts import _
from cluster.cases.overview import LeftOutQuery

MOST = 5000  # rows


def show() -> None:
    """Draw the page."""
    reason, suffix, job = (st.query_params.get(name) for name in ("reason", "suffix", "job"))
    if reason is not None and suffix is None:
        suffix = ""  # an address has no empty values
    query = LeftOutQuery(case=page.case(), job=job, reason=reason, suffix=suffix, size=MOST)
    found = page.api().left_out(query)
    title = _("{n} left out", n=number(found.total))
    which = draw.escape(f", {suffix or _('no suffix')}: {reason}") if reason else ""
    st.markdown(f"#### {title}{which}")
    if reason:
        kept = [*page.case_pairs(), *([("job", job)] if job else [])]
        st.page_link("views/left_out.py", label=_("Show all"), query_params=kept)
    of_job, of_newest = _("Those of this job."), _("Of several scans of the same folders, those of the newest.")
    st.caption(f"{_('Nothing has looked at these.')} {of_job if job else of_newest}")
    if not found.items:
        st.info(_("No scan has left out such files.") if reason else _("No scan has left anything out."))
        return
    rows = [
        {_("Address"): file.uri, _("Reason"): file.reason, _("Suffix"): file.suffix, _("Job"): file.job}
        for file in found.items
    ]
    wide = {_("Address"): st.column_config.Column(width="large")}
    st.dataframe(rows, key="left out", hide_index=True, column_config=wide)
    if found.total > len(found.items):
        shown = number(len(found.items))
        st.caption(_("The first {n}. `_raysift/jobs/JOB/left_out` beside the results has all of them.", n=shown))


with page.guarded():
    show()
