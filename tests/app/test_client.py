import io
from functools import partial

import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.client import ApiClient, ApiDownError, ApiError, Filters
from app.proxy import HostGuard, Relay, allowed
from cluster.settings import AppListener
from tests.support.fake_api import FakeApi


def answering(answer: httpx.Response | Exception) -> ApiClient:
    def handle(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ApiClient("http://api", httpx.MockTransport(handle))


@pytest.fixture(scope="module")
def fake() -> FakeApi:
    return FakeApi()


@pytest.fixture
def api(fake: FakeApi) -> ApiClient:
    inside = TestClient(fake.app)
    return ApiClient("http://api", httpx.MockTransport(lambda asked: answer_of(inside, asked)))


def answer_of(inside: TestClient, asked: httpx.Request) -> httpx.Response:
    got = inside.request(asked.method, str(asked.url), content=asked.read(), headers=dict(asked.headers))
    return httpx.Response(got.status_code, content=got.content, headers={"content-type": got.headers["content-type"]})


def relay(fake: FakeApi) -> TestClient:
    client = partial(httpx.AsyncClient, transport=httpx.ASGITransport(fake.app), base_url="http://api")
    app = Starlette(routes=Relay(client).routes)
    return TestClient(HostGuard(app, listens_on=AppListener), base_url="http://127.0.0.1:8501")


def test_filters_reach_the_api_and_narrow_what_it_answers(api: ApiClient, fake: FakeApi):
    found = api.assets(Filters(kinds=("image",), labels=("face",), min_score=0.9), "newest", 1)
    assert 0 < found["total"] < 70
    assert all(any(label["label"] == "face" for label in asset["labels"]) for asset in found["items"])
    assert fake.asked[-1] == "kind=image&label=face&min_score=0.9&sort=newest&page=1&size=60"


def test_pages_follow_one_another_without_a_gap(api: ApiClient):
    first, second = (api.assets(Filters(), "newest", page) for page in (1, 2))
    ids = [asset["id"] for page in (first, second) for asset in page["items"]]
    assert len(ids) == len(set(ids)) == first["total"]


def test_words_find_speech_with_its_line_and_time(api: ApiClient):
    hit = api.search("harbour")[0]
    assert (hit["matched"], hit["text"], hit["time_s"]) == ("speech", "we are live from the harbour", 1.0)


def test_an_upload_is_answered_with_what_was_found(api: ApiClient, fake: FakeApi):
    picture = TestClient(fake.app).get(f"/v1/assets/{fake.files[0]['id']}/media").content
    file = api.analyze("a.jpg", io.BytesIO(picture))
    assert {found["detector"] for found in file["detections"]} == {"clip", "face", "ocr"}


def test_the_apis_own_sentence_is_what_the_viewer_is_told(api: ApiClient):
    with pytest.raises(ApiError, match="there is no such bucket") as refused:
        api.submit(["s3://nowhere"], None, "normal")
    assert refused.value.status == 422


def test_a_job_is_followed_cancelled_and_resumed(api: ApiClient):
    job = api.submit(["s3://evidence"], None, "urgent")
    assert [one["job"] for one in api.jobs(1)] == [job] and api.job(job)["priority"] == "urgent"
    assert api.change(job, "cancel") == job
    told = api.job(job)
    assert told["state"] == "cancelled" and told["report"]["failures"][0]["step"] == "decode"
    with pytest.raises(ApiError, match="nothing to cancel"):
        api.change(job, "cancel")
    assert api.change(job, "resume") == job and api.job(job)["report"] is None


def test_a_jobs_name_with_signs_in_it_stays_one_part_of_the_address():
    asked = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path.decode())
        return httpx.Response(200, json={"job": None})

    assert ApiClient("http://api", httpx.MockTransport(handle)).change("../x y", "cancel") is None
    assert asked == ["/v1/jobs/..%2Fx%20y/cancel"]


def test_the_words_of_a_server_in_between_are_not_passed_on():
    with pytest.raises(ApiError) as refused:
        answering(httpx.Response(500, text="Traceback: secret host 10.0.0.3")).jobs(25)
    assert "10.0.0.3" not in refused.value.sentence
    assert "500" in refused.value.sentence


@pytest.mark.parametrize(("fault", "slow"), [(httpx.ConnectError("x"), False), (httpx.ReadTimeout("x"), True)])
def test_no_answer_is_told_apart_from_a_late_one(fault: Exception, slow: bool):
    api = answering(fault)
    with pytest.raises(ApiDownError) as down:
        api.jobs(25)
    assert down.value.slow is slow
    assert not api.alive()


def test_a_range_of_a_recording_is_passed_through(fake: FakeApi):
    call = next(file for file in fake.files if file["kind"] == "audio")
    part = relay(fake).get(f"/api/media/{call['id']}", headers={"Range": "bytes=4-7"})
    assert (part.status_code, len(part.content), part.headers["content-range"]) == (206, 4, "bytes 4-7/128044")
    assert part.headers["content-type"] == "audio/wav"


def test_a_range_beyond_the_end_is_refused_as_the_api_refuses_it(fake: FakeApi):
    call = next(file for file in fake.files if file["kind"] == "audio")
    assert relay(fake).get(f"/api/media/{call['id']}", headers={"Range": "bytes=999999999-"}).status_code == 416


def test_a_thumbnail_is_private_and_never_sniffed(fake: FakeApi):
    picture = relay(fake).get(f"/api/thumb/{fake.files[0]['id']}")
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.headers["cache-control"].startswith("private")
    assert picture.headers["x-content-type-options"] == "nosniff"
    assert picture.headers["cross-origin-resource-policy"] == "same-origin"


def test_a_file_that_could_run_as_a_page_is_downloaded_instead():
    page = FakeApi([FakeApi().files[0] | {"name": "page.html"}])
    answer = relay(page).get(f"/api/media/{page.files[0]['id']}")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("id", ["..%2f..%2fjobs", "A" * 32, "0" * 31, "0" * 33, "0" * 32 + "%0a"])
def test_what_is_no_id_never_reaches_the_api(id: str):
    nobody = Relay(lambda: pytest.fail("the API was asked"))
    assert TestClient(Starlette(routes=nobody.routes)).get(f"/api/media/{id}").status_code == 404


def test_an_api_that_is_down_is_a_bad_gateway():
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("x")

    down = Relay(partial(httpx.AsyncClient, transport=httpx.MockTransport(refuse), base_url="http://api"))
    assert TestClient(Starlette(routes=down.routes)).get(f"/api/thumb/{'0' * 32}").status_code == 502


def test_a_request_to_a_host_name_that_is_not_ours_is_refused(fake: FakeApi):
    path = f"/api/thumb/{fake.files[0]['id']}"
    assert relay(fake).get(path, headers={"Host": "evil.example"}).status_code == 403
    assert relay(fake).get(path, headers={"Host": "localhost:8501"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "listens_on", "answered"),
    [
        ("127.0.0.1:8501", "127.0.0.1", True),
        ("[::1]:8501", "127.0.0.1", True),
        ("files.example:443", "files.example", True),
        ("127.0.0.1.evil.example", "127.0.0.1", False),
        ("", "127.0.0.1", False),
        ("10.0.0.5:8501", "127.0.0.1", False),
        ("10.0.0.5:8501", "0.0.0.0", True),
        ("evil.example", "0.0.0.0", False),
        ("Raysift.example:443", "0.0.0.0", True),
        ("raysift.example.evil.example", "127.0.0.1", False),
    ],
)
def test_only_our_own_host_names_are_answered(host: str, listens_on: str, answered: bool):
    assert allowed(host, listens_on, ["raysift.example"]) is answered
