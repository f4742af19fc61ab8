"""Watch lists in a browser: a person by dropped pictures and by a group, the files where one was found, a logo."""

import io

import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.support.browser import Visit, settled
from tests.support.fakes.api import FakeApi

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


def png(name: str, shade: int) -> dict:
    sink = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 40, 90)).save(sink, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": sink.getvalue()}


def test_fake_api_a_person_is_added_by_pictures_and_removed(visit: Visit, fake_api_url: str):
    visit.url = fake_api_url
    page = visit.open("/people")
    expect(page.locator(".tile").first).to_be_visible()
    settled(page)
    page.get_by_role("radio", name="Watch list").click()
    expect(page.get_by_text("0 people are looked for")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("Dora Example")
    files = [png("good.png", 1), png("blurred.png", 2), {"name": "x.png", "mimeType": "image/png", "buffer": b"x"}]
    page.locator("input[type=file]").set_input_files(files)
    expect(page.get_by_text("x.png").first).to_be_visible()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("good.png: accepted")).to_be_visible()
    expect(page.get_by_text("blurred.png: refused: its face has no vector: blurred")).to_be_visible()
    expect(page.get_by_text("x.png: refused: it is")).to_be_visible()
    expect(page.get_by_text("1 person is looked for")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Remove Dora Example").click()
    expect(page.get_by_text("0 people are looked for")).to_be_visible()
    page.wait_for_url(f"{visit.url}/people?list=watched")


def test_fake_api_the_link_of_a_name_leads_to_its_files(visit: Visit, fake_api_url: str, fake_api: FakeApi):
    gallery = fake_api.watch_lists.gallery("logos")
    label, files = next(iter(fake_api.catalog.files_by_label("logo", None).items()), ("", 0))
    detector = "logo"
    if not files:  # no synthetic file has a logo
        gallery, detector = fake_api.watch_lists.gallery("people"), "face"
        label, files = "face", fake_api.catalog.files_by_label("face", None)["face"]
    gallery.add_contents(label, [(".png", png("a.png", 3)["buffer"])])
    visit.url = fake_api_url
    page = visit.open("/logos" if detector == "logo" else "/people?list=watched")
    page.get_by_role("link", name=f"found in {files} files").click()
    page.wait_for_url(f"**/?detector_label={detector}%3A{label}")
    expect(page.get_by_text(f"{files} files").first).to_be_visible()
    gallery.remove(label)


def test_fake_api_a_named_group_is_put_on_the_watch_list(visit: Visit, fake_api_url: str, fake_api: FakeApi):
    visit.url = fake_api_url
    page = visit.open("/people")
    page.locator(".tile .open").nth(1).click()
    page.get_by_label("Name", exact=True).fill("Emil Example")
    page.keyboard.press("Enter")
    settled(page)
    page.get_by_role("button", name="Put on the watch list").click()
    expect(page.get_by_text("Emil Example is on the watch list, with 3 pictures")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading", name="No name")).to_be_visible()
    fake_api.watch_lists.gallery("people").remove("Emil Example")
    visit.errors = [error for error in visit.errors if "404" not in error]
