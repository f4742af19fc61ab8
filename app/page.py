"""Helpers of all pages: the API client, detector colours, switches for blur and grey, and error messages."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from app import draw
from app.client import ApiClient, ApiDownError, ApiError
from cluster.api_types import DetectorInfo
from cluster.errors import SettingsError
from cluster.settings import load


def api() -> ApiClient:
    """The client of the API at the configured address. Raises SettingsError if the settings are invalid."""
    return _api(load().api.url)


@st.cache_resource(max_entries=4, show_spinner=False)
def _api(url: str) -> ApiClient:
    return ApiClient(url)


def detectors() -> list[DetectorInfo]:
    """The detectors that are served; cached for a minute."""
    return _detectors(api().url)


@st.cache_data(ttl=60, max_entries=4, show_spinner=False)
def _detectors(url: str) -> list[DetectorInfo]:
    return _api(url).detectors()


def palette() -> dict[str, str]:
    """Detector -> colour."""
    return draw.colors(detector.name for detector in detectors())


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
        st.warning(draw.escape(error.sentence))
        st.stop()
    except SettingsError as error:
        st.error(f"The settings are wrong: {draw.escape(str(error))}")
        st.stop()


@st.fragment(run_every=3)
def _wait_for_the_api() -> None:
    if api().alive():
        st.rerun()
    st.caption("Retrying every 3 seconds.")
