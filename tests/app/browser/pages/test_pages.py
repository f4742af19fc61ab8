"""Every page: no barrier that axe finds, in both themes and languages; nothing cut off at any width; its picture."""

import threading
from typing import Literal
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from cluster.records import asset_id
from tests.app.browser.pages.barriers import cut_off, faults
from tests.app.browser.pages.pictures import picture_of, words, words_of
from tests.app.browser.pages.places import CASE, PLACES, Place, drawn
from tests.app.browser.pages.walking import fold_out_and_in, walk
from tests.support.browser import Visit, settled
from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import FOLDER, detection, file
from tests.support.paths import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]
ODD_NAMES = ("صورة من الميناء ٢.jpg", "🚢 Übergabe 👩‍🔬 ½.jpg")
ODD_LINE = "رصيف 4 ⚓"
WIDE, MIDDLE, PHONE = (1440, 900), (1024, 768), (390, 844)


def opened(tour: Visit, place: Place, language: str) -> Page:
    """A page in a language, light and wide."""
    show(tour.page, "light", WIDE)
    page = tour.open(f"{place.path}{'&' if '?' in place.path else '?'}lang={language}")
    drawn(page, place)
    expect(page.locator("html")).to_have_attribute("lang", language)
    return page


@pytest.fixture(scope="module", params=PLACES, ids=lambda place: place.name)
def place(request: pytest.FixtureRequest) -> Place:
    """Each place; all tests of one come after each other."""
    return request.param


@pytest.fixture(scope="module")
def shown(tour: Visit, place: Place) -> Page:
    """A page in English, opened once for all its tests, which leave it as it was."""
    return opened(tour, place, "en")


def show(page: Page, scheme: Literal["light", "dark"], size: tuple[int, int]) -> None:
    """Change the theme, as a computer does in the evening, and the size of the window."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": size[0], "height": size[1]})
    if page.url.startswith("http"):
        expect(page.locator(".stApp")).to_have_css("color-scheme", scheme)


def cut_off_at(page: Page, *sizes: tuple[int, int]) -> dict[tuple[int, int], list[str]]:
    """What is cut off at these sizes of the window, by size, once charts and tables have followed it."""
    found = {}
    for width, height in sizes:
        page.set_viewport_size({"width": width, "height": height})
        for _ in range(20):
            page.wait_for_timeout(150)
            if not (cut := cut_off(page)):
                break
        else:
            found[width, height] = cut
    return found


def test_every_view_of_the_app_is_looked_at():
    assert {place.view for place in PLACES} == {
        path.stem for path in (ROOT / "app" / "views").glob("*.py") if path.stem != "__init__"
    }


def test_the_picture_of_a_page_is_as_old_as_the_page(shown: Page, place: Place):  # the first: others leave a focus
    assert picture_of(place.name).exists(), "make pictures"
    known = words_of(place.name).read_text()
    for _ in range(10):
        if words(shown) == known:
            return
        shown.wait_for_timeout(300)
    assert words(shown).splitlines() == known.splitlines(), "the page has changed: make pictures"


def test_a_page_has_no_serious_barrier(shown: Page):
    assert faults(shown) == []
    show(shown, "dark", WIDE)
    assert faults(shown, contrast=True) == []
    show(shown, "light", WIDE)


def test_a_page_fits_every_window(shown: Page):
    assert cut_off_at(shown, MIDDLE, PHONE) == {}
    show(shown, "dark", PHONE)
    assert cut_off_at(shown, PHONE, WIDE) == {}
    show(shown, "light", WIDE)


def test_a_page_is_walked_by_the_tab_key_and_the_focus_shows(shown: Page):
    way = walk(shown)
    assert way.is_over and way.unseen == []
    assert way.stops[0] == "A Skip to main content"
    shown.keyboard.press("Tab")
    shown.keyboard.press("Enter")
    shown.keyboard.press("Tab")
    expect(shown.locator("[data-testid=stMain] :focus, [data-testid=stMain]:focus").first).to_be_attached()


def test_what_is_folded_opens_and_closes_by_keys(shown: Page, place: Place):
    folded = len(fold_out_and_in(shown))
    assert folded >= {"browse": 3, "table": 3, "search": 2, "jobs": 1}.get(place.name, 0)


def test_a_page_in_german_has_no_serious_barrier_and_fits(tour: Visit, place: Place):
    page = opened(tour, place, "de")
    assert cut_off_at(page, MIDDLE, PHONE) == {}
    assert faults(page, contrast=False) == []  # on a phone; the colours are the same


@pytest.mark.parametrize("path", ["/sign-in", "/purpose"])
def test_a_page_without_scripts_has_no_serious_barrier_and_fits(browser: Browser, harbour_url: str, path: str):
    visit = Visit(browser, harbour_url, *PHONE, session="" if path == "/sign-in" else None)
    page = visit.open(path)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert (faults(page), cut_off(page)) == ([], [])
    visit.close()


def test_names_in_arabic_and_with_emoji_are_shown_letter_by_letter(tour: Visit, harbour_api: FakeApi):
    show(tour.page, "light", WIDE)
    line = detection("ocr", "text", 0.9, box=(0.1, 0.1, 0.9, 0.2), text=ODD_LINE)
    harbour_api.add([file(name, "image", [line], width=640, height=480) for name in ODD_NAMES])
    for name in ODD_NAMES:
        page = tour.open(f"/file?asset={asset_id(f'{FOLDER}/{name}')}&lang=en")
        expect(page.locator(".viewer h1")).to_have_text(name)
        expect(page.locator(".lines .text")).to_have_text(ODD_LINE)
    page = tour.open(f"/search?q={quote(ODD_LINE[:4])}")
    expect(page.locator(".tile .name")).to_have_text(ODD_NAMES, use_inner_text=True)
    page = tour.open("/?case=*&sort=oldest&view=table")
    for name in ODD_NAMES:
        expect(page.locator("td", has_text=name)).to_be_attached()


@pytest.mark.parametrize(
    ("path", "reads", "text"),
    [
        ("/overview?least_score=0.35", "overview", "Counting"),
        ("/search?q=noon", "passing", "Searching"),
        ("/people?name=x", "people", "Comparing faces"),
    ],
)
def test_a_page_says_what_it_waits_for(
    tour: Visit, harbour_api: FakeApi, monkeypatch: pytest.MonkeyPatch, path: str, reads: str, text: str
):
    read, go_on = getattr(harbour_api.catalog, reads), threading.Event()
    monkeypatch.setattr(harbour_api.catalog, reads, lambda *args: go_on.wait(30) and read(*args))
    page = tour.open(f"{path}&case={CASE}&lang=en")
    expect(page.get_by_text(text, exact=True)).to_be_visible()
    go_on.set()
    expect(page.get_by_text(text, exact=True)).to_have_count(0)
    settled(page)
