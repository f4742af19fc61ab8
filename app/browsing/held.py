"""The list of the Browse page is held still: files that arrive while somebody looks at it wait for a click."""

import time
from collections.abc import Callable

import streamlit as st

from app import page
from app.client import ApiDownError, ApiError
from app.language.texts import counted
from cluster.api_queries import AssetFilter, AssetQuery

_CHECK_EVERY_S, _CHECK_EMPTY_EVERY_S = 5, 2  # an empty list is waited for
_KEY = "held"  # in the session: the filters, and the id of the file that had arrived last when they were chosen


def upto(filters: AssetQuery) -> str | None:
    """`upto` of the list with these filters that this session looks at; None: it has not looked at it yet."""
    of, latest = st.session_state.get(_KEY, (None, None))
    return latest if of == _text(filters) else None


def hold(filters: AssetQuery, latest: str | None) -> None:
    """Hold the list with these filters at the file that has arrived last."""
    st.session_state[_KEY] = (_text(filters), latest)


def release() -> bool:
    """Let the next run show the files that have arrived since. Returns whether the list was held."""
    return st.session_state.pop(_KEY, None) is not None


def arrivals(filters: AssetQuery, total: int, read_at: float, forget: Callable[[], None]) -> None:
    """Draw how many files have arrived that pass the filters, beside the `total` that are listed, and a button.

    `read_at`: when the list was read that is held now, by time.monotonic(); soon after it nothing is asked for, so that
    the page appears earlier. The button releases the list and calls `forget`, which empties the page's caches. In an
    empty list there is nothing to hold still: the first files appear by themselves.
    """
    every = _CHECK_EVERY_S if total else _CHECK_EMPTY_EVERY_S
    st.fragment(run_every=every)(_arrivals)(filters, total, read_at + every / 2, forget)


def _arrivals(filters: AssetQuery, total: int, ask_from: float, forget: Callable[[], None]) -> None:
    if time.monotonic() < ask_from:
        return
    try:
        new = _count(page.caller(), _text(filters)) - total
    except (ApiError, ApiDownError):  # the list stays as it is; the next click says what is wrong
        return
    if new <= 0:
        return
    text = counted("{n} new file: refresh", "{n} new files: refresh", new)
    if not total or st.button(text, icon=":material/refresh:", key="refresh", type="primary"):
        release()
        forget()
        st.rerun()  # the whole page, not only this fragment


@st.cache_data(ttl=_CHECK_EMPTY_EVERY_S / 2, max_entries=256, show_spinner=False)
def _count(api: str, filters: str) -> int:
    return page.api().assets(AssetQuery.model_validate_json(filters).model_copy(update={"size": 1})).total


def _text(filters: AssetQuery) -> str:
    return filters.model_dump_json(include=set(AssetFilter.model_fields) - {"upto"})
