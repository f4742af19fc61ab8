"""The People page: groups, one person, corrections, undo, what happens when two correct at once, what viewers see."""

from urllib.parse import parse_qs, urlsplit

from streamlit.testing.v1 import AppTest

from cluster.people.api_types import PeopleQuery
from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import FOLDER
from tests.support.pages import Visit, drawn, served, words


def groups(api: FakeApi) -> list[tuple[str | None, int]]:
    return [(group.name, group.faces) for group in api.people.groups(PeopleQuery()).groups]


def tiles(at: AppTest) -> list[dict]:
    return drawn(at, "gallery")["items"]


def person(visit: Visit, api: FakeApi, place: int = 0) -> AppTest:
    """The page of a person, by the place in the list."""
    return visit("people", port=api.port, group=api.people.groups(PeopleQuery()).groups[place].face)


def tick(at: AppTest, *places: int) -> AppTest:
    """Tick tiles of a gallery, by their places."""
    at.session_state["faces ticked"] = [tiles(at)[place]["id"] for place in places]
    return at.run()


def press(at: AppTest, key: str) -> AppTest:
    at.button(key=key).click().run()
    assert not at.exception
    return at


def test_groups_are_tiles_with_some_faces_their_numbers_and_a_link(visit: Visit):
    at = visit("people")
    assert "5 people" in words(at)
    first = tiles(at)[0]
    assert (first["name"], first["note"]) == ("No name", "15 faces in 8 files")
    pictures = [first["picture"], *first["more"]]
    assert len(set(pictures)) == 4 and all(picture.startswith("/api/face/") for picture in pictures)
    assert parse_qs(urlsplit(first["href"]).query)["group"] == [first["id"]]


def test_a_case_has_its_people_only(visit: Visit, api: FakeApi):
    api.cases.store.add("films", "", [f"{FOLDER}/clip_1.mp4"], "Ann")
    at = visit("people", port=api.port, case="films")
    assert [tile["note"] for tile in tiles(at)] == ["8 faces in 1 file"]
    assert "case=films" in tiles(at)[0]["href"]


def test_people_are_found_by_letters_of_their_names(visit: Visit, api: FakeApi):
    api.people.bob(0, "Ann Example")
    assert [tile["name"] for tile in tiles(visit("people", port=api.port, name="exam"))] == ["Ann Example"]
    assert "Nobody has this name" in words(visit("people", port=api.port, name="zz"))


def test_one_person_has_faces_that_lead_to_their_files_and_films_as_a_timeline(visit: Visit):
    at = visit("people", group=tiles(visit("people"))[0]["id"])
    assert "15 faces in 8 files" in words(at)
    in_film = [tile for tile in tiles(at) if tile["kind"] == "video"]
    assert [tile["length"] for tile in in_film][:2] == ["0:00", "0:01"]
    assert parse_qs(urlsplit(in_film[1]["href"]).query)["t"] == ["1"]
    (chart,) = at.get("vega_lite_chart")
    assert "clip_" in chart.proto.spec and '"to": 7.0' in chart.proto.spec.replace('"to":7.0', '"to": 7.0')


def test_a_name_is_saved_and_one_that_is_none_is_refused_with_the_rule(visit: Visit, api: FakeApi):
    at = person(visit, api)
    at.text_input[0].set_value("#1")
    press(at, "save")
    assert "A name has 1 to 60 letters" in words(at).replace("&#45;", "-") and groups(api)[0][0] is None
    at.text_input[0].set_value("Ann Example")
    press(at, "save")
    assert groups(api)[0] == ("Ann Example", 15) and "Ann Example" in words(at)
    press(at, "undo")
    assert groups(api)[0] == (None, 15)


def test_a_false_face_leaves_the_group_and_the_counts(visit: Visit, api: FakeApi):
    at = tick(person(visit, api), 0, 1)
    press(at, "as face")
    assert groups(api)[0] == (None, 15) and sorted(groups(api), key=str)[0] == (None, 13)
    assert "13 faces in" in words(at), "the person is still shown, by another face"
    assert "2 marked as no face" in words(visit("people", port=api.port))


def test_faces_are_split_off_and_those_that_are_somebody_else_leave(visit: Visit, api: FakeApi):
    at = tick(person(visit, api), 0, 1, 2)
    press(at, "as split")
    assert sorted(count for _, count in groups(api)) == [3, 7, 7, 12, 15, 15]
    other = person(visit, api)
    press(tick(other, 3), "as person")
    assert sorted(count for _, count in groups(api)) == [3, 7, 7, 12, 14, 15]


def test_groups_are_merged_into_the_one_that_has_a_name(visit: Visit, api: FakeApi):
    api.people.bob(1, "Carl")
    at = visit("people", port=api.port)
    at.session_state["groups ticked"] = [tile["id"] for tile in tiles(at)[:3]]
    press(at.run(), "merge")
    assert groups(api)[0] == ("Carl", 45)
    press(at, "undo")
    assert [count for _, count in groups(api)] == [15, 15, 15, 7, 7]


def test_who_is_slower_hears_it_and_nothing_is_overwritten(visit: Visit, api: FakeApi):
    at = person(visit, api)
    api.people.bob(0, "Bea")
    at.text_input[0].set_value("Ann")
    press(at, "save")
    assert "Not stored: meanwhile Bob has corrected this group" in words(at)
    assert groups(api)[0][0] == "Bea"


def test_a_viewer_sees_people_and_cannot_correct_them(visit: Visit):
    api = FakeApi(role="viewer")
    with served(api) as port:
        face = api.people.groups(PeopleQuery()).groups[0].face
        for at in (visit("people", port=port), visit("people", port=port, group=face)):
            assert {button.key for button in at.button} & {"undo", "merge", "save", "as face"} == set()
            assert drawn(at, "gallery")["picked"] is None
    api.catalog.close()


def test_an_address_whose_face_is_in_no_group_says_so(visit: Visit):
    for face in (f"{'0' * 32}-s-1-1-2-2", "nonsense"):
        assert "in no group any more" in words(visit("people", group=face))


def test_the_page_of_a_file_leads_back_to_its_person_and_on_to_the_persons_next_file(visit: Visit):
    face = tiles(visit("people"))[0]["id"]
    (film,) = {tile["href"] for tile in tiles(visit("people", group=face)) if tile["length"] == "0:01"}
    params = {name: values[0] for name, values in parse_qs(urlsplit(film).query).items()}
    ways = drawn(visit("file", **params), "viewer")["ways"]
    assert (ways["back"], ways["where"]) == (f"/people?group={face}", "People")
    assert ways["previous"] is None and f"in=group%3D{face}" in ways["next"], "the film has the most faces: it is first"


def test_the_files_of_a_person_with_a_word_are_shown_in_place_of_the_faces(visit: Visit, api: FakeApi):
    face = api.people.groups(PeopleQuery()).groups[0].face
    at = visit("people", port=api.port, group=face, words=" Breaking  NEWS ")
    assert "1 file with “breaking news”" in words(at)
    (tile,) = tiles(at)
    assert tile["name"].startswith("clip_") and "group%3D" in tile["href"]
    nothing = visit("people", port=api.port, group=face, words="zz")
    assert "0 files with “zz”" in words(nothing) and tiles(nothing) == []
