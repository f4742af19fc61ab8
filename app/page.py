"""Helpers of all pages: the API client, who is signed in, detector colours, messages."""

import hashlib
import html
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import address, draw
from app.address import Pairs
from app.client import ApiClient, ApiDownError, ApiError
from app.language.texts import _
from app.purpose import purpose_of
from app.sign_in import authorization, token_of
from app.sign_in_page import PATH
from cluster.access.api_types import Viewer
from cluster.access.identity import ROLES, Role
from cluster.access.rules import purpose_header
from cluster.api_types import DetectorInfo
from cluster.cases.api_types import CaseInfo
from cluster.errors import SettingsError
from cluster.settings import load

T = TypeVar("T")
_DOWN = "the API is away"  # in the session, while it is


def session() -> str:
    """The API's session of the browser that looks at this page; empty if it is not signed in."""
    return token_of(st.context.cookies.to_dict())


def purpose() -> str:
    """For what this page is used, as was said in this session; empty if nobody asked."""
    return purpose_of(st.context.cookies.to_dict())


def api() -> ApiClient:
    """The client of the API for whoever looks at this page. Raises SettingsError if the settings are invalid."""
    address = st.context.ip_address  # None on this machine
    return _api(_url(), session(), address if isinstance(address, str) else "", purpose())


@st.cache_data(ttl=60, show_spinner=False)
def _url() -> str:
    """The URL of the API. A page asks for it a dozen times, and reading the settings takes 3 ms of CPU."""
    return load().api.url


@st.cache_resource(max_entries=64, show_spinner=False)
def _api(url: str, token: str, address: str, purpose: str) -> ApiClient:
    return ApiClient(url, authorization(token, address) | purpose_header(purpose))


def caller() -> str:
    """The API and a hash of the session: part of the key of all that is cached, since users see different files."""
    return f"{api().url} {hashlib.sha256(session().encode()).hexdigest()}"


def viewer() -> Viewer:
    """Who is signed in; cached for five seconds. While the API is away: who was, so that the page can be drawn."""
    return _remembered("viewer", lambda: _viewer(caller()))


@st.cache_data(ttl=5, max_entries=256, show_spinner=False)
def _viewer(caller: str) -> Viewer:
    return api().viewer()


def may(role: Role) -> bool:
    """Whether who is signed in has this role, or one above it."""
    return ROLES.index(viewer().role) >= ROLES.index(role)


def may_for_all(role: Role) -> bool:
    """Whether who is signed in has this role for the files of all cases, which what concerns the cluster demands."""
    return may(role) and viewer().prefixes is None


def detectors() -> list[DetectorInfo]:
    """The detectors that are served; cached for a minute."""
    return _detectors(caller())


@st.cache_data(ttl=60, max_entries=64, show_spinner=False)
def _detectors(caller: str) -> list[DetectorInfo]:
    return api().detectors()


def palette() -> dict[str, str]:
    """Detector -> colour."""
    return draw.colors(detector.name for detector in detectors())


def floors() -> dict[str, float]:
    """Detector -> the score below which it keeps nothing today; earlier scans may have kept more."""
    return {info.name: info.floor for info in detectors() if info.floor is not None}


def cases() -> list[CaseInfo]:
    """The cases that the viewer may see, by name; cached for ten seconds. While the API is away: as it was before."""
    return _remembered("cases", lambda: _cases(caller()))


def _remembered(name: str, read: Callable[[], T]) -> T:
    """What is read, or, while the API is away, what this session has read last."""
    key = f"remembered {name}"
    try:
        st.session_state[key] = read()
    except ApiDownError:
        if not is_down() or key not in st.session_state:
            raise
    known: T = st.session_state[key]
    return known


@st.cache_data(ttl=10, max_entries=64, show_spinner=False)
def _cases(caller: str) -> list[CaseInfo]:
    return api().cases()


def case() -> str | None:
    """The name of the case that this page is limited to; None: all files, or none is chosen yet."""
    return address.case_of(case_pairs())


def case_pairs() -> Pairs:
    """The choice of a case as a parameter of URLs; none if nothing was chosen in this URL or, before, in the session.

    Links of Streamlit lose the parameter, so it is put back.
    """
    chosen = st.query_params.get("case") or st.session_state.get("case")
    if not chosen:
        return []
    if st.query_params.get("case") != chosen:
        st.query_params["case"] = chosen
    st.session_state["case"] = chosen
    return [("case", chosen)]


def choose_case() -> None:
    """Draw the choice of a case, if there are any."""
    titles = {address.ALL_FILES: _("All files")} | {one.name: one.title or one.name for one in cases()}
    chosen = dict(case_pairs()).get("case", address.ALL_FILES)
    if len(titles) == 1 and chosen == address.ALL_FILES:
        return
    st.session_state["case_choice"] = chosen
    st.selectbox(
        _("Case"),
        list(dict.fromkeys([*titles, chosen])),
        key="case_choice",
        format_func=lambda name: titles.get(name, name),
        label_visibility="collapsed",
        icon=":material/folder_special:",
        width=260,
        disabled=is_down(),
        on_change=_choose_case,
    )


def _choose_case() -> None:
    st.session_state["case"] = st.query_params["case"] = st.session_state["case_choice"]
    st.session_state["page"] = 1  # of Browse
    st.query_params.pop("page", None)


def choose(
    label: str, texts: Mapping[T, str], chosen: T, key: str, on_choose: Callable[[T], None], **more: Any
) -> None:
    """Draw a choice between a few values, of which the URL has `chosen`; `on_choose` changes the URL.

    Each value has a widget of its own: else Streamlit would show what was chosen before, not what the URL says. `more`:
    as of st.segmented_control.
    """
    widget = f"{key} {chosen}"
    st.segmented_control(
        label,
        list(texts),
        default=chosen,
        format_func={value: _(text) for value, text in texts.items()}.__getitem__,
        key=widget,
        required=True,
        label_visibility="collapsed",
        on_change=lambda: on_choose(st.session_state[widget]),
        **more,
    )


def legible() -> None:
    """Have dark letters on primary buttons in the dark theme: Streamlit's are white in both, with too little contrast.

    Under the pointer, or with the focus, Streamlit darkens such a button: then they stay white.
    """
    plain = "[data-testid^=stBaseButton-primary]:not(:hover, :focus-visible, :active, :disabled)"
    st.html(f"<style>{plain} {{ color: light-dark(#ffffff, #0b1214) }}</style>")


def is_down() -> bool:
    """Whether the API did not answer at the last call: then controls are disabled, as they would do nothing."""
    return _DOWN in st.session_state


def notice() -> None:
    """Say in a sentence that the API is away, if it was at the last call, and wait for it."""
    if not is_down():
        return
    if api().alive():
        del st.session_state[_DOWN]
        return
    st.warning(
        _(
            "Raysift does not answer at {url}. Start it with `raysift up`, or wait if it is starting: this page then "
            "reloads itself.",
            url=draw.escape(api().url),
        )
    )
    _wait_for_the_api()


@contextmanager
def guarded() -> Iterator[None]:
    """Show errors of the API and the settings that the block raises as messages, and stop the page.

    If the API is away, the page is drawn once more with its notice and with disabled controls.
    """
    try:
        yield
    except ApiDownError as error:
        if error.slow:
            url = draw.escape(error.url)
            st.warning(_("Raysift at {url} took too long to answer. Try again in a moment.", url=url))
        elif not is_down():
            st.session_state[_DOWN] = True
            st.rerun()
        st.stop()
    except ApiError as error:
        if error.status == 401:
            st.warning(_("Your session has ended."))
            link(f"{PATH}?next=/", _("Sign in again"))
        else:
            st.warning(draw.escape(error.sentence))
        st.stop()
    except SettingsError as error:
        st.error(_("The settings are wrong: {error}", error=draw.escape(str(error))))
        st.stop()


def link(path: str, text: str) -> None:
    """A link to a page that Streamlit does not serve, in the same tab."""
    st.markdown(f'<a href="{html.escape(path)}" target="_self">{text}</a>', unsafe_allow_html=True, width="content")


def steady(key: str) -> DeltaGenerator:
    """A container whose elements keep their colour while they are refreshed.

    Streamlit fades what a run has not drawn again, from half a second after its start: if the API is slow, or the
    machine busy, all the time. `key`: unique on the page.
    """
    shown = f".st-key-{key} :is([data-stale], summary, summary > *)"
    st.html(f"<style>{shown} {{ opacity: 1 !important; transition: none !important; }}</style>")
    return st.container(key=key)


@st.fragment(run_every=3)
def _wait_for_the_api() -> None:
    if api().alive():
        st.rerun()
    st.caption(_("Retrying every 3 seconds."))
