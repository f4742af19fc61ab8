"""The picture that the Search page searches by: an upload, which is sent once, or a file; what of it is searched."""

from typing import NamedTuple

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app import address, page
from app.language.texts import N_, _
from cluster.api_queries import AssetFilter, By, LikenessQuery, SearchQuery
from cluster.api_types import Hits

_FIND: dict[By, str] = {"image": N_("What looks like it"), "faces": N_("The same face")}
_SENT, _OPEN = "sent picture", "choose picture"  # in the session: a Sent; whether the uploader is shown


class Sent(NamedTuple):
    """An upload that this session has searched by. `again`: the search by it; None: the API could not keep it."""

    file: tuple[str, By, str]  # id of the upload, what of it was searched for, and the words with it
    filters: AssetFilter
    name: str
    again: SearchQuery | None
    hits: Hits


def choose() -> UploadedFile | None:
    """Draw the uploader; returns the upload."""
    icon, away = ":material/image_search:", page.is_down()
    with st.popover(_("By a picture"), icon=icon, key=_OPEN, on_change="rerun", disabled=away):
        return st.file_uploader(
            _("It is sent to the detectors and not stored."),
            key=f"picture{st.session_state.get('picture_turn', 0)}",
            max_upload_size=64,
            on_change=_chosen,
        )


def forget() -> None:
    """Empty the uploader, and take what is searched by from the URL."""
    _forget_url()
    st.session_state["picture_turn"] = st.session_state.get("picture_turn", 0) + 1  # a new key empties the uploader


def in_url() -> bool:
    """Whether the URL names a picture to search by."""
    return any(st.query_params.get(name) for name in address.PICTURES)


def forget_button() -> None:
    """Draw the button that goes on without the picture."""
    st.button(_("Without the picture"), icon=":material/close:", type="tertiary", on_click=forget)


def _chosen() -> None:
    _forget_url()
    st.session_state[_OPEN] = False  # it would cover the hits


def _forget_url() -> None:
    for name in (*address.PICTURES, "box", "at_s", "by"):
        st.query_params.pop(name, None)


def by() -> By:
    """What is searched for according to the URL."""
    return "faces" if st.query_params.get("by") == "faces" else "image"


def choose_by(query: SearchQuery | None, upload: UploadedFile | None) -> None:
    """Draw the choice of what is searched for. Of an upload that is gone only what was searched for can be again."""
    is_gone = upload is None and query is not None and query.picture is not None
    help = _("To search for the other, choose the picture again.") if is_gone else None
    page.choose(_("Find"), _FIND, by(), "find", _find, disabled=is_gone, help=help)


def _find(what: By) -> None:
    st.query_params.pop("picture", None)  # the upload has other vectors for it
    st.query_params.pop("by", None)
    if what == "faces":
        st.query_params["by"] = "faces"


def send(upload: UploadedFile, words: str, filters: AssetFilter) -> Sent:
    """Search by an upload and these words, if any, unless this session has just done so.

    The URL then names it, if it is kept.
    """
    sent, file = last(), (upload.file_id, by(), words)
    if sent is None or sent.file != file or sent.filters != filters:
        given = filters.model_dump(exclude_defaults=True)
        upload.seek(0)  # it may have been sent with other words
        given |= {"by": by(), "q": words or None}
        hits = page.api().search_by_picture(upload.name, upload, LikenessQuery(**given))
        again = SearchQuery(**given, picture=hits.picture) if hits.picture else None
        sent = st.session_state[_SENT] = Sent(file, filters, upload.name, again, hits)
    if sent.again is not None:
        st.query_params["picture"] = str(sent.again.picture)
    return sent


def last() -> Sent | None:
    """The upload that this session has searched by last."""
    return st.session_state.get(_SENT)
