"""`raysift report`: what it asks the API for, and what it writes."""

import hashlib
from collections.abc import Iterator

import httpx
import pytest
from typer.testing import CliRunner, Result

import raysift
from cluster.errors import SettingsError

REPORT = b"%PDF a report"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[list[httpx.Request]]:
    """The requests that the API gets: it has one case, `harbour`."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if request.url.params.get("case") not in (None, "harbour"):
            return httpx.Response(404, json={"detail": "there is no case 'x'"})
        return httpx.Response(200, content=REPORT)

    plain_client = httpx.Client
    monkeypatch.setattr(httpx, "Client", lambda **more: plain_client(**more, transport=httpx.MockTransport(answer)))
    monkeypatch.chdir(tmp_path)
    yield requests


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(raysift.cli, ["report", *arguments])
    if isinstance(result.exception, SettingsError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_a_report_is_written_and_its_hash_is_the_last_line(asked, tmp_path):
    done = run("--case", "harbour", "--to", "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes() == REPORT
    assert done.stdout == hashlib.sha256(REPORT).hexdigest() + "\n"
    assert dict(asked[0].url.params) == {"format": "pdf", "case": "harbour", "pictures": "blurred"}


def test_the_filters_of_exports_pictures_and_a_purpose_are_passed_on(asked):
    options = ["--where", "face:", "--where", "!ocr:", "--decision", "relevant", "--no-failed", "--min-score", "0.5"]
    run("--to", "r.HTML", "--pictures", "plain", "--purpose", "case 7", *options)
    (request,) = asked
    assert request.url.path == "/v1/report" and request.headers["X-Purpose"] == "case 7"
    assert request.url.params.get_list("where") == ["face:", "!ocr:"]
    assert {"failed=false", "min_score=0.5", "decision=relevant", "format=html", "pictures=plain"} <= set(
        str(request.url.query, "ascii").split("&")
    )


def test_a_refusal_and_an_unknown_format_are_explained_and_nothing_is_written(asked, tmp_path):
    with pytest.raises(SettingsError, match="there is no case 'x'"):
        run("--case", "x", "--to", "report.pdf")
    with pytest.raises(SettingsError, match=r"Let the name end with \.html or \.pdf"):
        run("--case", "harbour", "--to", "report.docx")
    assert not list(tmp_path.glob("report.*")) and len(asked) == 1
