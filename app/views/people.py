"""The People page: groups of faces, each probably of one person; with ?group=FACE one of them, with its faces."""

import streamlit as st

from app import components, draw, page
from app.address import Pairs
from app.client import ApiError
from app.language.formats import number
from app.language.texts import N_, _, counted
from app.people import correcting, tiles, timeline, watch_list, words
from app.viewing import exposure
from cluster.people.api_types import MOST_PAGE, GroupPage, GroupQuery, PeoplePage, PeopleQuery

SIZE, FACES = 40, 60  # groups and faces of one page
_WATCHED = "watched"  # the value of `list` in the URL
_LISTS = {"groups": N_("Faces that were found"), _WATCHED: N_("Watch list")}
LOOK_S = 3.0  # how often it is asked whether faces are compared
NOT_FOUND = 404


def show() -> None:
    """Draw the page."""
    correcting.message()
    if st.query_params.get("list") == _WATCHED:
        page.choose(_("Show as"), _LISTS, _WATCHED, "list", _to_list)
        watch_list.show("people")
        return
    face = st.query_params.get("group", "")
    if not face:
        _all()
        return
    query = GroupQuery(case=page.case(), page=_number("faces_page"), size=FACES)
    try:
        with st.spinner(_("Comparing faces")):
            found = page.api().group(face, query)
    except ApiError as error:
        if error.status not in (NOT_FOUND, 422):  # 422: the address was edited
            raise
        st.info(_("This face is in no group any more."))
        _back()
        return
    _one(found)


def _to_list(name: str) -> None:
    correcting.forget()
    st.query_params.pop("list", None)
    if name == _WATCHED:
        for other in ("name", "page"):  # of the groups
            st.query_params.pop(other, None)
        st.query_params["list"] = name


def _all() -> None:
    """Draw all groups."""
    page.choose(_("Show as"), _LISTS, "groups", "list", _to_list)
    with st.container(horizontal=True, vertical_alignment="center"):
        heading = st.empty()
        name = st.text_input(
            _("Find a name"),
            key="name",
            bind="query-params",
            placeholder=_("Find a name"),
            label_visibility="collapsed",
            icon=":material/search:",
            width=220,
            max_chars=60,
            on_change=_to_first_page,
        )
        st.space("stretch")
        undo = st.container(width="content")
        look = exposure.look()
    query = PeopleQuery(case=page.case(), name=(name or "").strip(), page=_number("page"), size=SIZE)
    with st.spinner(_("Comparing faces")):
        found = page.api().people(query)
    heading.markdown(f"#### {counted('{n} person', '{n} people', found.total)}")
    if found.pending:
        _wait(query)
    if not found.groups:
        _nothing(found, bool(query.name))
    corrects = page.may("reviewer") and bool(found.groups)
    if page.may("reviewer"):
        with undo:
            correcting.undo_button(found.last)
    ids = [group.face for group in found.groups]
    chosen = correcting.ticked("groups", ids)
    if corrects:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            help = _("Tick people who are one, or press x.")
            st.markdown(_("{n} selected", n=number(len(chosen))), width="content", help=help)
            correcting.merge_button([group for group in found.groups if group.face in chosen])
    if found.groups:
        context = [*page.case_pairs(), *([("name", query.name)] if query.name else [])]
        context += [("page", str(query.page))] if query.page > 1 else []  # to which one comes back
        components.gallery(
            "groups",
            [tiles.of_group(group, context) for group in found.groups],
            _("People"),
            look,
            focus=st.session_state.pop("left", ""),
            picked=chosen if corrects else None,
            on_pick=_take_groups,
        )
    if rest := tiles.rest(found):
        st.caption(rest)
    _pages("page", found.total, SIZE)


def _one(found: GroupPage) -> None:
    """Draw one group."""
    group, corrects = found.group, page.may("reviewer")
    _back()
    with st.container(horizontal=True, vertical_alignment="center"):
        title, counts = draw.escape(tiles.title(group)), tiles.counts(group)
        st.markdown(f"#### {title} :small[:gray[{counts}]]", width="content")
        st.space("stretch")
        if corrects:
            correcting.undo_button(found.last)
        look = exposure.look()
    watch_list.message()
    if corrects:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            correcting.name_form(group)
            if group.name and page.may_for_all("operator"):
                watch_list.group_button(group.face, group.name)
    context: Pairs = [*page.case_pairs(), ("group", group.face)]
    timeline.show(found.appearances, context)
    if words.show(found.appearances, context, look):
        return
    ids = [face.id for face in found.faces]
    chosen = correcting.ticked("faces", ids)
    if corrects:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            help = _("Tick faces, or press x; Shift: all between.")
            st.markdown(_("{n} selected", n=number(len(chosen))), width="content", help=help)
            st.button(_("Select this page"), type="tertiary", on_click=correcting.tick, args=("faces", ids))
            st.button(_("Select none"), type="tertiary", disabled=not chosen, on_click=correcting.forget)
            correcting.face_buttons(group, found.faces, chosen)
    components.gallery(
        "faces",
        [tiles.of_face(face, context) for face in found.faces],
        _("Faces"),
        look,
        small=True,
        focus=st.session_state.pop("left", ""),
        picked=chosen if corrects else None,
        on_pick=_take_faces,
    )
    _pages("faces_page", group.faces, FACES)


def _take_groups() -> None:
    correcting.take_ticks("groups")


def _take_faces() -> None:
    correcting.take_ticks("faces")


def _back() -> None:
    """Draw a button that leads to all people."""
    # a link of Streamlit to the page that is open would leave this person in the address
    st.button(_("All people"), icon=":material/arrow_back:", type="tertiary", on_click=_to_all)


def _to_all() -> None:
    for name in ("group", words.KEY):
        st.query_params.pop(name, None)
    st.session_state.pop(words.KEY, None)
    correcting.forget()


def _number(name: str) -> int:
    """The number of the page that the address names, as `_pages` has it."""
    try:
        asked = int(st.session_state.get(name) or st.query_params.get(name) or 1)
    except ValueError:
        return 1
    return min(MOST_PAGE, max(1, asked))


def _pages(name: str, total: int, size: int) -> None:
    if total > size:
        st.pagination(-(-total // size), key=name, bind="query-params", width="stretch")


def _to_first_page() -> None:
    st.session_state["page"] = 1
    st.query_params.pop("page", None)


def _nothing(found: PeoplePage, searched: bool) -> None:
    """Draw why no group is there."""
    if found.pending:
        st.info(_("The faces of these files are being compared. They appear here by themselves."))
    elif searched:
        st.info(_("Nobody has this name."))
    elif found.alone or found.unclear:
        st.info(_("No face is like enough others to be a group: a group has three faces or more."))
    else:
        st.info(_("No face was found in these files."))


@st.fragment(run_every=LOOK_S)
def _wait(query: PeopleQuery) -> None:
    """Draw that faces are being compared; when they are, the whole page again."""
    if not page.api().people(query.model_copy(update={"size": 1})).pending:
        st.rerun()
    st.caption(_("New faces are being compared: the groups are those from before."))


with page.guarded():
    show()
