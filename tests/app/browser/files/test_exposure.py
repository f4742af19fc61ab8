"""What of pictures and films a browser shows before they are revealed, and that it follows a person."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from cluster.exposure.exposure import Exposure, ExposureRules
from cluster.records import asset_id
from tests.support.browser import Visit, app_over, wait_for_pictures
from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import FOLDER
from tests.support.fakes.sessions import BOBS_TOKEN

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]
Open = Callable[..., Visit]
FILM = asset_id(f"{FOLDER}/clip_1.mp4")
PICTURE = asset_id(f"{FOLDER}/IMG_0003.jpg")
OPEN = Exposure(blur=False, colours="colour", muted=False, thumbnails="large", break_after_minutes=None)


@pytest.fixture(scope="module")
def own_api() -> FakeApi:
    """A fake API whose users' choices these tests change."""
    return FakeApi()


@pytest.fixture(scope="module")
def own_url(own_api: FakeApi) -> Iterator[str]:
    """The URL of an app with it."""
    with app_over(own_api) as url:
        yield url


@pytest.fixture
def opened(browser: Browser, own_api: FakeApi, own_url: str) -> Iterator[Open]:
    """Open a page in a new browser context; nobody has chosen anything before the test, the organisation no floor."""
    own_api.sessions.chosen.clear()
    own_api.sessions.rules = ExposureRules()
    visits: list[Visit] = []

    def opened(path: str = "/", **more: str) -> Visit:
        visits.append(Visit(browser, own_url, **more))
        visits[-1].open(path)
        return visits[-1]

    yield opened
    for visit in visits:
        visit.close()
        assert visit.strangers == [] and visit.errors == []


def filter_of(shown: Locator) -> str:
    """The CSS filter with which a picture or film is drawn."""
    expect(shown).to_be_visible()
    return shown.evaluate("element => getComputedStyle(element).filter")


@contextmanager
def viewing(page: Page) -> Iterator[Locator]:
    """The choices, unfolded."""
    unfold = page.get_by_role("button", name="Viewing")
    unfold.click()
    yield page.get_by_test_id("stPopoverBody")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("stPopoverBody")).to_have_count(0)


def test_pictures_are_blurred_and_grey_and_the_choice_follows_its_user_to_another_browser(opened: Open):
    page = opened().page
    wait_for_pictures(page)
    first = page.locator(".tile img").first
    width = first.bounding_box()["width"]
    assert filter_of(first) == "blur(14px) grayscale(1)"
    with viewing(page) as choices:
        choices.get_by_text("Sepia", exact=True).click()
        expect(page.locator(".tiles.sepia")).to_be_visible()
        choices.get_by_text("Small", exact=True).click()
        expect(page.locator(".tiles.smaller")).to_be_visible()
        choices.get_by_text("Blur", exact=True).click()
        expect(page.locator(".tiles.blur")).to_have_count(0)
    assert filter_of(first) == "sepia(1)" and first.bounding_box()["width"] < width
    other = opened(f"/file?asset={PICTURE}").page
    assert filter_of(other.locator(".stage img")) == "sepia(1)"
    assert "grayscale(1)" in filter_of(opened(session=BOBS_TOKEN).page.locator(".tile img").first)


def test_the_floor_of_the_organisation_holds_against_page_and_browser(opened: Open, own_api: FakeApi):
    own_api.sessions.chosen["Ann <b>"] = OPEN
    own_api.sessions.rules = ExposureRules(floor=True)
    page = opened().page
    wait_for_pictures(page)
    assert filter_of(page.locator(".tile img").first) == "blur(14px) grayscale(1)"
    with viewing(page) as choices:
        expect(choices.get_by_role("switch", name="Blur")).to_be_disabled()
        expect(choices.get_by_text("Grey", exact=True)).to_be_visible()
        expect(choices.get_by_text("Colour", exact=True)).to_have_count(0)


def test_a_picture_is_revealed_by_b_while_h_or_the_pointer_is_held_and_through_a_lens(opened: Open):
    page = opened(f"/file?asset={PICTURE}").page
    image, picture = page.locator(".stage img"), page.locator(".stage .fit")
    hidden = "blur(28px) grayscale(1)"
    assert filter_of(image) == hidden
    page.keyboard.press("b")
    assert filter_of(image) == "none"
    page.keyboard.press("b")
    page.keyboard.down("h")
    assert filter_of(image) == "none"
    page.keyboard.up("h")
    assert filter_of(image) == hidden
    picture.click()
    assert filter_of(image) == hidden, "a click holds nothing"
    picture.hover()
    page.mouse.down()
    expect(page.locator(".stage.peek")).to_be_visible()
    assert filter_of(image) == "none"
    page.mouse.up()
    assert filter_of(image) == hidden
    page.keyboard.down("h")
    page.evaluate("() => window.dispatchEvent(new Event('blur'))")  # another window comes to the front
    assert filter_of(image) == hidden
    page.keyboard.up("h")
    page.keyboard.press("l")
    veil = page.locator(".stage .veil")
    assert veil.evaluate("veil => getComputedStyle(veil).backdropFilter") == hidden
    picture.hover()
    middle = veil.evaluate("veil => parseFloat(getComputedStyle(veil).getPropertyValue('--x')) / veil.offsetWidth")
    assert 0.45 < middle < 0.55 and filter_of(image) == "none"
    page.get_by_role("button", name="Reveal a part").click()
    assert filter_of(image) == hidden and not veil.is_visible()


def test_the_thumbnail_in_place_of_a_picture_that_cannot_be_shown_stays_blurred(opened: Open):
    visit = opened("/")
    wait_for_pictures(visit.page)
    for path in ("media", "playable"):
        visit.page.route(f"**/api/{path}/*", lambda route: route.fulfill(status=200, body="x", content_type="image/x"))
    visit.open(f"/file?asset={PICTURE}")
    expect(visit.page.get_by_text("This is its thumbnail.")).to_be_visible()
    assert filter_of(visit.page.locator(".stage img")) == "blur(28px) grayscale(1)"


def test_films_and_copies_of_them_begin_without_sound_until_it_is_wanted(opened: Open, own_api: FakeApi):
    page = opened(f"/file?asset={FILM}").page
    player = page.locator(".stage video")
    assert "blur(28px)" in filter_of(player)
    expect(player).to_have_js_property("muted", True)
    page.keyboard.press("m")
    expect(player).to_have_js_property("muted", False)
    copied = opened()
    copied.page.route("**/api/media/*", lambda route: route.fulfill(body=b"no media", content_type="video/x-unknown"))
    copied.open(f"/file?asset={FILM}")
    expect(copied.page.get_by_text("you see a copy of lower quality")).to_be_visible()
    expect(copied.page.locator(".stage video")).to_have_js_property("readyState", 4)
    expect(copied.page.locator(".stage video")).to_have_js_property("muted", True)
    copied.errors.clear()  # the original that could not be played
    own_api.sessions.chosen["Ann <b>"] = OPEN
    expect(opened(f"/file?asset={FILM}").page.locator(".stage video")).to_have_js_property("muted", False)


def test_no_picture_is_kept_in_the_browsers_cache(opened: Open):
    visit = opened("/cases")
    stored: dict[str, str | None] = {}
    visit.page.on("response", lambda answer: stored.update({answer.url: answer.headers.get("cache-control")}))
    visit.open("/")
    wait_for_pictures(visit.page)
    visit.open(f"/file?asset={PICTURE}")
    expect(visit.page.locator(".stage img")).to_be_visible()
    pictures = {url: cache for url, cache in stored.items() if "/api/thumb/" in url or "/api/media/" in url}
    assert len(pictures) > 10 and set(pictures.values()) == {"private, no-store"}, pictures
