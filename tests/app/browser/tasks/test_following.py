"""The task of somebody who waits for a job."""

import pytest
from playwright.sync_api import expect

from tests.app.browser.tasks.conftest import At
from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import picture

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


def test_follow_a_running_job_from_its_first_result(at: At, case_api: FakeApi):
    case_api.files[:] = [file for file in case_api.files if not file.errors]  # a fake job begins with failed files
    job = case_api.jobs.begin(["s3://evidence/case 7"]).job
    hands = at()
    page = hands.page
    hands.click(page.get_by_role("link", name="Jobs", exact=True))
    hands.click(page.get_by_role("link", name="What it found so far"))
    expect(page.get_by_text("appear here by themselves")).to_be_visible()
    case_api.add([picture(100)], job)
    expect(page.locator(".tile .name")).to_have_text(["IMG_0100.jpg"])
    case_api.add([picture(101), picture(102)], job)
    expect(page.locator(".tile .name")).to_have_text(["IMG_0100.jpg"])  # it does not move by itself
    hands.click(page.get_by_role("button", name="2 new files: refresh"))
    expect(page.locator(".tile")).to_have_count(3)
