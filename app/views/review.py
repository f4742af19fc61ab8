"""The Review page: the files of a queue, one after the other, with keys to decide. Its URL holds the filters."""

from urllib.parse import parse_qsl

import streamlit as st

from app import address, components, draw, draw_file, page
from app.review import panel
from app.review.walk import Walk
from cluster.api_queries import AssetFilter
from cluster.decisions.api_types import Progress, ReviewQueue
from cluster.filters import wording

LOOK_S = 5.0  # how often an empty queue is asked for files that a job has added meanwhile


def show() -> None:
    """Draw the page."""
    queue = _queue()
    walk: Walk | None = st.session_state.get("review")
    if walk is None or walk.queue != queue:
        walk = st.session_state["review"] = Walk(queue)
    _progress(page.api().review_progress(queue))
    panel.message()
    asset = walk.file()
    if asset is None:
        _nothing_left(walk)
    else:
        _review(walk, asset)


def _queue() -> ReviewQueue:
    """Draw the choice of the queue; returns it. The filters are those of Browse, as one parameter of the URL."""
    query = address.query_of(parse_qsl(st.query_params.get("in", "")))
    chosen = address.context(query.model_copy(update={"page": 1}))
    with st.sidebar:
        second = st.toggle(
            "Second review", key="second", bind="query-params", help="Files that one other reviewer has decided."
        )
        by = ""
        if second:
            by = st.text_input("Decided by", key="by", bind="query-params", help="A reviewer's name; empty: anybody.")
        st.caption("Files that pass these filters:" if chosen else "All files.")
        for name, value in chosen:
            st.caption(draw.escape(f"{name}: {value}"))
        st.page_link("views/browse.py", label="Choose in Browse", icon=":material/grid_view:", query_params=chosen)
    filters = AssetFilter(**{name: getattr(query, name) for name in AssetFilter.model_fields} | {"case": page.case()})
    if not second:
        return ReviewQueue(filter=filters.model_copy(update={"decision": ()}))
    return ReviewQueue(filter=filters, second=True, decided_by=(by or "").strip() or None)


def _progress(progress: Progress) -> None:
    """Draw how many files are done, the pace, and how long the rest takes at it."""
    left = progress.total - progress.done
    parts = [f"{progress.done:,} of {progress.total:,} files decided"]
    if progress.last_hour:
        parts.append(f"{progress.own_last_hour:,} by you in the last hour, {progress.last_hour:,} by all")
    if left and progress.own_last_hour:
        parts.append(f"about {wording.clock(left / progress.own_last_hour * 3600)} left at your pace")
    st.progress(progress.done / progress.total if progress.total else 0.0, " · ".join(parts))


def _review(walk: Walk, asset: str) -> None:
    with st.spinner("Reading the results"):
        file, state = page.api().asset(asset), page.api().decision(asset)
    # a second person decides without knowing the first one's decision
    blind = walk.queue.second and asset not in walk.decided
    made = panel.decide(state, None if blind else state.decision, keys=True)
    if made is not None:
        walk.decided.pop(asset, None)  # so that the last one is the last in the dict
        walk.decided[asset] = made.version
        walk.place += 1
        st.rerun()
    look = _move(walk)
    drawn = draw_file.viewer(file, page.palette(), f"/api/media/{asset}", file.name, page.floors())
    components.viewer("viewer", drawn, {}, look)
    if walk.until and walk.place == len(walk.files) - 1 and asset not in walk.decided:
        st.caption(f"Kept for you until {walk.until[11:16]} UTC.")
    if blind:
        st.caption("The first decision is shown once you have decided.")
    else:
        panel.history(state)
    panel.keep_seen(state)


def _move(walk: Walk) -> tuple[bool, bool]:
    """Draw the buttons that go back, leave the file for later, and take back the last decision; and `page.look`."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button("Back", shortcut="Left", disabled=walk.place == 0):
            walk.place -= 1
            st.rerun()
        if st.button("Next", shortcut="Right", help="Leave this file for later."):
            walk.place += 1
            st.rerun()
        last = next(reversed(walk.decided), None)
        if st.button("Undo", shortcut="U", disabled=last is None, help="Take back your last decision.") and last:
            panel.undo(last, walk.decided.pop(last))
            walk.place = walk.files.index(last)
            st.rerun()
        st.space("stretch")
        return page.look()


def _nothing_left(walk: Walk) -> None:
    """Draw what can be done when the queue is empty; files that a job adds are shown when they are there."""
    st.info("No file is left in this queue. Files that a running job adds appear here by themselves.")
    with st.container(horizontal=True):
        if walk.files and st.button("Back", shortcut="Left"):
            walk.place -= 1
            st.rerun()
        if walk.files and st.button("Show those that were left out"):
            walk.begin_again()
            st.rerun()
    _wait(walk)


@st.fragment(run_every=LOOK_S)
def _wait(walk: Walk) -> None:
    if walk.file() is not None:
        st.rerun()


with page.guarded():
    show()
