"""Who may do what: users and keys on the Settings page, and the forms that make and revoke a key."""

import time

import streamlit as st

from app import draw, page
from app.client import ApiError
from app.language.formats import moment
from app.language.texts import _
from app.upkeep import calls, tables
from app.upkeep.cluster import NONE
from app.upkeep.tables import Html
from cluster.access.api_types import KeyInfo, NewKey, UserInfo
from cluster.access.identity import ROLES
from cluster.records import iso_time


def users(known: list[UserInfo]) -> None:
    """Draw the people who sign in with a password."""
    if not known:
        st.info(_("Nobody signs in with a password."))
    else:
        rows = [
            [user.name, _(user.role), _sees(user.prefixes), at(user.made_at), at(user.used_at) or NONE]
            for user in known
        ]
        tables.draw(_("Users"), [_("Name"), _("Role"), _("Sees"), _("Since"), _("Last used")], rows)
    st.caption(
        _(
            "Change it on the cluster's head: `raysift users add NAME --role ROLE`, `raysift users remove NAME`. Who "
            "signs in with the organisation's provider has the role of a group: setting `oidc.roles`."
        )
    )


def keys(known: list[KeyInfo]) -> None:
    """Draw the keys, newest first: those that are valid, then the others."""
    if not known:
        st.info(_("There is no key yet."))
        return
    ordered = sorted(known, key=lambda key: (not is_valid(key), -key.made_at))
    rows = [
        [tables.small(key.name, key.id), _(key.role), _sees(key.prefixes), _state(key), at(key.used_at) or _("never")]
        for key in ordered
    ]
    tables.draw(_("Keys"), [_("Name"), _("Role"), _("Sees"), _("State"), _("Last used")], rows)


def revoking(known: list[KeyInfo]) -> None:
    """Draw the choice of a key, and the button that ends it once that is confirmed."""
    names = {key.id: f"{key.name} · {_(key.role)} · {key.id}" for key in known if is_valid(key)}
    if not names:
        return
    away = page.is_down()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        id = st.selectbox(
            _("Revoke a key"),
            list(names),
            index=None,
            placeholder=_("Choose a key"),
            format_func=lambda id: names.get(id, id),
            key="key to revoke",
            disabled=away,
        )
        with st.popover(_("Revoke"), icon=":material/block:", disabled=away or id is None):
            st.markdown(_("Revoke this key? Programs that use it are refused within seconds, and it cannot be undone."))
            if id is not None and st.button(_("Yes, revoke"), key="yes revoke", type="primary", disabled=away):
                _revoke(id, names[id])


def _revoke(id: str, name: str) -> None:
    try:
        calls.revoke_key(page.api(), id)
    except ApiError as error:  # it may have been revoked meanwhile
        st.toast(draw.escape(error.sentence), icon=":material/error:")
        return
    st.toast(_("Revoked: {name}", name=draw.escape(name)))
    st.rerun()


def making() -> None:
    """Draw the form that makes a key, and below it a key that was just made. It is kept nowhere: a click removes it."""
    away = page.is_down()
    with st.expander(_("Make a key"), icon=":material/key:"), st.form("key", clear_on_submit=True, border=False):
        name = st.text_input(_("Who or what uses it"), max_chars=200, disabled=away)
        role = st.selectbox(_("Role"), ROLES, format_func=_, disabled=away)
        folders = st.text_area(
            _("Only these folders and buckets"),
            placeholder="s3://bucket/folder",
            help=_("One per line. Empty: all files."),
            disabled=away,
        )
        days = st.number_input(
            _("Valid for so many days"),
            min_value=1,
            max_value=36_500,
            value=None,
            placeholder=_("without end"),
            disabled=away,
        )
        made = st.form_submit_button(_("Make"), key="make key", type="primary", disabled=away)
    if made:
        _make(name.strip(), role, tuple(line.strip() for line in folders.splitlines() if line.strip()), days)


def _make(name: str, role: str, folders: tuple[str, ...], days: int | None) -> None:
    if not name:
        st.warning(_("Say who or what uses the key: the audit log shows this name."))
        return
    try:
        key = calls.make_key(page.api(), NewKey(name=name, role=role, prefixes=folders or None, days=days))
    except ApiError as error:
        st.warning(draw.escape(error.sentence))
        return
    with st.container(border=True, key="made key"):
        st.success(_("The key of {name}. Copy it now: it is not shown again.", name=draw.escape(name)))
        st.code(key.key, language=None)


def is_valid(key: KeyInfo) -> bool:
    """Whether a key is neither revoked nor expired."""
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > time.time())


def _state(key: KeyInfo) -> Html:
    if key.revoked_at is not None:
        return tables.small(tables.state(_("revoked"), "bad"), at(key.revoked_at))
    if key.expires_at is None:
        return tables.state(_("valid"), "good")
    if is_valid(key):
        return tables.small(tables.state(_("valid"), "good"), _("until {time}", time=at(key.expires_at)))
    return tables.small(tables.state(_("expired"), "warn"), at(key.expires_at))


def _sees(prefixes: tuple[str, ...] | None) -> Html:
    if prefixes is None:
        return tables.text(_("all files"))
    return tables.lines(prefixes) if prefixes else tables.text(_("nothing"))


def at(seconds: float | None) -> str:
    """Seconds since 1970 as day and time in UTC; empty for None."""
    return "" if seconds is None else moment(iso_time(seconds))
