"""A watch list: the people or logos that are looked for, in how many files each was found; adding and removing."""

from collections.abc import Sequence
from typing import NamedTuple

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app import draw, page
from app.client import ApiError
from app.language.texts import N_, _, counted
from app.people import calls
from cluster.people.watch_types import DETECTORS, LONGEST_NAME, Watched, WatchKind

ROWS, MOST_PICTURES = 50, 50  # of one page; of one request to add
_MESSAGE, _ANSWERS = "watch_message", "watch_answers"  # in the session: what became of a change, and of each picture


class _Words(NamedTuple):
    """What the page of a list says."""

    about: str
    none: str
    add: str
    name_help: str
    pictures: str


_WORDS: dict[WatchKind, _Words] = {
    "people": _Words(
        N_(
            "Who is on this list is found in files that are scanned from now on. In files that were scanned before, "
            "`raysift people match` names them: it compares the stored faces and reads no file. A second scan leaves "
            "unchanged files out."
        ),
        N_("Nobody is looked for yet."),
        N_("Add a person"),
        N_("It is the label of the faces that are found. With the name of somebody on the list: further pictures."),
        N_("Pictures of the face: large, sharp, from the front, of nobody else"),
    ),
    "logos": _Words(
        N_(
            "Scans look for these logos from now on, and for their names in texts. Scan files that were scanned before "
            "once more: only the detector logo runs anew."
        ),
        N_("No logo is looked for yet."),
        N_("Add a logo"),
        N_('A brand\'s other names may follow: "Facebook + Meta". With a name of the list: further pictures.'),
        N_("Pictures that show nothing but the logo"),
    ),
}


def show(kind: WatchKind) -> None:
    """Draw a watch list."""
    words, changes = _WORDS[kind], page.may_for_all("operator")
    items = calls.watch_list(page.api(), kind, page.case()).items
    heading, search = st.columns([3, 1], vertical_alignment="center")
    heading.markdown(f"#### {_number(kind, len(items))}")
    letters = search.text_input(
        _("Find a name"),
        key=f"{kind} letters",
        placeholder=_("Find a name"),
        label_visibility="collapsed",
        icon=":material/search:",
        max_chars=LONGEST_NAME,
    )
    st.caption(_(words.about))
    if page.viewer().prefixes is not None:
        st.caption(_("You see the names that were found in your folders."))
    message()
    if changes:
        _form(kind, expanded=not items)
    shown = [item for item in items if (letters or "").strip().casefold() in item.name.casefold()]
    if not shown:
        st.info(_("Nothing here has this name.") if items else _(words.none))
        return
    pages = -(-len(shown) // ROWS)
    rows = st.container(gap="small")
    number = st.pagination(pages, key=f"{kind} page") if pages > 1 else 1
    with rows:
        for item in shown[(number - 1) * ROWS : number * ROWS]:
            _row(kind, item, changes)


def _number(kind: WatchKind, n: int) -> str:
    if kind == "people":
        return counted("{n} person is looked for", "{n} people are looked for", n)
    return counted("{n} logo is looked for", "{n} logos are looked for", n)


def message() -> None:
    """Draw what became of the last change."""
    done, sentence = st.session_state.pop(_MESSAGE, (True, ""))
    if sentence and done:
        st.toast(draw.escape(sentence))
    elif sentence:
        st.warning(draw.escape(sentence))


def group_button(face: str, name: str) -> None:
    """Draw a button that puts the person of a group of faces on the watch list."""
    st.button(
        _("Put on the watch list"),
        icon=":material/visibility:",
        key="watch",
        help=_("The largest faces are cut out of their files, and scans look for this person from now on."),
        disabled=page.is_down(),
        on_click=_add_group,
        args=(face, name),
    )


def _row(kind: WatchKind, item: Watched, changes: bool) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{draw.escape(item.name)}**", width=260)
        st.caption(counted("{n} picture", "{n} pictures", item.pictures), width=110)
        if item.files:
            st.page_link(
                "views/browse.py",
                label=counted("found in {n} file", "found in {n} files", item.files),
                icon=":material/grid_view:",
                query_params=[*page.case_pairs(), ("detector_label", f"{DETECTORS[kind]}:{item.label}")],
            )
        else:
            st.caption(_("found in no file"), width="content")
        if not changes:
            return
        st.space("stretch")
        with st.popover(_("Remove"), icon=":material/delete:", type="tertiary", disabled=page.is_down()):
            st.markdown(_("The pictures are deleted, and scans no longer look for it. What was found stays."))
            st.button(
                _("Remove {name}", name=draw.escape(item.name)),
                key=f"remove {item.name}",
                type="primary",
                on_click=_remove,
                args=(kind, item.name),
            )


def _form(kind: WatchKind, expanded: bool) -> None:
    words, away = _WORDS[kind], page.is_down()
    with st.expander(_(words.add), icon=":material/add:", expanded=expanded, key=f"form {kind}"):
        with st.form(f"add {kind}", clear_on_submit=True, border=False):
            name = st.text_input(_("Name"), max_chars=LONGEST_NAME, help=_(words.name_help), width=320, disabled=away)
            files = st.file_uploader(
                _(words.pictures), accept_multiple_files=True, max_upload_size=64, key=f"pictures {kind}", disabled=away
            )
            sent = st.form_submit_button(_("Add"), key="add", type="primary", disabled=away)
        if sent:
            _add(kind, " ".join(name.split()), files)
    for accepted, sentence in st.session_state.pop(_ANSWERS, []):  # not in the expander, which may have closed
        (st.success if accepted else st.warning)(draw.escape(sentence))


def _add(kind: WatchKind, name: str, files: Sequence[UploadedFile]) -> None:
    """Send the pictures, and draw the page again with an answer for each."""
    if not name or not files:
        st.warning(_("Enter a name and choose at least one picture."))
        return
    answers = []
    with st.spinner(_("Looking at the pictures"), show_time=True):
        for file in files[:MOST_PICTURES]:
            try:
                added = calls.watch(page.api(), kind, name, file.name, file)
            except ApiError as error:
                answers.append((False, _("{file}: refused: {why}", file=file.name, why=error.sentence)))
                continue
            answers.append((True, _("{file}: accepted", file=file.name)))
            if added.also:
                also = ", ".join(added.also)
                answers.append(
                    (False, _("{file}: this may be {also}, who is enrolled already", file=file.name, also=also))
                )
    for file in files[MOST_PICTURES:]:
        answers.append((False, _("{file}: not sent: {n} pictures at a time", file=file.name, n=MOST_PICTURES)))
    st.session_state[_ANSWERS] = answers
    st.rerun()


def _remove(kind: WatchKind, name: str) -> None:
    try:
        gone = calls.unwatch(page.api(), kind, name)
    except ApiError as error:
        st.session_state[_MESSAGE] = False, _("Not removed: {why}", why=error.sentence)
        return
    pictures = counted("{n} picture", "{n} pictures", gone.pictures)
    st.session_state[_MESSAGE] = True, _("{name} was removed, with {pictures}", name=name, pictures=pictures)


def _add_group(face: str, name: str) -> None:
    try:
        added = calls.watch_group(page.api(), name, face, page.case())
    except ApiError as error:
        st.session_state[_MESSAGE] = False, _("Not on the watch list: {why}", why=error.sentence)
        return
    pictures = counted("{n} picture", "{n} pictures", added.pictures)
    st.session_state[_MESSAGE] = True, _("{name} is on the watch list, with {pictures}", name=name, pictures=pictures)
