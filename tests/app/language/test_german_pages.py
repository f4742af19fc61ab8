"""Every page in German: no text of the catalogue is shown in English, and numbers are written with a comma."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from babel.messages.pofile import read_po
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from streamlit.testing.v1 import AppTest

from app.language.texts import used_in
from cluster.people.api_types import PeopleQuery
from cluster.records import asset_id
from tests.app.language.texts import SCRIPTS, catalogue, texts
from tests.support.fakes.api import FakeApi
from tests.support.fakes.media import draw_picture
from tests.support.pages import Visit, words

FILM = asset_id("s3://evidence/case 7/clip_1.mp4")
# fields of elements and keys of components that nobody sees
UNSEEN = {"id", "key", "elementId", "name", "value", "kind", "icon", "formId", "url", "page", "pageScriptHash", "href"}
UNSEEN |= {"componentName", "jsContent", "cssContent", "jsSourcePath", "cssSourcePath", "spec", "queryParamKey"}
UNSEEN |= {"detector", "color", "source", "poster", "asset", "model", "picture", "like", "queryString", "default"}


def strings(of: object) -> Iterator[str]:
    """The strings of a message or of data that somebody sees."""
    if isinstance(of, Message):
        yield from strings(MessageToDict(of))
    elif isinstance(of, dict):
        for key, each in of.items():
            if key in ("json", "mixedData") and isinstance(each, str):
                yield from strings(json.loads(each))
            elif key not in UNSEEN:
                yield from strings(each)
    elif isinstance(of, list | tuple):
        for each in of:
            yield from strings(each)
    elif isinstance(of, str):
        yield from re.split(r"\n| · | \| |<[^>]+>", of)


def elements(block: Any) -> Iterator[Message]:
    """What a page has drawn."""
    if isinstance(proto := getattr(block, "proto", None), Message):
        yield proto
    for child in getattr(block, "children", {}).values():
        yield from elements(child)


@pytest.fixture(scope="module")
def english() -> re.Pattern[str]:
    """Each text of the catalogue that has another form in German."""
    with catalogue("de").open("rb") as file:
        messages = [message for message in read_po(file, locale="de") if message.id]
    forms = [
        source
        for message in messages
        for source, german in zip(
            [message.id] if isinstance(message.id, str) else message.id,
            [message.string] if isinstance(message.string, str) else message.string,
            strict=True,
        )
        if source != german and not re.fullmatch(r"(\W|\{\w*\})*", source)
    ]
    return re.compile("|".join(f"(?:{as_pattern(source)})" for source in forms))


def as_pattern(text: str) -> str:
    """A pattern of the text with any values."""
    parts = re.split(r"\{(\w*)\}", text)
    values = (
        r"[\d:.,]+" if name in ("n", "total", "time", "score", "least", "most") else r"[^.]+?" for name in parts[1::2]
    )
    return "".join(re.escape(part) + next(values, "") for part in parts[::2])


def left_in_english(at: AppTest, english: re.Pattern[str]) -> list[str]:
    """What the page shows in English, although the catalogue has it."""
    assert not at.exception
    shown = (text.strip().lstrip("# ").strip() for proto in elements(at._tree) for text in strings(proto))
    return sorted({text for text in shown if english.fullmatch(text)})


PAGES = [
    ("browse", {}),
    ("browse", {"sort": "score", "where": ["!face:", "kind=video|name~a", "scanned>=2026-01-01"], "page": "1"}),
    ("browse", {"under": "s3://nothing"}),
    ("browse", {"view": "table"}),
    ("left_out", {}),
    ("left_out", {"reason": "it is a link"}),
    ("cases", {}),
    ("overview", {}),
    ("overview", {"as": "Tables", "kind": ["video"]}),
    ("search", {}),
    ("search", {"q": "exit"}),
    ("search", {"q": "beach"}),
    ("search", {"like": FILM}),
    ("search", {"like": FILM, "by": "faces"}),
    ("people", {}),
    ("people", {"name": "nobody"}),
    ("review", {"in": "under=s3://evidence/case 7/clip"}),
    ("review", {"second": "true"}),
    ("jobs", {}),
    ("analyze", {}),
    ("cluster", {}),
    ("settings", {}),
    ("file", {}),
    ("file", {"asset": FILM}),
    ("file", {"asset": asset_id("s3://evidence/case 7/IMG_0003.jpg")}),
]


@pytest.mark.parametrize(("view", "params"), PAGES, ids=[f"{view} {' '.join(params)}" for view, params in PAGES])
def test_a_page_has_no_english_left(visit: Visit, english: re.Pattern[str], view: str, params: dict[str, Any]):
    assert left_in_english(visit(view, **params, lang="de"), english) == []


def test_a_page_in_english_is_in_english(visit: Visit, english: re.Pattern[str]):
    assert {"80 files", "Blur", "Minimum score"} <= set(left_in_english(visit(), english))


def test_the_groups_of_people_and_one_of_them_have_no_english_left(
    visit: Visit, api: FakeApi, english: re.Pattern[str]
):
    group = api.people.groups(PeopleQuery()).groups[0]
    at = visit("people", port=api.port, group=group.face, lang="de")
    assert left_in_english(at, english) == [] and f"{group.faces} Gesichter in {group.files} Dateien" in words(at)


def test_the_files_of_a_person_with_a_word_have_no_english_left(visit: Visit, api: FakeApi, english: re.Pattern[str]):
    group = api.people.groups(PeopleQuery()).groups[0]
    at = visit("people", port=api.port, group=group.face, words="breaking news", lang="de")
    assert left_in_english(at, english) == [] and "1 Datei mit „breaking news“" in words(at)


def test_tables_have_german_headings_numbers_and_times(visit: Visit, api: FakeApi, english: re.Pattern[str]):
    api.jobs.begin(["s3://evidence"], state="finished")
    at = visit("left_out", port=api.port, reason="it is a link", lang="de")
    assert left_in_english(at, english) == [] and "3 ausgelassen, ohne Endung" in words(at).replace("&#58;", ":")
    assert list(at.dataframe[0].value.columns) == ["Adresse", "Grund", "Endung", "Auftrag"]
    (table,) = visit(view="table", kind=["video"], lang="de").dataframe
    assert list(table.value.columns) == ["Name", "Art", "Größe", "Funde", "Entscheidung", "Auftrag", "Analysiert"]
    assert {*table.value["Art"]} == {"Video"} and re.search(r" 0,\d\d\b", table.value["Funde"][0])
    assert "DD.MM.YYYY HH:mm" in table.proto.columns


def test_jobs_and_a_plan_have_no_english_left(visit: Visit, api: FakeApi, english: re.Pattern[str]):
    api.jobs.begin(["s3://evidence/a", "s3://evidence/b"])
    at = visit("jobs", port=api.port, lang="de")
    at.text_area[0].set_value("s3://evidence/a")
    at.button(key="look").click().run()
    assert left_in_english(at, english) == [] and "22&#46;11&#46;2026" in words(at)
    assert "120 Dateien würden analysiert, 1,2 GB" in words(at) and "| 20 | Video | neues Modell | 1,0 GB |" in words(
        at
    )


def test_an_upload_and_a_decision_have_no_english_left(visit: Visit, api: FakeApi, english: re.Pattern[str]):
    at = visit("analyze", port=api.port, lang="de")
    at.file_uploader[0].upload("me.png", draw_picture("ab" * 16, 64, 48, "me", 64))
    assert left_in_english(at.run(), english) == [] and "Dauer 0," in words(at)
    at = visit("review", port=api.port, lang="de")
    (button,) = (button for button in at.button if button.label == "relevant")
    assert left_in_english(button.click().run(), english) == []


def test_the_orders_of_files_are_named_in_german_and_stand_in_the_address_as_before(visit: Visit):
    at = visit(lang="de")
    order = at.selectbox(key="sort")
    assert order.options == ["Neueste", "Älteste", "Score", "Name"]
    at = order.set_value("name").run()
    assert at.query_params["sort"] == "name"
    assert left_in_english(at, re.compile("newest|oldest")) == []


def test_scripts_get_the_translation_of_every_text_they_have():
    of_scripts = {text for text, files in texts().items() if any(name.endswith(".js") for name in files)}
    translated = used_in("\n".join(path.read_text() for path in SCRIPTS), "de")
    assert {text if isinstance(text, str) else text[0] for text in of_scripts} <= set(translated)
    assert (
        translated["Reveal"] == "Aufdecken"
        and translated["{n} more of {detector}"] == ["{n} weitere von {detector}"] * 2
    )
