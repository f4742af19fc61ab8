"""The panel with which a reviewer decides on one file, and the history of its decisions."""

from collections.abc import Sequence
from typing import Literal

import streamlit as st

from app import draw, page
from app.client import ApiError
from app.language.formats import moment
from app.language.texts import _
from cluster.decisions.api_types import MOST_NOTE, MOST_TAGS, AssetDecisions, Decision, NewDecision
from cluster.decisions.rules import MOST_CHARACTERS

NOT_FOUND, CONFLICT = 404, 409
_SEEN = "review_seen"  # in the session: file and version of the decision that is on the screen
_MESSAGE = "review_message"  # in the session: why the last decision was not stored


@st.cache_data(ttl=60, max_entries=64, show_spinner=False)
def known_tags(caller: str) -> list[str]:
    """The tags of the latest decisions; cached for a minute."""
    latest = page.api().decisions(200).items
    return sorted({tag for decision in latest for tag in decision.tags})


def decide(state: AssetDecisions, seen: Decision | None, keys: bool = False) -> Decision | None:
    """Draw tags, note and a button for each label; returns the decision that was made with one.

    `seen`: the decision that is shown, which fills the fields; None: none is shown. `keys`: whether the keys 1 to 9
    and 0 decide, too. If somebody else has decided meanwhile, the page is run again, and says so.
    """
    version = _seen_version(state)
    of_version = f"{state.asset} {state.version}"  # other fields for another file, or after another decision
    known = sorted({*known_tags(page.caller()), *(seen.tags if seen else ())})
    of_tags, of_note = st.columns(2)
    with of_tags:
        tags = tags_field(known, f"tags {of_version}", seen.tags if seen else ())
    note = of_note.text_area(
        _("Note"), seen.note if seen else "", key=f"note {of_version}", max_chars=MOST_NOTE, height=68
    )
    label = None
    with st.container(horizontal=True):
        for number, name in enumerate(state.labels, 1):
            # with the file in the key, so that a key that is pressed twice does not decide on the next file, too
            kind: Literal["primary", "secondary"] = "primary" if seen and seen.label == name else "secondary"
            shortcut = str(number % 10) if keys else None
            if st.button(name, key=f"label {number} of {state.asset}", shortcut=shortcut, type=kind):
                label = name
    if label is None:
        return None
    new = NewDecision(version=version, label=label, tags=tags, note=note)
    try:
        return page.api().decide(state.asset, new)
    except ApiError as error:
        _again(error)
        return None


def tags_field(known: Sequence[str], key: str, chosen: Sequence[str] = ()) -> tuple[str, ...]:
    """Draw the field for tags, known and new ones; returns them as they may be stored."""
    typed = st.multiselect(
        _("Tags and reasons"),
        known,
        list(chosen),
        key=key,
        placeholder=_("Choose or type"),
        max_selections=MOST_TAGS,
        accept_new_options=True,
    )
    words = (tag.strip()[:MOST_CHARACTERS] for tag in typed)
    return tuple(word for word in words if word)


def undo_button(state: AssetDecisions) -> bool:
    """Draw a button that takes back the present decision; whether it has done so."""
    version = _seen_version(state)
    return st.button(_("Undo"), help=_("The decision before holds again.")) and undo(state.asset, version)


def undo(asset: str, version: int) -> bool:
    """Take back a decision; whether there was one. If it has changed, the page is run again, and says so."""
    try:
        page.api().undo_decision(asset, version)
    except ApiError as error:
        if error.status != NOT_FOUND:
            _again(error)
        return False
    return True


def _seen_version(state: AssetDecisions) -> int:
    """The version that the user saw before this run, in which a button may have been pressed."""
    if st.session_state.get(_SEEN, ("", 0))[0] != state.asset:
        keep_seen(state)  # not only at the end of this run: a button may be pressed before
    version: int = st.session_state[_SEEN][1]
    return version


def keep_seen(state: AssetDecisions) -> None:
    """Note the version that is shown now. The last thing that a page does with these decisions."""
    st.session_state[_SEEN] = (state.asset, state.version)


def _again(error: ApiError) -> None:
    """Run the page again with the message of a conflict; other errors are raised."""
    if error.status != CONFLICT:
        raise error
    st.session_state.pop(_SEEN, None)
    st.session_state[_MESSAGE] = error.sentence
    st.rerun()


def message() -> None:
    """Draw why the last decision was not stored, if it was not."""
    if sentence := st.session_state.pop(_MESSAGE, ""):
        st.warning(_("Not stored: {why}", why=draw.escape(sentence)))


def history(state: AssetDecisions) -> None:
    """Draw the decisions on a file, newest first."""
    if not state.history:
        st.caption(_("Nobody has decided on this file."))
        return
    if state.disputed:
        st.warning(_("Reviewers have decided differently. The latest decision counts."))
    for decision in state.history:
        st.markdown(line(decision))


def line(decision: Decision) -> str:
    """A decision as a line of markdown; texts of people are shown as they are, without markup."""
    what = _("taken back: nothing is decided")
    if decision.label is not None:
        what = f"**{draw.escape(decision.label)}**"
        what = _("taken back: {label} again", label=what) if decision.undo else what
    parts = [what, draw.escape(decision.who), moment(decision.at)]
    parts += [draw.escape(", ".join(decision.tags))] if decision.tags else []
    parts += [_("“{}”").format(draw.escape(decision.note))] if decision.note else []
    return " · ".join(parts)
