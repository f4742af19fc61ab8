"""A region drawn in a picture or a film is searched by, in counted clicks; words with a picture."""

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from cluster.records import asset_id
from tests.app.browser.tasks.hands import Hands
from tests.support.browser import Visit, settled
from tests.support.fakes.files import FOLDER
from tests.support.fakes.media import draw_picture

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]
PICTURE, FILM = asset_id(f"{FOLDER}/IMG_0003.jpg"), asset_id(f"{FOLDER}/clip_1.mp4")


def drag(page: Page, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a rectangle between two places, as fractions of the picture."""
    shown = page.locator(".stage :is(img, video)").bounding_box()
    assert shown is not None
    (x, y), (to_x, to_y) = (
        (shown["x"] + across * shown["width"], shown["y"] + down * shown["height"]) for across, down in (begin, end)
    )
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move((x + to_x) / 2, (y + to_y) / 2)
    page.mouse.move(to_x, to_y)
    page.mouse.up()


def asked(page: Page) -> dict[str, list[str]]:
    """The parameters of the page's address, with the box as numbers."""
    return parse_qs(urlsplit(page.url).query)


def is_near(text: str, box: tuple[float, ...]) -> bool:
    return all(abs(float(side) - wanted) < 0.01 for side, wanted in zip(text.split(","), box, strict=True))


def test_fake_api_a_region_of_a_picture_is_searched_by_its_look_then_by_its_face(visit: Visit, fake_api_url: str):
    visit.url = fake_api_url
    page = visit.open(f"/file?asset={PICTURE}")
    expect(page.locator(".stage img")).to_have_js_property("naturalWidth", 640)
    hands = Hands(page)
    hands.click(page.get_by_role("button", name="Search this region"))
    drag(page, (0.75, 0.8), (0.25, 0.2))  # from right to left
    page.wait_for_url("**/search?*")
    expect(page.get_by_role("heading", name="like a region of IMG_0003")).to_be_visible()
    assert (hands.clicks, hands.keys) == (1, 0)  # and the rectangle
    found = asked(page)
    assert found["asset"] == [PICTURE] and "at_s" not in found and is_near(found["box"][0], (0.25, 0.2, 0.75, 0.8))
    hands.click(page.get_by_text("The same face"))
    expect(page.get_by_role("heading", name="with a face of a region of IMG_0003")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="with a face of a region of IMG_0003")).to_be_visible()
    assert asked(page) == {**found, "by": ["faces"]}
    name = page.locator(".tile .name").nth(1).inner_text()
    hands.click(page.locator(".tile .open").nth(1))
    expect(page.locator(".viewer h1")).to_have_text(name)
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="with a face of a region of IMG_0003")).to_be_visible()


def test_fake_api_a_region_of_a_film_is_of_the_frame_at_which_it_stops(visit: Visit, fake_api_url: str):
    visit.url = fake_api_url
    page = visit.open(f"/file?asset={FILM}&case=*")
    player = page.locator(".stage video")
    expect(player).to_have_js_property("readyState", 4)
    player.evaluate("player => { player.currentTime = 1.5; player.play().catch(() => {}) }")
    page.keyboard.press("s")
    expect(player).to_have_js_property("paused", True)
    page.keyboard.press("Escape")  # leaves the tool, not the file
    expect(page.locator(".sheet")).to_have_count(0)
    page.keyboard.press("s")
    at_s = player.evaluate("player => player.currentTime")
    drag(page, (0.1, 0.1), (0.6, 0.5))
    page.wait_for_url("**/search?*")
    found = asked(page)
    assert (found["asset"], found["case"]) == ([FILM], ["*"]) and is_near(found["box"][0], (0.1, 0.1, 0.6, 0.5))
    assert abs(float(found["at_s"][0]) - at_s) < 0.01
    expect(page.get_by_role("heading", name="like a region of clip_1")).to_be_visible()


def test_fake_api_a_region_of_a_zoomed_picture_is_what_is_drawn(visit: Visit, fake_api_url: str):
    visit.url = fake_api_url
    page = visit.open(f"/file?asset={PICTURE}")
    expect(page.locator(".stage img")).to_have_js_property("naturalWidth", 640)
    for key in "++s":
        page.keyboard.press(key)
    drag(page, (0.45, 0.45), (0.55, 0.6))
    page.wait_for_url("**/search?*")
    assert is_near(asked(page)["box"][0], (0.45, 0.45, 0.55, 0.6))


def test_fake_api_words_are_searched_with_a_picture_until_it_is_taken_away(visit: Visit, fake_api_url: str):
    visit.url = fake_api_url
    page = visit.open(f"/search?like={PICTURE}&kind=image")
    expect(page.get_by_role("heading", name="like IMG_0003")).to_be_visible()
    field = page.get_by_role("textbox", name="Search")
    field.fill("beach")
    page.keyboard.press("Enter")
    expect(page.get_by_text("These words with IMG_0003")).to_be_visible()
    expect(page.locator(".tile").first).to_contain_text("Words and picture")
    expect(page.locator(".tile").last).to_contain_text("Looks alike")
    page.wait_for_url(lambda url: {"q", "like", "kind"} <= parse_qs(urlsplit(url).query).keys())
    page.reload()
    expect(field).to_have_value("beach")
    expect(page.locator(".tile").first).to_contain_text("Words and picture")
    names = page.locator(".tile .name").all_inner_texts()
    page.locator(".tile .open").first.click()
    expect(page.locator(".viewer h1")).to_have_text(names[0])
    page.keyboard.press("ArrowRight")
    expect(page.locator(".viewer h1")).to_have_text(names[1])
    page.keyboard.press("Escape")
    expect(page.get_by_text("These words with IMG_0003")).to_be_visible()
    settled(page)
    page.get_by_role("button", name="Without the picture").click()
    expect(page.get_by_text("similar files, best first")).to_be_visible()
    expect(page.get_by_text("These words with")).to_have_count(0)
    page.wait_for_url(lambda url: parse_qs(urlsplit(url).query) == {"q": ["beach"], "kind": ["image"]})


def test_fake_api_words_and_an_upload_are_one_search(visit: Visit, fake_api_url: str):
    visit.url = fake_api_url
    page = visit.open("/search?q=exit")
    expect(page.get_by_role("heading", name="files with these words")).to_be_visible()
    page.get_by_role("button", name="By a picture").click()
    expect(page.get_by_test_id("stFileUploaderDropzone")).to_be_visible()
    settled(page)
    upload = draw_picture(asset_id("x"), 640, 480, "x", 640)
    page.locator("input[type=file]").set_input_files([{"name": "me.jpg", "mimeType": "image/jpeg", "buffer": upload}])
    expect(page.get_by_text("These words with me")).to_be_visible()
    expect(page.get_by_role("heading", name="files with these words")).to_be_visible()
    expect(page.locator(".tile").last).to_contain_text("Looks alike")
    page.reload()
    expect(page.get_by_text("These words with your picture")).to_be_visible()


def test_fake_api_a_viewer_has_no_tool_for_regions(visit: Visit, fake_api_url: str, fake_api):
    visit.url = fake_api_url
    fake_api.sessions.role = "viewer"
    try:
        page = visit.open(f"/file?asset={PICTURE}")
        expect(page.locator(".stage img")).to_be_visible()
        page.keyboard.press("s")
        expect(page.get_by_role("button", name="Search this region")).to_have_count(0)
        expect(page.locator(".sheet")).to_have_count(0)
        visit.open(f"/search?asset={PICTURE}&box=0,0,1,1")
        expect(page.get_by_text("needs the role reviewer")).to_be_visible()
    finally:
        fake_api.sessions.role = "admin"
