"""What the pages share: the API, its colours, how pictures are shown, and sentences for what does not work."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from app import draw
from app.client import ApiClient, ApiDownError, ApiError
from cluster.api_types import DetectorInfo
from cluster.errors import SettingsError
from cluster.settings import load


def api() -> ApiClient:
    """The API of the settings. SettingsError if they are wrong."""
    return _api(load().api.url)


@st.cache_resource(max_entries=4, show_spinner=False)
def _api(url: str) -> ApiClient:
    return ApiClient(url)


def detectors() -> list[DetectorInfo]:
    """What the API serves, asked once a minute."""
    return _detectors(api().url)


@st.cache_data(ttl=60, max_entries=4, show_spinner=False)
def _detectors(url: str) -> list[DetectorInfo]:
    return _api(url).detectors()


def palette() -> dict[str, str]:
    """The colour of each detector."""
    return draw.colors(detector.name for detector in detectors())


def look() -> tuple[bool, bool]:
    """Two switches, kept for the visit: whether pictures are blurred and whether they are grey."""
    blur = st.toggle("Blur", True, key="blur", persist_state="session", help="Reveal one file with b or the eye.")
    grey = st.toggle("Greyscale", key="grey", persist_state="session")
    return blur, grey


@contextmanager
def guarded() -> Iterator[None]:
    """Whatever the API or the settings refuse inside becomes a sentence for the viewer, and the page ends there."""
    try:
        yield
    except ApiDownError as error:
        if error.slow:
            st.warning(f"Raysift at {draw.plain(error.url)} took too long to answer. Try again in a moment.")
        else:
            st.warning(
                f"Raysift does not answer at {draw.plain(error.url)}. Start it with `raysift up`, "
                "or wait if it is starting: this page comes back by itself."
            )
        _wait_for_the_api()
        st.stop()
    except ApiError as error:
        st.warning(draw.plain(error.sentence))
        st.stop()
    except SettingsError as error:
        st.error(f"The settings are wrong: {draw.plain(str(error))}")
        st.stop()


@st.fragment(run_every=3)
def _wait_for_the_api() -> None:
    if api().alive():
        st.rerun()
    st.caption("Asking again every 3 seconds.")
