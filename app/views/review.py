"""The Review page: the files of a queue, one after the other, with keys to decide. Its URL holds the filters."""

from urllib.parse import parse_qsl

import streamlit as st

from app import address, components, draw, draw_file, page
from app.language.formats import number
from app.language.texts import _, counted
from app.review import panel
from app.review.walk import Walk
from app.viewing import exposure
from cluster.api_queries import AssetFilter
from cluster.decisions.api_types import Progress, ReviewQueue
from cluster.exposure.exposure import Exposure
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
        help = _("Files that one other reviewer has decided.")
        second = st.toggle(_("Second review"), key="second", bind="query-params", help=help)
        by = ""
        if second:
            help = _("A reviewer's name; empty: anybody.")
            by = st.text_input(_("Decided by"), key="by", bind="query-params", help=help)
        st.caption(_("Files that pass these filters:") if chosen else _("All files."))
        for name, value in chosen:
            st.caption(draw.escape(f"{name}: {value}"))
        st.page_link("views/browse.py", label=_("Choose in Browse"), icon=":material/grid_view:", query_params=chosen)
    filters = AssetFilter(**{name: getattr(query, name) for name in AssetFilter.model_fields} | {"case": page.case()})
    if not second:
        return ReviewQueue(filter=filters.model_copy(update={"decision": ()}))
    return ReviewQueue(filter=filters, second=True, decided_by=(by or "").strip() or None)


def _progress(progress: Progress) -> None:
    """Draw how many files are done, the pace, and how long the rest takes at it."""
    left = progress.total - progress.done
    done = number(progress.done)
    parts = [counted("{done} of {n} file decided", "{done} of {n} files decided", progress.total, done=done)]
    if progress.last_hour:
        own, all = number(progress.own_last_hour), number(progress.last_hour)
        parts.append(_("{own} by you in the last hour, {all} by all", own=own, all=all))
    if left and progress.own_last_hour:
        time = wording.clock(left / progress.own_last_hour * 3600)
        parts.append(_("about {time} left at your pace", time=time))
    st.progress(progress.done / progress.total if progress.total else 0.0, " · ".join(parts))


def _review(walk: Walk, asset: str) -> None:
    with st.spinner(_("Reading the results")):
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
        st.caption(_("Kept for you until {time} UTC.", time=walk.until[11:16]))
    if blind:
        st.caption(_("The first decision is shown once you have decided."))
    else:
        panel.history(state)
    panel.keep_seen(state)


def _move(walk: Walk) -> Exposure:
    """Draw the buttons that go back, leave the file for later, and take back the last decision; and `exposure.look`."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(_("Back"), shortcut="Left", disabled=walk.place == 0):
            walk.place -= 1
            st.rerun()
        if st.button(_("Next"), shortcut="Right", help=_("Leave this file for later.")):
            walk.place += 1
            st.rerun()
        last = next(reversed(walk.decided), None)
        help = _("Take back your last decision.")
        if st.button(_("Undo"), shortcut="U", disabled=last is None, help=help) and last:
            panel.undo(last, walk.decided.pop(last))
            walk.place = walk.files.index(last)
            st.rerun()
        st.space("stretch")
        return exposure.look()


def _nothing_left(walk: Walk) -> None:
    """Draw what can be done when the queue is empty; files that a job adds are shown when they are there."""
    st.info(_("No file is left in this queue. Files that a running job adds appear here by themselves."))
    with st.container(horizontal=True):
        if walk.files and st.button(_("Back"), shortcut="Left"):
            walk.place -= 1
            st.rerun()
        if walk.files and st.button(_("Show those that were left out")):
            walk.begin_again()
            st.rerun()
    _wait(walk)


@st.fragment(run_every=LOOK_S)
def _wait(walk: Walk) -> None:
    if walk.file() is not None:
        st.rerun()


with page.guarded():
    show()
