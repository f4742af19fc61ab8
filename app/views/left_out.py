"""What scans left out, file by file with the reason; ?reason and ?suffix narrow it, ?job limits it to one scan."""

import streamlit as st

from app import draw, page
from cluster.cases.overview import LeftOutQuery

MOST = 5000  # rows


def show() -> None:
    """Draw the page."""
    reason, suffix, job = (st.query_params.get(name) for name in ("reason", "suffix", "job"))
    if reason is not None and suffix is None:
        suffix = ""  # an address has no empty values
    query = LeftOutQuery(case=page.case(), job=job, reason=reason, suffix=suffix, size=MOST)
    found = page.api().left_out(query)
    which = draw.escape(f", {suffix or 'no suffix'}: {reason}") if reason else ""
    st.markdown(f"#### {found.total:,} left out{which}")
    if reason:
        kept = [*page.case_pairs(), *([("job", job)] if job else [])]
        st.page_link("views/left_out.py", label="Show all", query_params=kept)
    st.caption(
        "Nothing has looked at these. "
        + ("Those of this job." if job else "Of several scans of the same folders, those of the newest.")
    )
    if not found.items:
        st.info("No scan has left anything out." if not reason else "No scan has left out such files.")
        return
    rows = [
        {"Address": file.uri, "Reason": file.reason, "Suffix": file.suffix, "Job": file.job} for file in found.items
    ]
    st.dataframe(
        rows, key="left out", hide_index=True, column_config={"Address": st.column_config.Column(width="large")}
    )
    if found.total > len(found.items):
        st.caption(f"The first {len(found.items):,}. `_raysift/jobs/JOB/left_out` beside the results has all of them.")


with page.guarded():
    show()
