"""The app's client of the API, with the fake API and with invalid responses."""

import io

import httpx
import pytest
from starlette.testclient import TestClient

from app.client import ApiClient, ApiDownError, ApiError
from cluster.api_queries import AssetQuery, ScanRequest, SearchQuery
from tests.support.fakes.api import FakeApi
from tests.support.pages import client_of


def answering(answer: httpx.Response | Exception) -> ApiClient:
    """A client whose every request returns this response or raises this error."""

    def handle(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ApiClient("http://api", transport=httpx.MockTransport(handle))


@pytest.fixture(scope="module")
def fake() -> FakeApi:
    return FakeApi()


@pytest.fixture
def api(fake: FakeApi) -> ApiClient:
    return client_of(fake)


def test_filters_are_sent_to_the_api_and_applied(api: ApiClient, fake: FakeApi):
    page = api.assets(AssetQuery(kind=("image", "audio"), label=("face", "en"), min_score=0.92, page=2, size=2))
    assert page.total > 4 and len(page.items) == 2
    assert all({label.label for label in asset.labels} & {"face", "en"} for asset in page.items)
    assert fake.queries[-1] == "kind=image&kind=audio&label=face&label=en&min_score=0.92&page=2&size=2"


def test_pages_have_every_file_once(api: ApiClient):
    first, second = (api.assets(AssetQuery(page=page)) for page in (1, 2))
    ids = [asset.id for page in (first, second) for asset in page.items]
    assert len(ids) == len(set(ids)) == first.total


def test_a_search_finds_speech_with_its_text_and_time(api: ApiClient):
    hit = api.search(SearchQuery(q="harbour")).hits[0]
    assert (hit.matched, hit.text, hit.time_s) == ("exact text", "we are live from the harbour", 1.0)


def test_an_upload_returns_its_detections(api: ApiClient, fake: FakeApi):
    picture = TestClient(fake.app).get(f"/v1/assets/{fake.files[0].id}/media").content
    file = api.analyze("a.jpg", io.BytesIO(picture))
    assert {detection.detector for detection in file.detections} == {"clip", "face", "ocr"}


def test_an_api_error_has_the_message_of_the_api(api: ApiClient):
    with pytest.raises(ApiError, match="there is no such bucket") as error:
        api.submit(ScanRequest(uris=["s3://nowhere"]))
    assert error.value.status == 422


def test_a_job_is_submitted_cancelled_and_resumed(api: ApiClient):
    job = api.submit(ScanRequest(uris=["s3://evidence"], priority="urgent"))
    assert [known.job for known in api.jobs(1)] == [job] and api.job(job).priority == "urgent"
    assert api.change(job, "cancel") == job
    cancelled = api.job(job)
    assert cancelled.state == "cancelled" and cancelled.report is not None
    assert cancelled.report.failures[0].step == "decode"
    with pytest.raises(ApiError, match="nothing to cancel"):
        api.change(job, "cancel")
    assert api.change(job, "resume") == job and api.job(job).report is None


def test_special_characters_in_a_job_name_are_percent_encoded():
    paths = []

    def handle(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path.decode())
        return httpx.Response(200, json={"job": None})

    assert ApiClient("http://api", transport=httpx.MockTransport(handle)).change("../x y", "cancel") is None
    assert paths == ["/v1/jobs/..%2Fx%20y/cancel"]


def test_the_error_text_of_a_proxy_is_not_shown():
    with pytest.raises(ApiError) as refused:
        answering(httpx.Response(500, text="Traceback: secret host 10.0.0.3")).jobs(25)
    assert "10.0.0.3" not in refused.value.sentence
    assert "500" in refused.value.sentence


@pytest.mark.parametrize(("fault", "slow"), [(httpx.ConnectError("x"), False), (httpx.ReadTimeout("x"), True)])
def test_a_timeout_and_a_refused_connection_are_distinguished(fault: Exception, slow: bool):
    api = answering(fault)
    with pytest.raises(ApiDownError) as down:
        api.jobs(25)
    assert down.value.slow is slow
    assert not api.alive()
