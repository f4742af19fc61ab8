"""The app on a cluster with scanned media, in a browser: gallery, filters, file page, search, upload, jobs."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import SHOWN, Visit, chromium

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def visit(cluster, scanned) -> Iterator[Visit]:
    """A browser that a one-time link has signed in."""
    with chromium() as browser:
        visit = Visit(browser, cluster.url("APP__"), session="")
        link = cluster.raysift("keys", "link").stdout.strip().removeprefix(cluster.url("APP__"))
        visit.open(link).wait_for_url("**/")
        yield visit
        visit.close()
        assert visit.strangers == [], "a page sent a request to another server"


@pytest.fixture
def page(visit, media) -> Page:
    """The gallery of the scanned files."""
    opened = visit.open(f"/?under={media.as_uri()}&sort=name")
    opened.set_default_timeout(30_000)
    opened.wait_for_function(SHOWN)
    return opened


def names(page: Page) -> list[str]:
    return page.locator(".tile .name").all_inner_texts()


def test_the_gallery_shows_every_file_and_marks_the_broken_ones(page, media):
    assert sorted(names(page)) == sorted(file.name for file in media.iterdir() if file.suffix != ".txt")
    broken = page.locator(".tile", has_text="broken.jpg")
    expect(broken).to_contain_text("Partly failed")
    expect(broken).to_contain_text("decode: it is cut short")
    expect(page.locator(".tile", has_text="letter.jpg")).to_contain_text("Failed")


def test_the_gallery_is_filtered_by_detector_and_by_label(page):
    for facet in ("face", "speech"):  # a detector, and the label of another
        page.locator(".facets label", has_text=facet).first.click()
        expect(page.locator(".tile", has_text="coffee.png")).to_have_count(0)
        expect(page.locator(".tile", has_text="news.mp4")).to_have_count(1)
        page.locator(".facets label", has_text=facet).first.click()
        expect(page.locator(".tile", has_text="coffee.png")).to_have_count(1)


def test_the_box_of_a_face_is_drawn_over_the_face(page):
    page.locator(".tile", has_text="astronaut.png").locator(".open").click()
    expect(page.locator(".viewer h1")).to_have_text("astronaut.png")
    face = page.locator(".stage .box", has_text="face").first
    expect(face).to_be_visible()
    stage = page.locator(".stage img").bounding_box()
    box = face.bounding_box()
    assert stage and box
    # her face is in the upper middle of the picture
    assert 0.3 < (box["x"] + box["width"] / 2 - stage["x"]) / stage["width"] < 0.6
    assert 0.1 < (box["y"] + box["height"] / 2 - stage["y"]) / stage["height"] < 0.4


def test_a_video_opens_with_its_speech_and_text(page):
    page.locator(".tile", has_text="news.mp4").locator(".open").click()
    expect(page.locator(".lines", has_text="handcuffs").first).to_be_visible()
    expect(page.locator(".lines", has_text="BREAKING NEWS").first).to_be_visible()
    expect(page.locator(".stage video")).to_be_visible()
    expect(page.locator(".stage .box", has_text="face")).to_be_visible()  # of the first frame, before it plays


def test_words_find_pictures_text_and_speech(page, cluster):
    page.goto(cluster.url("APP__") + "/search")
    for query, name in (("gate closed", "notice.png"), ("a cup of espresso", "coffee.png")):
        page.get_by_role("textbox", name="Search").fill(query)
        page.keyboard.press("Enter")
        expect(page.locator(".tile", has_text=name).first).to_be_visible()


def test_the_text_of_an_uploaded_picture_is_read(page, cluster, media: Path):
    page.goto(cluster.url("APP__") + "/analyze")
    page.locator("input[type=file]").set_input_files(media / "notice.png")
    expect(page.locator(".lines", has_text="Keep this gate closed").first).to_be_visible(timeout=60_000)


def test_the_jobs_page_lists_the_scan(page, cluster):
    page.goto(cluster.url("APP__") + "/jobs")
    expect(page.get_by_text(re.compile("of 11 files")).first).to_be_visible()
