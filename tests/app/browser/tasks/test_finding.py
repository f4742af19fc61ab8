"""Tasks of people who look for something in a case."""

import pytest
from playwright.sync_api import expect

from cluster.api_queries import AssetQuery
from cluster.filters.wording import counted
from cluster.people.api_types import GroupQuery, PeopleQuery
from tests.app.browser.tasks.conftest import CASE, At
from tests.app.browser.tasks.hands import open_first_person
from tests.support.fakes.api import FakeApi

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]
WORD = "harbour"


def test_find_the_worst_ten_of_a_label(at: At, case_api: FakeApi):
    hands = at()
    page = hands.page
    nsfw = page.locator(".facets .row", has=page.get_by_text("nsfw", exact=True)).first
    nsfw.hover()
    hands.click(nsfw.get_by_role("button", name="Highest score of nsfw first"))
    worst = case_api.catalog.assets(AssetQuery(detector=("nsfw",), sort="score", size=10))["items"]
    expect(page.locator(".tile .name").nth(9)).to_have_text(worst[9]["name"])
    assert page.locator(".tile .name").all_inner_texts()[:10] == [file["name"] for file in worst]


def test_find_all_files_with_a_person_and_a_word(at: At, case_api: FakeApi):
    hands = at()
    page = hands.page
    open_first_person(hands)
    hands.click(page.get_by_label("Words in these files"))
    hands.write("exit")
    hands.press("Enter")
    (person, *_) = case_api.people.groups(PeopleQuery(case=CASE)).groups
    seen = {file.asset for file in case_api.people.group(person.face, GroupQuery(case=CASE)).appearances}
    read = {file.id for file in case_api.files if any("exit" in (line.text or "").lower() for line in file.detections)}
    expect(page.get_by_role("heading", name=f"{counted(len(seen & read), 'file')} with “exit”")).to_be_visible()
    expect(page.locator(".tile")).to_have_count(len(seen & read))
    shown = page.locator(".tile").evaluate_all("tiles => tiles.map(tile => tile.dataset.id)")
    assert set(shown) == seen & read and shown


def test_find_who_said_a_word_and_when_and_hear_it(at: At, case_api: FakeApi):
    hands = at()
    page = hands.page
    hands.press("/")
    hands.write(WORD)
    hands.press("Enter")
    hit = page.locator(".tile", has_text="clip_1.mp4")
    expect(hit).to_contain_text("at 0:01: “we are live from the harbour”")
    hands.click(hit.locator(".open"))
    expect(page.locator(".stage video")).to_have_js_property("paused", False)
    expect(page.locator("mark")).to_have_text(WORD)


def test_see_what_was_left_out_and_why(at: At, case_api: FakeApi):
    case_api.jobs.begin(["s3://evidence/case 7"], state="finished")
    hands = at()
    page = hands.page
    hands.click(page.get_by_role("link", name="Overview", exact=True))
    bars = page.get_by_label("Left out, by reason").locator(".mark-rect path")
    hands.click(bars.first)
    expect(page.get_by_role("heading", name="6 left out, .svg: it is no image, video or audio")).to_be_visible()
    expect(page.locator("td", has_text="s3://evidence/case 7/left_5.svg")).to_be_attached()  # in the canvas
