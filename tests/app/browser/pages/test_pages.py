"""Every page: no barrier that axe finds, in both themes and languages; nothing cut off at any width; its picture."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.app.browser.pages.barriers import cut_off, faults
from tests.app.browser.pages.places import PLACES, Place, drawn
from tests.support.browser import Visit
from tests.support.paths import ROOT

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]
WIDE, MIDDLE, PHONE = (1440, 900), (1024, 768), (390, 844)
each_place = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)


def opened(tour: Visit, place: Place, language: str) -> Page:
    """A page in a language, light and wide."""
    tour.page.emulate_media(color_scheme="light", reduced_motion="reduce")
    tour.page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    page = tour.open(f"{place.path}{'&' if '?' in place.path else '?'}lang={language}")
    drawn(page, place)
    expect(page.locator("html")).to_have_attribute("lang", language)
    return page


def paint_dark(page: Page) -> None:
    """Change to the dark theme, as a computer does in the evening."""
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    expect(page.locator(".stApp")).to_have_css("color-scheme", "dark")


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


@each_place
def test_a_page_has_no_serious_barrier_and_fits(tour: Visit, place: Place):
    page = opened(tour, place, "en")
    assert faults(page) == []
    assert cut_off_at(page, WIDE, MIDDLE, PHONE) == {}
    paint_dark(page)
    assert cut_off_at(page, PHONE, MIDDLE, WIDE) == {}
    assert faults(page, "color-contrast") == []


@each_place
def test_a_page_in_german_has_no_serious_barrier_and_fits(tour: Visit, place: Place):
    page = opened(tour, place, "de")
    assert cut_off_at(page, WIDE, MIDDLE, PHONE) == {}
    assert faults(page) == []  # on a phone


@pytest.mark.parametrize("path", ["/sign-in", "/purpose"])
def test_a_page_without_scripts_has_no_serious_barrier_and_fits(browser: Browser, harbour_url: str, path: str):
    visit = Visit(browser, harbour_url, *PHONE, session="" if path == "/sign-in" else "rs_" + "0" * 12 + "_" + "t" * 43)
    page = visit.open(path)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert (faults(page), cut_off(page)) == ([], [])
    visit.close()
