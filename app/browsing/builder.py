"""The form that makes a condition on files, and adds it to the URL of the Browse page."""

from collections.abc import Callable, Sequence
from datetime import date

import streamlit as st

from app.language import wording
from app.language.formats import date_input
from app.language.texts import N_, _
from cluster.api_types import Facet
from cluster.filters.conditions import (
    MOST_CONDITIONS,
    Alternative,
    Condition,
    Detected,
    Fact,
    Field,
    Operator,
    Value,
    parse,
    write,
)

_MOST_NUMBER, _MOST_CHARACTERS = 1e9, 200


def show(labels: Sequence[Facet], detectors: Sequence[str], conditions: tuple[str, ...]) -> None:
    """Draw the form. `labels`: that files have; `detectors`: that are served; `conditions`: those of the URL."""
    with st.popover(_("Filter"), icon=":material/filter_alt:", on_change="rerun") as form:
        if not form.open:
            return
        names = {part: _(part) for part in _PARTS}
        what = st.selectbox(_("Filter by"), list(names), format_func=names.__getitem__, key="filter by")
        parts = _PARTS[what](labels, detectors)
        negated = st.checkbox(_("Exclude such files"), key="filter not")
        place = 0
        if conditions:
            others = (_(" or ").join(wording.alternatives(text)) for text in conditions)
            texts = [_("All conditions must apply"), *(_("or: {others}", others=text) for text in others)]
            place = st.selectbox(
                _("Together with the others"), range(len(texts)), format_func=texts.__getitem__, key="filter place"
            )
        full = len(conditions) >= MOST_CONDITIONS
        if full:
            st.caption(_("A page has at most {n} conditions.", n=MOST_CONDITIONS))
        may, args = bool(parts) and not full, (conditions, parts, negated, place)
        st.button(_("Add"), type="primary", disabled=not may, on_click=_add, args=args)


def added(
    conditions: Sequence[str], parts: Sequence[Detected | Fact], negated: bool, place: int = 0
) -> tuple[str, ...]:
    """The conditions with one more, of which all parts must apply; negated: not all of them may.

    `place`: 0 for a condition of its own; n: a file passes if either it or the n-th condition applies.
    """
    more: list[Condition] = [(Alternative(part),) for part in parts]
    if negated:
        more = [tuple(Alternative(part, negated=True) for part in parts)]
    if place:
        kept = [text for n, text in enumerate(conditions, 1) if n != place]
        return (*kept, *(write((*parse(conditions[place - 1]), *each)) for each in more))
    return tuple(dict.fromkeys([*conditions, *(write(each) for each in more)]))


def _add(conditions: tuple[str, ...], parts: Sequence[Detected | Fact], negated: bool, place: int) -> None:
    st.query_params["where"] = added(conditions, parts, negated, place)
    st.session_state["page"] = 1
    st.session_state["filter not"] = False  # the next condition is another one
    st.session_state["filter place"] = 0


def _label(labels: Sequence[Facet], detectors: Sequence[str]) -> list[Detected | Fact]:
    by = {facet.detector: None for facet in labels}
    named = [(facet.detector, facet.label) for facet in labels]
    options = [*((name, "") for name in by), *named, ("", "")]
    detector, label = st.selectbox(
        _("Label"),
        options,
        format_func={option: wording.label(*option) for option in options}.__getitem__,
        key="filter label",
    )
    least, most = st.slider(_("Score"), 0.0, 1.0, (0.0, 1.0), 0.01, format="localized", key="filter score")
    return [Detected(detector, label, least or None, most if most < 1 else None)]


def _words(labels: Sequence[Facet], detectors: Sequence[str]) -> list[Detected | Fact]:
    words = st.text_input(
        _("Words"), key="filter words", placeholder=_("that are read or said"), max_chars=_MOST_CHARACTERS
    )
    names = {"": _("any detector")} | {name: name for name in detectors}
    by = st.selectbox(_("By"), list(names), format_func=names.__getitem__, key="filter words by")
    clean = " ".join((words or "").lower().split())
    return [Detected(by or "", words=clean)] if clean else []


def _name(labels: Sequence[Facet], detectors: Sequence[str]) -> list[Detected | Fact]:
    text = st.text_input(_("Name contains"), key="filter name", max_chars=_MOST_CHARACTERS)
    return [Fact("name", "~", text)] if text else []


def _error(labels: Sequence[Facet], detectors: Sequence[str]) -> list[Detected | Fact]:
    text = st.text_input(
        _("Reason contains"), key="filter error", placeholder=_("empty: any failure"), max_chars=_MOST_CHARACTERS
    )
    return [Fact("error", "~", text or "")]


def _scanned(labels: Sequence[Facet], detectors: Sequence[str]) -> list[Detected | Fact]:
    style, until = date_input(), _("UTC, this day included")
    first: date | None = st.date_input(_("From"), value=None, key="filter from", help=_("UTC"), format=style)
    last: date | None = st.date_input(_("To"), value=None, key="filter to", help=until, format=style)
    bounds: list[tuple[Operator, date | None]] = [(">=", first), ("<=", last)]
    texts = [f"scanned{operator}{day.isoformat()}" for operator, day in bounds if day is not None]
    return [parse(text)[0].of for text in texts]


def _between(field: Field, unit: str, of: Callable[[float], Value] = int) -> Callable[..., list[Detected | Fact]]:
    """The inputs for the bounds of a number. `of`: the value of the condition for what was typed in this unit."""

    def inputs(labels: Sequence[Facet], detectors: Sequence[str]) -> list[Detected | Fact]:
        titles: dict[Operator, str] = {
            ">=": _("At least, {unit}", unit=_(unit)),
            "<=": _("At most, {unit}", unit=_(unit)),
        }
        given = {
            operator: st.number_input(title, 0.0, _MOST_NUMBER, value=None, key=f"filter {field}{operator}")
            for operator, title in titles.items()
        }
        return [Fact(field, operator, of(number)) for operator, number in given.items() if number is not None]

    return inputs


_PARTS: dict[str, Callable[[Sequence[Facet], Sequence[str]], list[Detected | Fact]]] = {
    N_("Label and score"): _label,
    N_("Words that are read or said"): _words,
    N_("File name"): _name,
    N_("Date of the scan"): _scanned,
    N_("Length"): _between("duration", N_("seconds"), float),
    N_("Size"): _between("bytes", N_("MB"), lambda megabytes: round(megabytes * 1e6)),
    N_("Width"): _between("width", N_("pixels")),
    N_("Height"): _between("height", N_("pixels")),
    N_("Failure"): _error,
}
