"""Helpers of all pages: the API client, who is signed in, detector colours, switches for blur and grey, messages."""

import hashlib
import html
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from app import address, draw
from app.address import Pairs
from app.client import ApiClient, ApiDownError, ApiError
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


def session() -> str:
    """The API's session of the browser that looks at this page; empty if it is not signed in."""
    return token_of(st.context.cookies.to_dict())


def purpose() -> str:
    """For what this page is used, as was said in this session; empty if nobody asked."""
    return purpose_of(st.context.cookies.to_dict())


def api() -> ApiClient:
    """The client of the API for whoever looks at this page. Raises SettingsError if the settings are invalid."""
    address = st.context.ip_address  # None on this machine
    return _api(load().api.url, session(), address if isinstance(address, str) else "", purpose())


@st.cache_resource(max_entries=64, show_spinner=False)
def _api(url: str, token: str, address: str, purpose: str) -> ApiClient:
    return ApiClient(url, authorization(token, address) | purpose_header(purpose))


def caller() -> str:
    """The API and a hash of the session: part of the key of all that is cached, since users see different files."""
    return f"{api().url} {hashlib.sha256(session().encode()).hexdigest()}"


def viewer() -> Viewer:
    """Who is signed in; cached for five seconds."""
    return _viewer(caller())


@st.cache_data(ttl=5, max_entries=256, show_spinner=False)
def _viewer(caller: str) -> Viewer:
    return api().viewer()


def may(role: Role) -> bool:
    """Whether who is signed in has this role, or one above it."""
    return ROLES.index(viewer().role) >= ROLES.index(role)


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
    """The cases that the viewer may see, by name; cached for ten seconds."""
    return _cases(caller())


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
    titles = {one.name: one.title or one.name for one in cases()}
    chosen = dict(case_pairs()).get("case", address.ALL_FILES)
    if not titles and chosen == address.ALL_FILES:
        return
    st.session_state["case_choice"] = chosen
    st.selectbox(
        "Case",
        list(dict.fromkeys([address.ALL_FILES, *titles, chosen])),
        key="case_choice",
        format_func=lambda name: "All files" if name == address.ALL_FILES else titles.get(name, name),
        label_visibility="collapsed",
        icon=":material/folder_special:",
        width=260,
        on_change=_choose_case,
    )


def _choose_case() -> None:
    st.session_state["case"] = st.query_params["case"] = st.session_state["case_choice"]
    st.session_state["page"] = 1  # of Browse
    st.query_params.pop("page", None)


def look() -> tuple[bool, bool]:
    """Draw two switches, kept for the session; returns whether to blur pictures and whether to show them in grey."""
    blur = st.toggle("Blur", True, key="blur", persist_state="session", help="Reveal one file with b or the eye.")
    grey = st.toggle("Greyscale", key="grey", persist_state="session")
    return blur, grey


@contextmanager
def guarded() -> Iterator[None]:
    """Show errors of the API and the settings that the block raises as messages, and stop the page."""
    try:
        yield
    except ApiDownError as error:
        if error.slow:
            st.warning(f"Raysift at {draw.escape(error.url)} took too long to answer. Try again in a moment.")
        else:
            st.warning(
                f"Raysift does not answer at {draw.escape(error.url)}. Start it with `raysift up`, "
                "or wait if it is starting: this page then reloads itself."
            )
        _wait_for_the_api()
        st.stop()
    except ApiError as error:
        if error.status == 401:
            st.warning("Your session has ended.")
            link(f"{PATH}?next=/", "Sign in again")
        else:
            st.warning(draw.escape(error.sentence))
        st.stop()
    except SettingsError as error:
        st.error(f"The settings are wrong: {draw.escape(str(error))}")
        st.stop()


def link(path: str, text: str) -> None:
    """A link to a page that Streamlit does not serve, in the same tab."""
    st.markdown(f'<a href="{html.escape(path)}" target="_self">{text}</a>', unsafe_allow_html=True, width="content")


@st.fragment(run_every=3)
def _wait_for_the_api() -> None:
    if api().alive():
        st.rerun()
    st.caption("Retrying every 3 seconds.")
