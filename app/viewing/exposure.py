"""What is seen and heard of media before it is revealed, which each person chooses; and the reminder of a break."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import streamlit as st

from app import draw, page
from app.client import ApiDownError, ApiError
from app.language.texts import N_, _
from cluster.exposure.exposure import COLOURS, SIZES, Colours, Exposure, OwnExposure, Size

T = TypeVar("T")
_OWN = "exposure"  # in the session: of whom, and an OwnExposure
_COLOURS: dict[Colours, str] = {"colour": N_("Colour"), "grey": N_("Grey"), "sepia": N_("Sepia")}
_SIZES: dict[Size, str] = {"small": N_("Small"), "medium": N_("Medium"), "large": N_("Large")}
_BREAKS, _NEVER = (20, 30, 45, 60, 90, 120), 0  # minutes; to a selectbox None is no choice
PAUSE_S = 600.0  # who does nothing for so long has had a break
_clock = time.monotonic


@dataclass(slots=True)
class _Work:
    """Since when somebody works without a break, and the last act, by the clock of this process."""

    began: float
    last: float


def look() -> Exposure:
    """Draw the choice of what is seen and heard of media; returns what holds."""
    own = _own()
    for name, value in own.chosen:
        st.session_state[name] = _NEVER if value is None else value
    with st.popover(_("Viewing"), icon=":material/visibility:", disabled=page.is_down()):
        _toggle(own, "blur", _("Blur"))
        _choice(own, "colours", _("Colours"), COLOURS, _COLOURS)
        _toggle(own, "muted", _("Films begin without sound"))
        _choice(own, "thumbnails", _("Size of pictures in lists"), SIZES, _SIZES)
        _break(own)
        if own.floor:
            st.caption(_("Your organisation permits only what is stricter than its own settings."))
        st.caption(_("b or the eye reveals one file. On its page, hold h to see it for a moment."))
    return own.chosen


def remind() -> None:
    """Count this run as work, and suggest a break to who has worked for as long as was chosen."""
    minutes, work, now = _own().chosen.break_after_minutes, _work(page.caller()), _clock()
    if now - work.last > PAUSE_S:
        work.began = now
    work.last = now
    if minutes is None or now - work.began < minutes * 60:
        return
    worked = int((now - work.began) / 60)
    with st.container(horizontal=True, vertical_alignment="center", key="break"):
        text = _("You have been at work for {n} minutes. This is a good moment for a break.", n=worked)
        st.info(text, icon=":material/coffee:")
        st.button(_("Dismiss"), key="dismiss_break", on_click=_begin_again, args=(work,))


def _begin_again(work: _Work) -> None:
    work.began = _clock()


@st.cache_resource(max_entries=4096, show_spinner=False)
def _work(caller: str) -> _Work:
    return _Work(_clock(), _clock())


def _own() -> OwnExposure:
    """The settings of who is signed in, read once in a session."""
    caller = page.caller()
    of, own = st.session_state.get(_OWN, ("", None))
    if own is None or of != caller:
        own = page.api().exposure()
        st.session_state[_OWN] = (caller, own)
    known: OwnExposure = own
    return known


def _toggle(own: OwnExposure, name: str, label: str) -> None:
    fixed = len(_permitted(own, name, (True, False))) == 1
    st.toggle(label, key=name, on_change=_save, disabled=fixed)


def _choice(own: OwnExposure, name: str, label: str, options: Sequence[T], texts: dict[T, str]) -> None:
    st.segmented_control(
        label,
        _permitted(own, name, options),
        key=name,
        format_func={option: _(text) for option, text in texts.items()}.__getitem__,
        required=True,
        on_change=_save,
    )


def _break(own: OwnExposure) -> None:
    breaks: set[int | None] = {*_BREAKS, own.chosen.break_after_minutes, None}
    options = sorted(minutes or _NEVER for minutes in _permitted(own, "break_after_minutes", [*breaks]))
    texts = {minutes: _("after {n} minutes", n=minutes) if minutes else _("never") for minutes in options}
    st.selectbox(
        _("Remind me of a break"),
        options,
        key="break_after_minutes",
        format_func=texts.__getitem__,
        on_change=_save,
    )


def _permitted(own: OwnExposure, name: str, options: Sequence[T]) -> list[T]:
    """The options that the organisation permits."""
    floor = own.floor
    if floor is None:
        return list(options)
    return [one for one in options if name not in own.chosen.model_copy(update={name: one}).weaker(floor)]


def _save() -> None:
    given = {name: st.session_state[name] for name in Exposure.model_fields}
    chosen = Exposure(**given | {"break_after_minutes": given["break_after_minutes"] or None})
    try:
        st.session_state[_OWN] = (page.caller(), page.api().set_exposure(chosen))
    except ApiError as error:
        st.toast(draw.escape(error.sentence), icon=":material/error:")
    except ApiDownError:
        st.toast(_("This could not be saved: the API does not answer."), icon=":material/error:")
