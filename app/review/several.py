"""The panel with which a reviewer decides on several files of a page at once."""

from collections.abc import Sequence

import streamlit as st

from app import draw, page
from app.language.formats import number
from app.language.texts import _, counted
from app.review.panel import known_tags, tags_field
from cluster.api_types import Asset
from cluster.decisions.api_types import MOST_NOTE, AssetDecision, NewDecisions, Written

_OUTCOME = "decided_several"  # in the session: what was stored of the last decisions


@st.cache_data(ttl=60, max_entries=64, show_spinner=False)
def _labels(caller: str, asset: str) -> tuple[str, ...]:
    """The labels that a decision may have."""
    return page.api().decision(asset).labels


def decide(files: Sequence[Asset]) -> None:
    """Draw the choice of files, tags, a note and a button for each label. Files with a decision keep it."""
    names = {file.id: file.name for file in files}
    with st.popover(_("Decide"), icon=":material/done_all:"):
        st.caption(_("Files that have a decision keep it: the page of a file changes one."))
        of_page = " ".join(names)  # in the keys, so that the choice ends with the page
        chosen = st.multiselect(
            _("Files"), [*names], key=f"files {of_page}", format_func=lambda id: names[id], placeholder=_("Choose")
        )
        all = counted("The {n} file of this page", "All {n} files of this page", len(names))
        everything = st.checkbox(all, key=f"all {of_page}")
        tags = tags_field(known_tags(page.caller()), "tags_of_several")
        note = st.text_area(_("Note"), key="note_of_several", max_chars=MOST_NOTE, height=80)
        wanted = [*names] if everything else chosen
        with st.container(horizontal=True):
            for label in _labels(page.caller(), files[0].id):
                if st.button(label, key=f"several {label}", disabled=not wanted):
                    new = [AssetDecision(asset=id, version=0, label=label, tags=tags, note=note) for id in wanted]
                    st.session_state[_OUTCOME] = _sentence(_decided(new))
                    st.rerun()
    if sentence := st.session_state.pop(_OUTCOME, ""):
        st.toast(sentence)


def _decided(new: Sequence[AssetDecision]) -> list[Written]:
    """Decide; the outcomes. A file whose decision was taken back has a version and no decision: it is decided too."""
    outcomes = {one.asset: one for one in page.api().decide_several(NewDecisions(decisions=tuple(new))).outcomes}
    taken_back = {id: one.decision.version for id, one in outcomes.items() if one.decision and not one.decision.label}
    if taken_back:
        again = [
            decision.model_copy(update={"version": taken_back[decision.asset]})
            for decision in new
            if decision.asset in taken_back
        ]
        written = page.api().decide_several(NewDecisions(decisions=tuple(again))).outcomes
        outcomes |= {one.asset: one for one in written}
    return list(outcomes.values())


def _sentence(outcomes: Sequence[Written]) -> str:
    stored = sum(one.outcome == "stored" for one in outcomes)
    kept = {one.decision.who for one in outcomes if one.outcome == "changed" and one.decision}
    done = number(stored)
    parts = [counted("{done} of {n} file decided.", "{done} of {n} files decided.", len(outcomes), done=done)]
    if kept:
        parts.append(_("The others keep the decisions of {names}.", names=draw.escape(", ".join(sorted(kept)))))
    return " ".join(parts)
