"""The Jobs page."""

from urllib.parse import parse_qs

import pytest
from streamlit.testing.v1 import AppTest

from app import draw
from tests.support.fakes.api import FakeApi
from tests.support.fakes.jobs import REPORT
from tests.support.pages import Visit, served, words


def test_a_scan_is_started_and_listed(visit: Visit):
    at = visit("jobs")
    at.text_area[0].set_value("s3://evidence/case 7\n\n")
    at.button(key="start").click().run()
    assert "was started" in words(at)
    assert any("evidence" in element.value for element in at.markdown)


@pytest.mark.parametrize(("written", "told"), [("  ", "Say which folder"), ("s3://nowhere", "no such bucket")])
def test_a_scan_of_nothing_is_refused_with_a_sentence(visit: Visit, written: str, told: str):
    at = visit("jobs")
    at.text_area[0].set_value(written)
    at.button(key="start").click().run()
    assert told in words(at)


def test_an_urgent_scan_says_so(visit: Visit):
    api = FakeApi()
    with served(api) as port:
        at = visit("jobs", port=port)
        at.text_area[0].set_value("s3://evidence/now")
        at.selectbox[0].set_value("urgent")
        at.button(key="start").click().run()
        assert (api.jobs.known[0].uris, api.jobs.known[0].priority) == (["s3://evidence/now"], "urgent")


def press(at: AppTest, change: str, job: str) -> AppTest:
    at.button(key=f"yes {change} {job}").click().run()
    assert not at.exception
    return at


def test_a_running_job_can_be_cancelled_and_then_resumed(visit: Visit):
    api = FakeApi()
    job = api.jobs.begin(["s3://evidence"], state="blocked", message="waits for ocr").job
    with served(api) as port:
        at = visit("jobs", port=port)
        assert "waits for ocr" in words(at)
        assert not [button for button in at.button if button.key and "resume" in button.key]
        press(at, "cancel", job)
        assert api.jobs.known[0].state == "cancelled" and "job&#45;001" in at.toast[0].value
        press(visit("jobs", port=port), "resume", job)
        assert api.jobs.known[0].state == "waiting"


def test_the_failed_files_of_a_job_are_done_again_as_a_new_one(visit: Visit):
    api = FakeApi()
    job = api.jobs.begin(["s3://evidence"], "bulk").job
    api.jobs.known[0].began -= 60
    with served(api) as port:
        at = press(visit("jobs", port=port), "retry-failed", job)
    assert [job.priority for job in api.jobs.known] == ["bulk", "bulk"]
    assert "job&#45;002" in at.toast[0].value


def test_a_change_that_comes_too_late_is_a_sentence_and_the_page_stays(visit: Visit):
    api = FakeApi()
    job = api.jobs.begin(["s3://evidence"], state="running", stubborn=True).job
    with served(api) as port:
        at = press(visit("jobs", port=port), "cancel", job)
    assert "nothing to cancel" in at.toast[0].value and "evidence" in words(at)


def test_a_report_tells_what_each_detector_took_and_why_files_failed():
    lines = draw.spent(REPORT).splitlines()
    assert lines[2] == "| nsfw | 120 | 25% | 12.5 | 3.0 | 0.50 |"
    assert "Cost" not in draw.spent(REPORT.model_copy(update={"cost": None}))
    assert draw.speed(REPORT) == (
        "6.00 files a second · 1.5 MB a second · 90 of 300 frames were like the one before · "
        "cost 1.75, 14.58 per 1,000 files"
    )
    (reason,) = draw.reasons(REPORT).splitlines()[2:]
    assert reason.startswith("| 3 | decode | it ends early at N | ") and "<img" not in reason and "](" not in reason


def test_the_link_to_failed_files_asks_for_those_of_the_job_whatever_it_scanned(visit: Visit):
    api = FakeApi()
    job = api.jobs.begin(["s3://evidence/a", "s3://evidence/b"])
    job.began -= 60
    with served(api) as port:
        (link,) = (each.proto for each in visit("jobs", port=port).get("page_link") if "failed" in each.proto.label)
    assert link.label == "4 failed files"
    assert parse_qs(link.query_string) == {"state": ["failed"], "job": [job.job]}
