"""Watch lists: people and logos that are looked for, with their files; adding by pictures and by a group; removing."""

import html
import io

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from cluster.people.api_types import PeopleQuery
from cluster.people.watch_types import WatchKind
from tests.support import pages
from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import FOLDER
from tests.support.pages import Visit, served


def png(shade: int = 0) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 40, 90)).save(sink, "PNG")
    return sink.getvalue()


def words(at: AppTest) -> str:
    return html.unescape(pages.words(at))


def watched(api: FakeApi, kind: WatchKind) -> list[tuple[str, int]]:
    """Names with their numbers of pictures."""
    names = [reference.name for reference in api.watch_lists.gallery(kind).references()]
    return sorted((name, names.count(name)) for name in set(names))


def opened(visit: Visit, kind: WatchKind, port: int) -> AppTest:
    return visit("people", port=port, list="watched") if kind == "people" else visit("logos", port=port)


def send(at: AppTest, name: str, **files: bytes) -> AppTest:
    next(field for field in at.text_input if field.label == "Name").set_value(name)
    for file, content in files.items():
        at.file_uploader[0].upload(f"{file}.png", content)
    at.button(key="add").click().run()
    assert not at.exception
    return at


@pytest.mark.parametrize("kind", ["people", "logos"])
def test_an_empty_list_says_so_and_how_scans_use_it(visit: Visit, api: FakeApi, kind: WatchKind):
    said = words(opened(visit, kind, api.port))
    assert {"people": "Nobody is looked for yet", "logos": "No logo is looked for yet"}[kind] in said
    assert {"people": "raysift people match", "logos": "only the detector logo runs anew"}[kind] in said


def test_a_person_of_the_list_has_pictures_and_a_link_to_the_files_of_the_case(visit: Visit, api: FakeApi):
    gallery = api.watch_lists.gallery("logos")
    label = next(iter(api.catalog.files_by_label("logo", None)), "face")
    gallery.add_contents(label, [(".png", png()), (".png", png(1))])
    api.watch_lists.gallery("people").add_contents("Nobody Known", [(".png", png())])
    assert "found in no file" in words(opened(visit, "people", api.port))
    at = opened(visit, "logos", api.port)
    assert "1 logo is looked for" in words(at) and "2 pictures" in words(at)


def test_each_picture_has_its_answer(visit: Visit, api: FakeApi):
    at = send(opened(visit, "people", api.port), "Ann  Example", good=png(), blurred=png(1), two=png(2), nobody=png(3))
    said = words(at)
    assert "good.png: accepted" in said
    assert "blurred.png: refused: its face has no vector: blurred" in said
    assert "two.png: refused: 2 faces" in said and "nobody.png: refused: no face was found" in said
    assert watched(api, "people") == [("Ann Example", 1)]
    assert "1 person is looked for" in said and "1 picture" in said


def test_a_broken_picture_and_a_name_that_is_none_are_refused_with_the_reason(visit: Visit, api: FakeApi):
    assert "broken.png: refused: it is" in words(send(opened(visit, "logos", api.port), "acme", broken=b"no picture"))
    assert "good.png: refused: " in words(send(opened(visit, "logos", api.port), "#acme", good=png()))
    assert "Enter a name" in words(send(opened(visit, "logos", api.port), "acme"))
    assert watched(api, "logos") == []


@pytest.mark.parametrize("kind", ["people", "logos"])
def test_one_is_removed(visit: Visit, api: FakeApi, kind: WatchKind):
    api.watch_lists.gallery(kind).add_contents("Ann", [(".png", png())])
    at = opened(visit, kind, api.port)
    at.button(key="remove Ann").click().run()
    assert not at.exception and watched(api, kind) == []


def test_one_who_is_gone_meanwhile_is_said_to_be(visit: Visit, api: FakeApi):
    api.watch_lists.gallery("people").add_contents("Ann", [(".png", png())])
    at = opened(visit, "people", api.port)
    api.watch_lists.gallery("people").remove("Ann")
    at.button(key="remove Ann").click().run()
    assert "Not removed: there is no 'Ann'" in words(at)


def test_a_named_group_is_put_on_the_watch_list(visit: Visit, api: FakeApi):
    face = api.people.groups(PeopleQuery()).groups[0].face
    assert "watch" not in {button.key for button in visit("people", port=api.port, group=face).button}, "it has no name"
    api.people.bob(0, "Ann Example")
    at = visit("people", port=api.port, group=face)
    at.button(key="watch").click().run()
    assert not at.exception and watched(api, "people") == [("Ann Example", 3)]


def test_names_are_found_by_letters(visit: Visit, api: FakeApi):
    for name in ("Ann Example", "Bob Example", "Carl"):
        api.watch_lists.gallery("people").add_contents(name, [(".png", png())])
    at = opened(visit, "people", api.port)
    at.text_input[0].set_value("exam").run()
    assert {button.key for button in at.button if str(button.key).startswith("remove")} == {
        "remove Ann Example",
        "remove Bob Example",
    }


@pytest.mark.parametrize("role", ["viewer", "reviewer"])
def test_who_is_no_operator_sees_the_list_and_changes_nothing(visit: Visit, role):
    api = FakeApi(role=role)
    api.watch_lists.gallery("people").add_contents("Ann", [(".png", png())])
    with served(api) as port:
        at = opened(visit, "people", port)
        assert "1 person is looked for" in words(at) and not at.file_uploader
        assert not [button.key for button in at.button if str(button.key).startswith("remove")]
    api.catalog.close()


def test_a_case_has_its_own_numbers(visit: Visit, api: FakeApi):
    api.cases.store.add("films", "", [f"{FOLDER}/clip_1.mp4"], "Ann")
    before = api.catalog.files_by_label("face", None)["face"]
    assert api.catalog.files_by_label("face", api.cases.within("films")) == {"face": 1} and before > 1
