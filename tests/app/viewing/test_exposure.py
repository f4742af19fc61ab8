"""The choice of what is seen before a file is revealed, on each page with pictures, and the reminder of a break."""

import pytest
from streamlit.testing.v1 import AppTest

from app.viewing import exposure
from cluster.exposure.exposure import Exposure, ExposureRules
from cluster.records import asset_id
from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import FOLDER
from tests.support.fakes.sessions import BOBS_TOKEN
from tests.support.pages import Visit, drawn, served, words

FILM = asset_id(f"{FOLDER}/clip_1.mp4")
SEPIA = Exposure(blur=True, colours="sepia", muted=True, thumbnails="large", break_after_minutes=None)


def choices(at: AppTest) -> set[str]:
    """The names of the choices that the page has drawn."""
    elements = (*at.toggle, *at.selectbox, *at.button_group)
    return {element.key for element in elements} & set(Exposure.model_fields)


@pytest.mark.parametrize(
    ("view", "params", "component"),
    [
        ("browse", {}, "gallery"),
        ("file", {"asset": FILM}, "viewer"),
        ("search", {"like": FILM}, "gallery"),
        ("people", {}, "gallery"),
        ("review", {}, "viewer"),
    ],
)
def test_every_page_with_pictures_offers_the_choice_and_obeys_it(
    visit: Visit, api: FakeApi, view: str, params: dict[str, str], component: str
):
    api.sessions.chosen["Ann <b>"] = SEPIA
    at = visit(view, port=api.port, **params)
    assert choices(at) == set(Exposure.model_fields)
    shown = drawn(at, component)
    assert {name: shown[name] for name in ("blur", "colours", "muted", "thumbnails")} == SEPIA.model_dump(
        exclude={"break_after_minutes"}
    )


def test_a_choice_is_saved_for_its_user_and_holds_in_the_next_session(visit: Visit, api: FakeApi):
    at = visit(port=api.port)
    assert (drawn(at, "gallery")["blur"], drawn(at, "gallery")["colours"]) == (True, "grey")
    at.toggle(key="blur").set_value(False).run()
    at.button_group(key="colours").set_value("sepia").run()
    at.button_group(key="thumbnails").set_value("small").run()
    at.selectbox(key="break_after_minutes").set_value(45).run()
    expected = Exposure(blur=False, colours="sepia", muted=True, thumbnails="small", break_after_minutes=45)
    assert api.sessions.chosen == {"Ann <b>": expected}
    later = visit(port=api.port)
    gallery = drawn(later, "gallery")
    assert (gallery["blur"], gallery["colours"], gallery["thumbnails"]) == (False, "sepia", "small")
    assert later.selectbox(key="break_after_minutes").value == 45
    later.selectbox(key="break_after_minutes").set_value(0).run()  # never
    assert api.sessions.chosen["Ann <b>"].break_after_minutes is None
    assert drawn(visit(port=api.port, session=BOBS_TOKEN), "gallery")["blur"]


def test_the_page_offers_nothing_below_the_organisations_floor(visit: Visit):
    rules = ExposureRules(thumbnails="medium", break_after_minutes=45, floor=True)
    api = FakeApi(exposure=rules)
    api.sessions.chosen["Ann <b>"] = Exposure(
        blur=False, colours="colour", muted=False, thumbnails="large", break_after_minutes=None
    )  # before the organisation has set it
    with served(api) as port:
        at = visit(port=port)
        gallery = drawn(at, "gallery")
        assert (gallery["blur"], gallery["colours"], gallery["thumbnails"]) == (True, "grey", "medium")
        assert at.toggle(key="blur").disabled and at.toggle(key="muted").disabled
        assert at.button_group(key="colours").options == ["Grey", "Sepia"]
        assert at.button_group(key="thumbnails").options == ["Small", "Medium"]
        assert at.selectbox(key="break_after_minutes").options == [f"after {n} minutes" for n in (20, 30, 45)]
        assert "only what is stricter" in words(at)
        at.button_group(key="colours").set_value("sepia").run()
        assert drawn(at, "gallery")["colours"] == "sepia" and api.sessions.chosen["Ann <b>"].blur


def test_what_the_api_refuses_does_not_hold_and_is_said(visit: Visit, api: FakeApi):
    at = visit(port=api.port)
    api.sessions.rules = ExposureRules(floor=True)  # set since the page was opened
    at.toggle(key="blur").set_value(False).run()
    assert drawn(at, "gallery")["blur"] and at.toggle(key="blur").value
    assert "does not permit" in at.toast[0].value


def test_a_break_is_suggested_after_work_and_again_after_as_much_more(
    visit: Visit, api: FakeApi, monkeypatch: pytest.MonkeyPatch
):
    now = [1000.0]
    monkeypatch.setattr(exposure, "_clock", lambda: now[0])
    exposure._work.clear()
    api.sessions.chosen["Ann <b>"] = SEPIA.model_copy(update={"break_after_minutes": 20})

    def works(at: AppTest, minutes: int) -> str:
        for _ in range(minutes):
            now[0] += 60
            at.run()
        return words(at)

    at = visit(port=api.port)
    assert "moment for a break" not in works(at, 19)
    assert "at work for 20 minutes" in works(at, 1)
    at.button(key="dismiss_break").click().run()
    assert "moment for a break" not in words(at) and "moment for a break" not in works(at, 19)
    now[0] += exposure.PAUSE_S + 1  # a break
    assert "moment for a break" not in works(at, 19)
    assert "at work for 20 minutes" in works(visit(port=api.port), 2), "it counts in all windows of who works"
    exposure._work.clear()
