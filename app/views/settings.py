"""The Settings page: who may do what, the main settings and the models, for admins."""

from collections.abc import Callable

import streamlit as st

from app import draw, page
from app.client import ApiError
from app.language.texts import _
from app.upkeep import calls, configured, people, tables
from cluster.upkeep.api_types import ModelState


@st.cache_data(ttl=30, max_entries=16, show_spinner=False)
def _models(api: str) -> list[ModelState]:
    return calls.models(page.api())


def show() -> None:
    """Draw the page."""
    if not page.may_for_all("admin"):
        st.warning(_("This page is for admins who may see the files of all cases."))
        return
    tables.styles()
    st.markdown(f"#### {_('Settings')}")
    _part(_("Users"), lambda: people.users(calls.users(page.api())))
    _part(_("Keys"), _keys)
    _part(_("Settings of the cluster"), _settings)
    _part(_("Models"), _show_models)


def _part(title: str, draw_inside: Callable[[], None]) -> None:
    """Draw a part of the page; what the API refuses or cannot do now concerns this part only."""
    st.markdown(f"##### {title}")
    try:
        draw_inside()
    except ApiError as error:
        if error.status == 401:
            raise
        st.warning(draw.escape(error.sentence))


def _keys() -> None:
    st.caption(
        _(
            "Programs, and people without a password, show a key. A role includes those before it: viewer, reviewer, "
            "operator, admin."
        )
    )
    people.making()
    known = calls.keys(page.api())  # after a key was made
    people.keys(known)
    people.revoking(known)


def _settings() -> None:
    st.caption(
        _(
            "They are only shown here. On the cluster's head, change settings.yaml and run `raysift upgrade`; after "
            "a change of the environment, `raysift down` and `raysift up`. Variables take precedence."
        )
    )
    configured.settings(calls.settings(page.api()))


def _show_models() -> None:
    st.caption(
        _(
            "As the API's machine finds them. Change a model in settings.yaml, `detectors.NAME.model`; "
            "`raysift models list` and `raysift models pull` are on the command line."
        )
    )
    with st.spinner(_("Looking for the weights")):
        known = _models(page.caller())
    configured.models(known)


with page.guarded():
    show()
