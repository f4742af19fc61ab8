"""The command line without a cluster."""

import json
from types import SimpleNamespace
from typing import get_args

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner

import raysift
from cluster.errors import SettingsError
from cluster.records import PRIORITIES, ExportFormat
from cluster.settings import Profile
from commands import tables
from tests.support.stored import commit, found, row

JOB = {
    "job": "scan-1",
    "done": 3,
    "seconds": 12.3,
    "failed": 1,
    "skipped": 2,
    "listed": 0,
    "left_out": 0,
    "out": "s3://found/x",
    "summary": {
        "detectors": [
            {
                "detector": "ocr",
                "files": 1,
                "detections": 4,
                "top_labels": [{"label": "text", "files": 1}],
                "example": "[red]stop[/red] \x1b[2J here",
            }
        ],
        "failed": [{"uri": "s3://b/[bold].jpg", "step": "decode", "reason": "it is empty"}],
    },
}

RUNNING = {
    "job": "scan-1",
    "state": "running",
    "units": 4,
    "done": 2,
    "failed": 0,
    "skipped": 1,
    "listed": 0,
    "left_out": 0,
    "report": None,
    "uris": ["s3://b/x"],
    "out": "s3://found/x",
    "detectors": [],
    "priority": "normal",
    "retry_of": None,
    "seconds": 2.5,
    "message": "",
    "attempts": ["scan-1"],
    "submitted_at": "2026-11-22T10:00:00.000Z",
    "started_at": None,
    "ended_at": None,
}


@pytest.fixture(autouse=True)
def own_ports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAYSIFT_API__PORT", "9")  # nothing listens there


def run(*arguments):
    return CliRunner().invoke(raysift.cli, arguments)


def test_every_command_has_help():
    printed = run("--help").output
    for command in ("up", "down", "status", "scan", "jobs", "export", "demo", "env"):
        assert command in printed
        assert run(command, "--help").exit_code == 0


@pytest.mark.parametrize(("group", "command"), [("people", "match"), ("models", "pull"), ("vectors", "audit")])
def test_a_group_that_is_imported_when_it_is_used_shows_its_commands(group, command):
    assert command in run(group, "--help").output
    assert run(group, command, "--help").exit_code == 0
    unknown = run(group, command + "x")
    assert unknown.exit_code == 2 and "No such command" in unknown.output and f"'{command}'" in unknown.output


def test_a_scan_without_a_cluster_says_how_to_start_one(tmp_path):
    with pytest.raises(SettingsError, match="raysift up"):
        raise run("scan", str(tmp_path)).exception


@pytest.mark.parametrize(
    ("command", "values"),
    [
        (("scan", "x", "--priority"), PRIORITIES),
        (("up", "--profile"), get_args(Profile)),
        (("export", "--from", "x", "--format"), get_args(ExportFormat)),
    ],
)
def test_an_option_takes_the_values_of_its_type_and_refuses_any_other(command, values):
    done = run(*command, "other")
    assert done.exit_code == 2
    assert all(value in done.output for value in values)


def test_down_without_a_cluster_is_not_an_error():
    assert run("down").exit_code == 0


def test_an_export_without_results_is_explained(tmp_path):
    with pytest.raises(SettingsError, match="results"):
        raise run("export", "--from", str(tmp_path)).exception


def test_an_export_takes_the_filters_of_the_api(tmp_path):
    pictures = [row("s3://b/a.jpg", found("nsfw", "nude", 0.9)), row("s3://b/b.jpg", unit=1)]
    commit(tmp_path / "out", "a.parquet", *pictures, row("s3://b/c.mp4", kind="video", unit=2))
    ask = ("export", "--from", str(tmp_path / "out"))
    for filters, names in (
        ((), "abc"),
        (("--kind", "image"), "ab"),
        (("--detector-label", "nsfw:nude", "--min-score", "0.5"), "a"),
        (("--under", "s3://b/b", "--under", "s3://b/c"), "bc"),
        (("--failed",), ""),
        (("--where", "!nsfw:nude|kind=video", "--where", "!name~c"), "b"),
    ):
        done = run(*ask, *filters, "--to", str(tmp_path / "lines"))
        assert done.exit_code == 0, done.output
        lines = (tmp_path / "lines").read_text().splitlines()
        assert sorted(json.loads(line)["uri"][7] for line in lines) == [*names]
    with pytest.raises(SettingsError, match=r"'kind\.0' is wrong"):
        raise run(*ask, "--kind", "film").exception
    with pytest.raises(SettingsError, match="'width=3': width goes with >= and <="):
        raise run(*ask, "--where", "width=3").exception


def test_the_summary_shows_hostile_names_and_texts_literally():
    console = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(tables.summary(JOB))
    printed = console.export_text()
    assert "[red]stop[/red]" in printed and "[bold].jpg: it is empty" in printed
    assert "\x1b" not in printed
    assert "3 files in 12 s, 1 failed, 2 unchanged" in printed


@pytest.fixture
def api(monkeypatch):
    """A stand-in for the API: answers by method and path, of a list one by one, the last for ever; and its requests."""
    answers, requests = {}, []

    def handle(request: httpx.Request) -> httpx.Response:
        place = f"{request.method} {request.url.path}"
        requests.append((place, json.loads(request.content) if request.content else dict(request.url.params)))
        answer = answers[place]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    plain = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **more: plain(**more, transport=httpx.MockTransport(handle)))
    return SimpleNamespace(answers=answers, requests=requests)


def test_the_cost_of_a_month_is_summed_over_the_reports_of_its_jobs(api):
    ended = {
        "a": "2026-11-01T00:00:00.000Z",
        "b": "2026-11-30T23:59:59.999Z",
        "c": "2026-12-01T00:00:00.000Z",
        "d": None,
    }
    api.answers["GET /v1/jobs"] = [[{"job": job, "ended_at": when} for job, when in ended.items()]]
    work = {"detector": "ocr", "units": 10, "seconds": 2.5, "gpu_seconds": 0.5, "cost": 1.25}
    api.answers["GET /v1/jobs/a"] = {"report": {"files": 10.0, "cost": 1.25, "detectors": [work]}}
    api.answers["GET /v1/jobs/b"] = {"report": None}
    summed = json.loads(run("jobs", "cost", "--month", "2026-11", "--json").stdout)
    assert (summed["jobs"], summed["without_report"], summed["files"], summed["cost"]) == (2, 1, 10.0, 1.25)
    assert summed["detectors"] == [work]
    printed = " ".join(run("jobs", "cost", "--month", "2026-11").stdout.replace("│", " ").split())
    assert "2026-11: 2 jobs, 1 of them without a report, 10 files" in printed and "cost 1.25" in printed
    with pytest.raises(SettingsError, match="write it as 2026-11"):
        raise run("jobs", "cost", "--month", "november").exception


def test_a_relative_path_is_relative_to_the_users_working_folder(tmp_path, api):
    api.answers["POST /v1/jobs"] = {"job": "scan-1"}
    assert raysift.submit(raysift.load(), ["media"], "found", None) == "scan-1"
    sent = api.requests[0][1]
    assert sent["uris"] == [(tmp_path / "media").as_uri()] and sent["out"] == (tmp_path / "found").as_uri()


def test_detectors_are_named_in_one_option_or_in_several(api):
    api.answers["POST /v1/jobs"] = {"job": "scan-1"}
    run("scan", "s3://b", "--detectors", "nsfw, ocr", "--detectors", "face", "--no-follow")
    assert api.requests[0][1]["detectors"] == ["nsfw", "ocr", "face"]


def test_a_scan_that_is_not_followed_is_only_queued(api):
    api.answers["POST /v1/jobs"] = {"job": "scan-1"}
    done = run("scan", "s3://b", "--priority", "urgent", "--no-follow", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"job": "scan-1"})
    assert api.requests[0][1]["priority"] == "urgent"


@pytest.mark.parametrize(("failed", "code"), [(0, 0), (1, 3)])
def test_a_resumed_job_is_followed_over_outages_of_the_api_and_exits_as_a_scan_does(api, failed, code):
    now = RUNNING | {"state": "finished", "done": 4, "failed": failed, "summary": JOB["summary"]}
    api.answers["POST /v1/jobs/scan-1/resume"] = RUNNING
    api.answers["GET /v1/jobs/scan-1"] = [RUNNING, httpx.ConnectError("away"), now]
    done = run("jobs", "resume", "scan-1", "--json")
    assert done.exit_code == code
    assert json.loads(done.stdout.splitlines()[-1])["done"] == 4


def test_following_a_job_that_was_cancelled_says_so(api):
    api.answers["POST /v1/jobs"] = {"job": "scan-1"}
    api.answers["GET /v1/jobs/scan-1"] = RUNNING | {"state": "cancelled", "message": "it was cancelled"}
    with pytest.raises(SettingsError, match="scan-1 did not finish: it was cancelled"):
        raise run("scan", "s3://b").exception


def test_jobs_are_listed_newest_first_as_the_api_gives_them(api):
    api.answers["GET /v1/jobs"] = [[RUNNING, RUNNING | {"job": "scan-0", "units": None}]]
    printed = json.loads(run("jobs", "list", "--json").stdout)
    assert [job["job"] for job in printed] == ["scan-1", "scan-0"]
    assert {"job", "state", "units", "done", "failed"} <= printed[0].keys()
    assert "2 of 4" in run("jobs", "list").stdout
    assert api.requests[0][1] == {"limit": "50"}


def test_a_job_is_shown_with_its_report(api):
    failures = [{"step": "decode", "reason": "it ends at N", "units": 2, "example": "s3://b/[red]x.jpg"}]
    report = {name: 1.5 for name in ("files_per_s", "bytes_per_s", "cost", "cost_per_1000_files")}
    spent = {"detector": "ocr", "units": 4, "reused": 1, "seconds": 8.0, "gpu_seconds": 0.0, "cost": 1.5}
    report |= {"frames": 9, "frames_carried": 3, "detectors": [spent], "failures": failures}
    api.answers["GET /v1/jobs/scan-1"] = RUNNING | {"state": "finished", "report": report}
    printed = run("jobs", "show", "scan-1").stdout
    for part in ("s3://b/x", "25%", "it ends at N", "[red]x.jpg", "1.5 per 1,000 files"):
        assert part in printed, part
    assert json.loads(run("jobs", "show", "scan-1", "--json").stdout)["report"] == report


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        ({}, 0, "1 left out"),
        ({"unaccounted": 1}, 1, "1 unaccounted"),
        ({"lost": 2}, 1, "jobs resume scan-1"),
        ({"vectors_missing": 1}, 1, "vectors rebuild"),
    ],
)
def test_verify_exits_0_only_when_nothing_is_missing(api, wrong, code, said):
    printed = {"units": 9, "done": 9, "failed": 3, "lost": 0, "double": 0, "vectors_missing": 0}
    printed |= {"listed": 12, "unchanged": 2, "left_out": 1, "unaccounted": 0} | wrong
    api.answers["GET /v1/jobs/scan-1/verify"] = printed
    done = run("jobs", "verify", "scan-1")
    assert done.exit_code == code and said in done.output
    assert "failed 3, vectors missing" in done.stdout
    as_json = run("jobs", "verify", "scan-1", "--json")
    assert as_json.exit_code == code and json.loads(as_json.stdout) == printed


def test_a_job_without_failures_has_nothing_to_retry(api):
    api.answers["POST /v1/jobs/scan-1/retry-failed"] = {"job": None}
    done = run("jobs", "retry-failed", "scan-1")
    assert done.exit_code == 0 and "nothing failed in scan-1" in done.output


def test_the_log_of_a_job_is_followed_to_its_last_line(api):
    api.answers["GET /v1/jobs/scan-1"] = RUNNING | {"state": "finished"}
    api.answers["GET /v1/jobs/scan-1/logs"] = httpx.Response(200, text="one\ntwo\n")
    assert run("jobs", "logs", "scan-1", "-f").stdout == "one\ntwo\n"
    assert json.loads(run("jobs", "logs", "scan-1", "--json").stdout) == {"job": "scan-1", "log": "one\ntwo\n"}


@pytest.mark.parametrize("media_type", ["application/problem+json", "application/json"])  # the second: of version 0.2
def test_a_refusal_of_the_api_is_shown_with_its_message(api, media_type):
    said = {"detail": "scan-1 is finished: there is nothing to cancel."}
    refusal = httpx.Response(422, json=said, headers={"Content-Type": media_type})
    api.answers["POST /v1/jobs/scan-1/cancel"] = refusal
    with pytest.raises(SettingsError, match=r"^scan-1 is finished: there is nothing to cancel\.$"):
        raise run("jobs", "cancel", "scan-1").exception


def test_of_the_page_of_a_proxy_only_the_status_is_shown(api):
    api.answers["POST /v1/jobs/scan-1/cancel"] = httpx.Response(502, html="<h1>Bad Gateway of 10.0.0.3</h1>")
    with pytest.raises(SettingsError, match="502 Bad Gateway") as refused:
        raise run("jobs", "cancel", "scan-1").exception
    assert "10.0.0.3" not in str(refused.value)
