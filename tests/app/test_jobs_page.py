"""The Jobs page."""

from typing import Any
from urllib.parse import parse_qs

import pytest
from streamlit.testing.v1 import AppTest

from app.jobs import wording
from tests.support.fakes.api import FakeApi
from tests.support.fakes.jobs import PLAN, REPORT
from tests.support.pages import Visit, served, words


def test_a_scan_is_started_and_listed(visit: Visit, api: FakeApi):
    at = visit("jobs", port=api.port)
    at.text_area[0].set_value("s3://evidence/case 7\n\n")
    at.button(key="start").click().run()
    assert "was started" in words(at)
    assert any("evidence" in element.value for element in at.markdown)


@pytest.mark.parametrize(("text", "message"), [("  ", "Enter a folder"), ("s3://nowhere", "no such bucket")])
def test_an_invalid_scan_is_refused_with_a_message(visit: Visit, api: FakeApi, text: str, message: str):
    at = visit("jobs", port=api.port)
    at.text_area[0].set_value(text)
    at.button(key="start").click().run()
    assert message in words(at)


def test_the_priority_of_a_scan_is_sent(visit: Visit):
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


def test_a_blocked_job_can_be_cancelled_and_resumed(visit: Visit):
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


def test_failed_files_are_retried_as_a_new_job(visit: Visit):
    api = FakeApi()
    job = api.jobs.begin(["s3://evidence"], "bulk").job
    api.jobs.known[0].began -= 60
    with served(api) as port:
        at = press(visit("jobs", port=port), "retry-failed", job)
    assert [job.priority for job in api.jobs.known] == ["bulk", "bulk"]
    assert "job&#45;002" in at.toast[0].value


def test_a_refused_change_shows_a_message_and_keeps_the_page(visit: Visit):
    api = FakeApi()
    job = api.jobs.begin(["s3://evidence"], state="running", stubborn=True).job
    with served(api) as port:
        at = press(visit("jobs", port=port), "cancel", job)
    assert "nothing to cancel" in at.toast[0].value and "evidence" in words(at)


def test_a_report_has_the_usage_of_detectors_and_the_reasons_of_failures():
    lines = wording.usage_table(REPORT).splitlines()
    assert lines[2] == "| nsfw | 120 | 25% | 12.5 | 3.0 | 0.50 |"
    assert "Cost" not in wording.usage_table(REPORT.model_copy(update={"cost": None}))
    assert wording.speed(REPORT) == (
        "6.00 files a second · 1.5 MB a second · 90 of 300 frames were like the one before · "
        "cost 1.75, 14.58 per 1,000 files"
    )
    (reason,) = wording.failure_table(REPORT).splitlines()[2:]
    assert reason.startswith("| 3 | decode | it ends early at N | ") and "<img" not in reason and "](" not in reason


def test_a_scan_is_looked_at_and_then_started(visit: Visit):
    api = FakeApi()
    with served(api) as port:
        at = visit("jobs", port=port)
        at.text_area[0].set_value("s3://evidence/case 7")
        at.button(key="look").click().run()
        shown = words(at)
        assert "##### 120 files would be analysed, 1.2 GB" in shown and not api.jobs.known
        assert "| 20 | video | new model | 1.0 GB |" in shown and "| 6 | &#46;svg | it is no image" in shown
        assert "8 unchanged · 9 left out · about 10 minutes&#58; ocr takes longest, cost 1&#46;75" in shown
        at.button(key="start planned").click().run()
        assert [job.uris for job in api.jobs.known] == [["s3://evidence/case 7"]]
        assert "was started" in words(at) and "would be analysed" not in words(at)
        assert at.text_area[0].value == ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"complete": False}, "no estimate of time"),
        ({"files": 0}, "nothing to do"),
        (
            {"estimate": PLAN.estimate.model_copy(update={"seconds": None, "cost": None})},
            "no estimate of time: nothing was measured here yet",
        ),
        ({"estimate": PLAN.estimate.model_copy(update={"cost": None})}, "about 10 minutes: ocr takes longest"),
    ],
)
def test_an_estimate_says_what_is_not_known(change: dict[str, Any], expected: str):
    if "complete" in change:
        change["estimate"] = PLAN.estimate.model_copy(update={"seconds": None})
    assert wording.estimate(PLAN.model_copy(update=change)) == expected


def test_a_running_job_shows_what_its_detectors_have_done_and_its_log_when_they_are_opened(visit: Visit):
    api = FakeApi()
    job = api.jobs.begin(["s3://evidence/a"])
    job.began -= 10
    with served(api) as port:
        at = visit("jobs", port=port)
        links = {link.proto.label: link.proto for link in at.get("page_link")}
        assert parse_qs(links["What it found so far"].query_string) == {"job": [job.job]}
        assert not at.code and "Files with findings" not in words(at)
        for expander in (f"By detector {job.job}", f"Log {job.job}"):
            at.session_state[expander] = True
        at.run()
        assert "| face | " in words(at) and "of 120 |" in words(at)
        assert at.code[0].value.endswith("line 300 of the driver <b>") and "line 100 " not in at.code[0].value
        assert "The last 200 of 300 lines" in words(at)


def test_the_link_to_failed_files_filters_by_job(visit: Visit):
    api = FakeApi()
    job = api.jobs.begin(["s3://evidence/a", "s3://evidence/b"])
    job.began -= 60
    with served(api) as port:
        (link,) = (link.proto for link in visit("jobs", port=port).get("page_link") if "failed" in link.proto.label)
    assert link.label == "4 failed files"
    assert parse_qs(link.query_string) == {"state": ["failed"], "job": [job.job]}
