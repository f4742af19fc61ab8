"""Each page without anything to show, while the API is away, and while the search index is."""

import html
import socket

import pytest

from tests.support.fakes.api import FakeApi
from tests.support.pages import Visit, served, words
from tests.support.paths import ROOT

VIEWS = sorted(path.stem for path in (ROOT / "app" / "views").glob("*.py") if path.stem != "__init__")
OF_FILE = {"asset": "0" * 32}  # of whatever file
PARAMS: dict[str, dict[str, str]] = {"search": {"q": "exit"}, "file": OF_FILE}
EMPTY = {
    "analyze": "",  # it shows nothing that is stored
    "browse": "Nothing has been analysed yet",
    "cases": "There is no case yet",
    "cluster": "",
    "file": "There is no such file",
    "jobs": "No scan has been started yet",
    "left_out": "No scan has left anything out",
    "logos": "No logo is looked for yet",
    "overview": "Nothing has been analysed yet",
    "people": "No face was found in these files",
    "review": "No file is left in this queue",
    "search": "Only files that were analysed can be found",
    "settings": "",
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_page_with_nothing_to_show_says_so(visit: Visit, view: str):
    with served(FakeApi([])) as port:
        at = visit(view, port=port, **PARAMS.get(view, {}))
    assert EMPTY[view] in words(at)


@pytest.mark.parametrize("view", VIEWS)
def test_without_an_api_each_page_shows_how_to_start_it(visit: Visit, view: str):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        at = visit(view, port=unused.getsockname()[1], **PARAMS.get(view, {}))
    assert "raysift up" in words(at)
    assert "Traceback" not in words(at)


def test_without_the_search_index_the_page_says_what_works_meanwhile(visit: Visit):
    with served(FakeApi(searchable=False)) as port:
        at = visit("search", port=port, q="exit")
    assert "The search index is being rebuilt. Browsing works meanwhile." in html.unescape(words(at))


def test_a_search_with_a_part_missing_shows_the_rest_and_says_why(visit: Visit):
    with served(FakeApi(notes=("Chroma does not answer",))) as port:
        at = visit("search", port=port, q="exit")
    assert "The search is incomplete. Chroma does not answer" in words(at)
    assert at.get("bidi_component")
