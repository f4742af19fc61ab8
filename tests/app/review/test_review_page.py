"""The Review page: files of a queue in turn, decisions, undo, what happens when two decide at once."""

from streamlit.testing.v1 import AppTest

from cluster.records import asset_id
from tests.support.fakes.api import FakeApi
from tests.support.pages import Visit, drawn, served, words

CLIPS = [asset_id(f"s3://evidence/case 7/clip_{n}.mp4") for n in range(3)]
QUEUE = {"in": "under=s3://evidence/case 7/clip"}


def shown(at: AppTest) -> str:
    """The name of the file that is shown."""
    return drawn(at, "viewer")["file"]["name"]


def press(at: AppTest, text: str) -> AppTest:
    (button,) = (button for button in at.button if button.label == text)
    button.click().run()
    assert not at.exception
    return at


def progress(at: AppTest) -> str:
    (bar,) = at.get("progress")
    return bar.proto.text


def test_files_come_in_turn_and_a_decision_with_tags_and_note_is_stored(visit: Visit, api: FakeApi):
    at = visit("review", port=api.port, **QUEUE)
    assert progress(at).startswith("0 of 3 files decided")
    first = shown(at)
    at.text_area[0].set_value("in the harbour")
    press(at, "relevant")
    assert progress(at).startswith("1 of 3 files decided · 1 by you in the last hour")
    assert shown(at) != first
    state = api.decisions.show(asset_id(f"s3://evidence/case 7/{first}"))
    assert state.decision is not None
    assert (state.decision.label, state.decision.note, state.decision.who) == ("relevant", "in the harbour", "Ann <b>")


def test_the_last_decision_is_taken_back_and_its_file_is_shown_again(visit: Visit, api: FakeApi):
    at = visit("review", port=api.port, **QUEUE)
    first = shown(at)
    press(press(at, "not relevant"), "Undo")
    assert shown(at) == first
    assert progress(at).startswith("0 of 3 files decided")
    assert "taken back" in words(at)


def test_a_file_is_left_for_later_and_comes_again_when_all_were_seen(visit: Visit, api: FakeApi):
    at = visit("review", port=api.port, **QUEUE)
    seen = [shown(at)]
    seen += [shown(press(at, "Next")) for _ in range(2)]
    assert len(set(seen)) == 3
    press(at, "Next")
    assert "No file is left" in words(at)
    assert shown(press(at, "Back")) == seen[-1]
    press(press(at, "Next"), "Show those that were left out")
    assert shown(at) in seen


def test_a_decision_that_somebody_made_meanwhile_is_not_overwritten(visit: Visit, api: FakeApi):
    at = visit("review", port=api.port, **QUEUE)
    asset = asset_id(f"s3://evidence/case 7/{shown(at)}")
    api.decisions.bob(asset, "unsure")
    press(at, "relevant")
    assert "meanwhile Bob has decided" in words(at).replace("&#46;", ".")
    assert [decision.who for decision in api.decisions.show(asset).history] == ["Bob"]
    press(at, "relevant")  # having seen it
    assert [decision.who for decision in api.decisions.show(asset).history] == ["Ann <b>", "Bob"]


def test_a_second_person_does_not_see_the_first_decision_before_the_own(visit: Visit, api: FakeApi):
    api.decisions.bob(CLIPS[1], "not relevant")
    at = visit("review", port=api.port, second="true", by="Bob", **QUEUE)
    assert shown(at) == "clip_1.mp4"
    assert "**not relevant**" not in words(at)
    press(at, "relevant")
    assert "No file is left" in words(at)
    press(at, "Back")
    assert "**not relevant**" in words(at) and "decided differently" in words(at)


def test_browse_filters_by_decision_and_tag(visit: Visit, api: FakeApi):
    groups = drawn(visit("browse", port=api.port), "facets")["groups"]
    assert "Decision" not in [group["title"] for group in groups]
    api.decisions.bob(CLIPS[0], "unsure", tags=("harbour",))
    at = visit("browse", port=api.port, decision=["unsure"])
    assert "#### 1 file" in words(at)
    groups = {group["title"]: group["options"] for group in drawn(at, "facets")["groups"]}
    counts = {option["value"]: option["count"] for option in groups["Decision"]}
    assert counts == {"none": 79, "unsure": 1}
    assert [option["value"] for option in groups["Tag"]] == ["harbour"]
    assert "#### 1 file" in words(visit("browse", port=api.port, tag=["harbour"]))


def test_several_files_of_browse_are_decided_at_once_and_those_with_a_decision_keep_it(visit: Visit, api: FakeApi):
    api.decisions.bob(CLIPS[0], "unsure")
    at = visit("browse", port=api.port, kind=["video"])
    at.checkbox[0].check().run()
    at.text_area(key="note_of_several").set_value("all of one kind")
    press(at, "not relevant")
    assert "3 of 4 files decided" in at.toast[0].value and "of Bob" in at.toast[0].value
    states = [api.decisions.show(clip).decision for clip in CLIPS]
    assert [state.label for state in states if state] == ["unsure", "not relevant", "not relevant"]
    assert states[1] is not None and states[1].note == "all of one kind"


def test_browse_links_to_the_review_of_its_files(visit: Visit):
    at = visit("browse", kind=["image"])
    (link,) = (link.proto for link in at.get("page_link") if link.proto.label == "Review")
    assert link.query_string == "in=kind%3Dimage"


def test_a_viewer_has_no_review_page(visit: Visit):
    with served(FakeApi(role="viewer")) as port:
        at = visit("browse", port=port)
    assert not any("Review" in (link.proto.label) for link in at.get("page_link"))


def test_the_file_page_shows_the_history_and_a_decision_is_made_there(visit: Visit, api: FakeApi):
    api.decisions.bob(CLIPS[0], "unsure")
    at = visit("file", port=api.port, asset=CLIPS[0])
    assert "**unsure** · Bob" in words(at)
    press(at, "not relevant")
    assert "**not relevant** · Ann" in words(at)
    assert api.decisions.show(CLIPS[0]).version == 2
    press(at, "Undo")
    assert api.decisions.show(CLIPS[0]).decision.label == "unsure"


def test_a_viewer_sees_decisions_and_cannot_decide(visit: Visit):
    api = FakeApi(role="viewer")
    api.decisions.bob(CLIPS[0], "unsure")
    with served(api) as port:
        at = visit("file", port=port, asset=CLIPS[0])
    assert "**unsure** · Bob" in words(at)
    assert not at.button
