"""What is ticked on the People page, and the corrections of it. Each button keeps the versions that its user saw."""

from collections.abc import Sequence
from typing import Literal

import streamlit as st
from pydantic import BaseModel, ValidationError

from app import draw, page
from app.client import ApiDownError, ApiError
from app.language.texts import N_, _, counted
from app.people import calls, tiles
from cluster.people.api_types import MOST_CHOSEN, Chosen, Correction, Face, Group, Merge, NewName, Reject, SeenGroup

_MESSAGE = "people_message"  # in the session: what became of the last correction
_NAME_RULE = N_("A name has 1 to 60 letters, digits, spaces and . & ' + -, and begins with a letter or digit.")
_AWAY = N_("the API does not answer. Try again.")


def ticked(gallery: str, shown: Sequence[str]) -> list[str]:
    """The ids of the tiles of this gallery that are ticked, of those that are shown."""
    return [id for id in st.session_state.get(f"{gallery} ticked", []) if id in shown]


def take_ticks(gallery: str) -> None:
    """Take over what was ticked in a gallery."""
    changes: dict[str, bool] = st.session_state[gallery].pick
    kept = [id for id in st.session_state.get(f"{gallery} ticked", []) if changes.get(id, True)]
    added = [id for id, on in changes.items() if on]
    st.session_state[f"{gallery} ticked"] = list(dict.fromkeys([*kept, *added]))[:MOST_CHOSEN]


def tick(gallery: str, ids: Sequence[str]) -> None:
    """Tick these tiles, and no others."""
    st.session_state[f"{gallery} ticked"] = list(ids)[:MOST_CHOSEN]


def forget() -> None:
    """Untick everything."""
    for gallery in ("groups", "faces"):
        st.session_state.pop(f"{gallery} ticked", None)


def message() -> None:
    """Draw what became of the last correction."""
    kind, sentence = st.session_state.pop(_MESSAGE, ("", ""))
    if kind == "done":
        st.toast(draw.escape(sentence))
    elif sentence:
        st.warning(_("Not stored: {why}", why=draw.escape(sentence)))


def undo_button(last: Correction | None) -> None:
    """Draw a button that takes back the caller's last correction."""
    help = tiles.undone(last) if last else _("You have corrected nothing that could be taken back.")
    st.button(
        _("Undo"),
        icon=":material/undo:",
        key="undo",
        help=help,
        disabled=last is None,
        on_click=_undo,
        args=(last.correction if last else 0,),
    )


def merge_button(groups: Sequence[Group]) -> None:
    """Draw a button that makes one person of these groups."""
    st.button(_("Merge"), key="merge", disabled=len(groups) < 2, on_click=_merge, args=(list(groups),))


def name_form(group: Group) -> None:
    """Draw the field for the name of a group."""
    of_version = f"name {group.face} {group.version}"  # another field for another group, or after a correction
    with st.form("name", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input(_("Name"), group.name or "", key=of_version, max_chars=60, width=240)
        st.form_submit_button(_("Save"), key="save", on_click=_name, args=(group, of_version))


def face_buttons(group: Group, faces: Sequence[Face], chosen: Sequence[str]) -> None:
    """Draw the buttons for the ticked faces of a group; `faces`: those that are shown."""
    rest = [face.id for face in faces if face.id not in chosen]
    of = (group, list(chosen), rest[0] if rest else "")
    for text, how, help in (
        (_("Not this person"), "person", _("They leave this person, and never come back to it.")),
        (_("Not a face"), "face", _("They are in no group and in no count.")),
        (_("Split"), "split", _("They are another person from now on.")),
    ):
        st.button(text, key=f"as {how}", help=help, disabled=not chosen, on_click=_take_out, args=(*of, how))


def _name(group: Group, field: str) -> None:
    try:
        new = NewName(version=group.version, name=st.session_state[field])
    except ValidationError:
        st.session_state[_MESSAGE] = "refused", _(_NAME_RULE)
        return
    _correct(group.face, "name", new, _("named {name}", name=new.name))


def _merge(groups: list[Group]) -> None:
    """Merge groups into the first that has a name, else into the first, which is the largest."""
    into = next((group for group in groups if group.name), groups[0])
    others = tuple(SeenGroup(face=group.face, version=group.version) for group in groups if group is not into)
    _correct(into.face, "merge", Merge(version=into.version, others=others), _("merged"))


def _take_out(group: Group, chosen: list[str], stays: str, how: Literal["person", "face", "split"]) -> None:
    """Split faces off, or reject them. `stays`: another face of the group, by which it is shown afterwards."""
    faces, version = tuple(chosen), group.version
    if how == "split":
        done = _correct(group.face, "split", Chosen(version=version, faces=faces), _("split"))
    else:
        what = _("marked as no face") if how == "face" else _("not this person")
        done = _correct(group.face, "reject", Reject(version=version, faces=faces, reason=how), what)
    if not done:
        return
    if stays:
        st.query_params["group"] = stays
    else:
        st.query_params.pop("group", None)


def _correct(face: str, how: calls.GroupChange, body: BaseModel, what: str) -> bool:
    """Correct a group, and keep a sentence about it for the page. Returns whether it is corrected."""
    try:
        done = calls.correct_group(page.api(), face, how, body, page.case())
    except ApiError as error:
        st.session_state[_MESSAGE] = "refused", error.sentence
        return False
    except ApiDownError:
        st.session_state[_MESSAGE] = "refused", _(_AWAY)
        return False
    st.session_state[_MESSAGE] = "done", counted("{n} face: {what}", "{n} faces: {what}", done.faces, what=what)
    forget()
    return True


def _undo(correction: int) -> None:
    try:
        taken_back = calls.undo_correction(page.api(), correction)
    except ApiError as error:
        st.session_state[_MESSAGE] = "refused", error.sentence
    except ApiDownError:
        st.session_state[_MESSAGE] = "refused", _(_AWAY)
    else:
        done = counted("Taken back on {n} face", "Taken back on {n} faces", taken_back.faces)
        st.session_state[_MESSAGE] = "done", done
        forget()
