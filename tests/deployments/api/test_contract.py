"""Each request gets the same answer from the fake API of the app's tests and from the real API, over the same files."""

from typing import Any

import pytest
from pydantic import BaseModel
from starlette.testclient import TestClient

from cluster.api_job_types import JobDetails, JobInfo, JobName, ScanPlan
from cluster.api_queries import MAX_PAGE, AssetQuery
from cluster.api_types import AssetPage, ErasedCaches, Facets, File, Health, Hits, Neighbours, Problem, Properties
from cluster.cases.api_types import CaseInfo
from cluster.cases.overview import JobsOverview, LeftOut, Overview
from cluster.exposure.exposure import ExposureRules, OwnExposure
from cluster.records import asset_id
from tests.support.fakes.files import FOLDER
from tests.support.local_api import FILM, LocalApi, read

Params = list[tuple[str, str]]
NOBODY = "0" * 32
SOUND = asset_id(f"{FOLDER}/call_0.wav")


@pytest.fixture
def unlimited(api: TestClient, running: LocalApi, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """Either of the two, asked by an admin of all files."""
    monkeypatch.setitem(api.headers, "Authorization", running.headers["Authorization"])
    return api


MODELS: dict[str, type[BaseModel]] = {"assets": AssetPage, "facets": Facets, "overview": Overview}


@pytest.mark.parametrize("path", list(MODELS))
@pytest.mark.parametrize(
    "filters",
    [
        [],
        [("kind", "video")],
        [("kind", "video"), ("kind", "audio")],
        [("detector", "ocr"), ("detector", "whisper")],
        [("label", "face"), ("label", "en")],
        [("detector", "ocr"), ("label", "face")],
        [("detector_label", "face:face"), ("detector_label", "nsfw:nsfw")],
        [("label", "face"), ("min_score", "0.95")],
        [("min_score", "0.95")],
        [("under", f"{FOLDER}/clip"), ("under", f"{FOLDER}/call")],
        [("under", "s3://elsewhere")],
        [("failed", "true")],
        [("failed", "false"), ("kind", "video")],
        [("job", "scan-before"), ("failed", "true")],
        [("job", "nobody's")],
        [("where", "face:"), ("where", "ocr:~exit|whisper:"), ("where", "!nsfw:>=0.9")],
        [("where", "face:face>=0.9"), ("score_of", "face:"), ("sort", "score")],
        [("id", FILM), ("id", NOBODY)],
    ],
)
def test_filters_give_the_same_files(fake: TestClient, real: TestClient, path: str, filters: Params):
    params = [pair for pair in filters if path != "overview" or pair[0] not in ("sort", "score_of")]  # it has no order
    answers = [api.get(f"/v1/{path}", params=params) for api in (fake, real)]
    assert [answer.status_code for answer in answers] == [200, 200]
    expected, answer = (read(MODELS[path], answer) for answer in answers)
    assert answer == expected


@pytest.mark.parametrize("sort", ["newest", "oldest", "score", "name"])
@pytest.mark.parametrize("page", [1, 2, 9, MAX_PAGE])
def test_pages_have_the_same_bounds_and_one_beyond_the_end_is_empty(
    fake: TestClient, real: TestClient, sort: str, page: int
):
    params = [("sort", sort), ("page", str(page)), ("size", "50")]
    expected, answer = (read(AssetPage, api.get("/v1/assets", params=params)) for api in (fake, real))
    assert answer == expected
    assert (answer.total, len(answer.items)) == (80, {1: 50, 2: 30}.get(page, 0))


def test_a_file_has_the_same_shape_and_facts(fake: TestClient, real: TestClient):
    expected, answer = (read(File, api.get(f"/v1/assets/{FILM}")) for api in (fake, real))
    assert answer == expected
    assert len(answer.detections) == 13


@pytest.mark.parametrize("filters", [[], [("kind", "video"), ("sort", "name")], [("kind", "image")]])
def test_a_file_has_the_same_neighbours(fake: TestClient, real: TestClient, filters: Params):
    path = f"/v1/assets/{FILM}/neighbours"
    expected, answer = (read(Neighbours, api.get(path, params=filters)) for api in (fake, real))
    assert answer == expected and answer.total


def test_a_film_says_something_about_itself_and_has_no_part_behind_its_end(api: TestClient):
    assert read(Properties, api.get(f"/v1/assets/{FILM}/properties")).others["kind"] == "video"
    behind = api.get(f"/v1/assets/{FILM}/playable", params={"from_s": "1000"})
    assert behind.status_code == 416 and read(Problem, behind).detail


@pytest.mark.parametrize(
    "request_line",
    [
        "GET assets?page=0",
        "GET assets?page=9223372036854775807",
        "GET assets?page=two",
        "GET assets?size=201",
        "GET assets?min_score=nan",
        "GET assets?min_score=inf",
        "GET assets?min_score=1.5",
        "GET assets?kind=image&kind=document",
        "GET assets?detector_label=face",
        "GET assets?sort=sideways",
        "GET assets?failed=perhaps",
        "GET assets?colour=red",
        "GET assets?after=x",
        "GET assets?where=face",
        "GET assets?where=width=640",
        "GET assets?score_of=face",
        "GET assets?upto=00000000000000000000000000000000",
        "GET facets?where=scanned>=yesterday",
        f"GET assets/{FILM}/neighbours?kind=document",
        f"GET assets/{FILM}/playable?from_s=-1",
        f"GET assets/{FILM}/frame?at_s=nan",
        "GET overview?least_score=2",
        "GET overview?sort=newest",
        "GET left-out?size=5001",
        "GET left-out?sort=newest",
        "GET facets?page=9223372036854775807",
        "GET search",
        f"GET search?like=y&picture={FILM}",
        f"GET search?asset={FILM}",
        "GET search?q=x&box=0,0,1,1",
        f"GET search?asset={FILM}&box=0,0,1",
        f"GET search?asset={FILM}&box=0.5,0,0.5,1",
        f"GET search?asset={FILM}&box=0,0,1,nan",
        f"GET search?asset={FILM}&box=0,0,1,1&at_s=-1",
        "GET search?asset=x&box=0,0,1,1",
        "GET search?q=x&limit=201",
        "GET search?q=x&by=sound",
        "GET search?q=x&where=face",
        "GET search?q=x&colour=red",
        "GET search?picture=x",
        "GET people/groups?page=0",
        "GET people/groups?size=201",
        "GET people/groups/no-face",
        "POST people/groups/no-face/name",
        "GET jobs?limit=0",
        "GET jobs?limit=9223372036854775807",
    ],
)
def test_invalid_requests_are_refused_in_the_same_words(fake: TestClient, real: TestClient, request_line: str):
    method, path = request_line.split(" ")
    expected, answer = (api.request(method, f"/v1/{path}") for api in (fake, real))
    assert (answer.status_code, read(Problem, answer)) == (422, read(Problem, expected))


def test_a_number_that_is_too_large_is_refused_with_its_bound(api: TestClient):
    problem = read(Problem, api.get("/v1/assets", params={"page": 2**63 - 1}))
    assert problem.detail == f"query.page: input should be less than or equal to {MAX_PAGE}"


@pytest.mark.parametrize(
    "body",
    [{}, {"uris": []}, {"uris": ["/x"], "priority": "soon"}, {"uris": "/x"}, {"uris": ["/x"], "detectors": ["no"]}],
)
def test_an_invalid_scan_is_refused(api: TestClient, body: dict[str, Any]):
    before = api.get("/v1/jobs").json()
    response = api.post("/v1/jobs", json=body)
    assert response.status_code == 422 and read(Problem, response).detail
    assert api.get("/v1/jobs").json() == before


@pytest.mark.parametrize(
    "request_line",
    [
        f"GET assets/{NOBODY}",
        "GET assets/no-id",
        f"GET assets/{NOBODY}/thumbnail",
        f"GET assets/{NOBODY}/media",
        f"GET assets/{NOBODY}/playable",
        f"GET assets/{NOBODY}/frame",
        f"GET assets/{NOBODY}/properties",
        f"GET assets/{NOBODY}/neighbours",
        "GET jobs/nobody",
        "DELETE cases/nobody",
        "POST jobs/nobody/cancel",
        "POST jobs/nobody/resume",
        "POST jobs/nobody/retry-failed",
        f"GET people/groups/{NOBODY}-s-1-1-2-2",
        "POST people/corrections/9007199254740991/undo",
    ],
)
def test_unknown_objects_are_not_found(api: TestClient, request_line: str):
    method, path = request_line.split(" ")
    response = api.request(method, f"/v1/{path}")
    assert response.status_code == 404 and read(Problem, response).detail


@pytest.mark.parametrize("filters", [{}, {"where": ["face:", "!nsfw:>=0.5"]}, {"kind": "audio", "min_score": "0.9"}])
def test_a_search_takes_the_filters_of_a_list(api: TestClient, filters: dict[str, Any]):
    assert api.get("/v1/search", params={"q": "news", **filters}).status_code == 200


@pytest.mark.parametrize(
    "params",
    [
        {"q": "news"},
        {"like": FILM},
        {"like": FILM, "by": "faces"},
        {"q": "news", "limit": "1"},
        {"q": "news", "like": FILM},
        {"asset": FILM, "box": "0.1,0.2,0.5,1", "at_s": "2.5"},
        {"asset": FILM, "box": "0,0,1,1", "by": "faces", "q": "news"},
    ],
)
def test_hits_have_the_same_shape(api: TestClient, params: dict[str, str]):
    answer = read(Hits, api.get("/v1/search", params=params))
    assert answer.hits and answer.hits[0].score


def test_an_upload_is_searched_with_words(unlimited: TestClient):
    sent = read(Hits, unlimited.post("/v1/search", params={"q": "news"}, files={"file": ("a.jpg", b"x")}))
    again = read(Hits, unlimited.get("/v1/search", params={"q": "news", "picture": str(sent.picture)}))
    assert sent.hits[0].matched == "exact text" and again.hits == sent.hits


def test_a_region_of_sound_or_of_no_file_is_refused(api: TestClient):
    for asset, status in ((SOUND, 422), (NOBODY, 404)):
        refused = api.get("/v1/search", params={"asset": asset, "box": "0,0,1,1"})
        assert refused.status_code == status and read(Problem, refused).detail


def test_a_case_is_made_changed_filtered_by_and_removed(api: TestClient):
    new = {"name": "films", "title": "Films", "folders": [f"{FOLDER}/clip_1.mp4"]}
    assert read(CaseInfo, api.post("/v1/cases", json=new)).files == 1
    assert api.post("/v1/cases", json=new).status_code == 409
    assert api.get("/v1/assets?case=films").json()["total"] == 1
    change = {"add": [f"{FOLDER}/clip_2.mp4"], "closed": True}
    changed = read(CaseInfo, api.patch("/v1/cases/films", json=change))
    assert (changed.title, changed.files, changed.closed_at is not None) == ("Films", 2, True)
    assert read(list[CaseInfo], api.get("/v1/cases")) == [changed]
    assert all(api.get(f"/v1/{path}?case=films").json()["kinds"] == {"video": 2} for path in ("facets", "overview"))
    assert [api.delete("/v1/cases/films").status_code, api.get("/v1/assets?case=films").status_code] == [204, 404]


def test_somebody_chooses_what_is_seen_before_a_file_is_revealed(api: TestClient):
    first = read(OwnExposure, api.get("/v1/me/exposure"))
    assert (first.chosen, first.floor) == (ExposureRules().exposure, None)
    wanted = first.chosen.model_copy(update={"blur": False, "colours": "sepia", "break_after_minutes": 45})
    stored = read(OwnExposure, api.put("/v1/me/exposure", json=wanted.model_dump()))
    assert stored == read(OwnExposure, api.get("/v1/me/exposure")) == OwnExposure(chosen=wanted, floor=None)
    for wrong in ({"colours": "pink"}, {"break_after_minutes": 1}, {"floor": False}):
        assert read(Problem, api.put("/v1/me/exposure", json=wanted.model_dump() | wrong)).status == 422
    assert read(Problem, api.put("/v1/me/exposure", json={"blur": False})).status == 422
    assert read(OwnExposure, api.get("/v1/me/exposure")).chosen == wanted


def test_the_api_is_alive(api: TestClient):
    assert read(Health, api.get("/v1/health")).status == "ok"


def test_erased_caches_are_counted_by_place(unlimited: TestClient):
    erased = read(ErasedCaches, unlimited.delete("/v1/cache"))
    assert list(erased.entries.values()) == [0] and (erased.failed, erased.away) == ({}, [])


def test_a_plan_counts_what_a_scan_would_do_and_starts_nothing(unlimited: TestClient, tmp_path):
    before = unlimited.get("/v1/jobs").json()
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "b.svg").write_bytes(b"<svg/>")
    plan = read(ScanPlan, unlimited.post("/v1/jobs/plan", json={"uris": [tmp_path.as_uri()]}))
    assert (plan.units[0].reason, plan.units[0].kind, plan.complete) == ("new", "image", True)
    assert ".svg" in {group.suffix for group in plan.left_out_groups}
    assert unlimited.post("/v1/jobs/plan", json={"uris": ["file:///nowhere"]}).status_code == 422
    assert unlimited.get("/v1/jobs").json() == before


def test_a_job_is_queued_shown_cancelled_and_resumed(unlimited: TestClient, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    job = read(JobName, unlimited.post("/v1/jobs", json={"uris": [tmp_path.as_uri()], "priority": "bulk"})).job
    shown = read(JobDetails, unlimited.get(f"/v1/jobs/{job}"))
    assert shown.state in ("waiting", "running")  # the fake's jobs start by themselves
    assert (shown.priority, shown.uris, shown.report) == ("bulk", [tmp_path.as_uri()], None)
    assert job in {each.job for each in read(list[JobInfo], unlimited.get("/v1/jobs", params={"limit": 5}))}
    assert job in {each.job for each in read(JobsOverview, unlimited.get("/v1/overview/jobs")).running}
    assert read(LeftOut, unlimited.get("/v1/left-out", params={"job": job})) == LeftOut(total=0, items=())
    assert read(JobName, unlimited.post(f"/v1/jobs/{job}/retry-failed")).job is None
    assert read(JobInfo, unlimited.post(f"/v1/jobs/{job}/cancel")).state == "cancelled"
    assert unlimited.post(f"/v1/jobs/{job}/cancel").status_code == 422
    assert read(JobInfo, unlimited.post(f"/v1/jobs/{job}/resume")).state == "waiting"
    assert unlimited.post(f"/v1/jobs/{job}/resume").status_code == 422


def test_the_models_have_every_field_of_the_catalogues_answers(running: LocalApi, real: TestClient):
    def kept(model: type[BaseModel], answer: dict[str, Any]) -> bool:
        return model(**answer).model_dump(mode="json") == answer

    assert kept(AssetPage, running.catalog.assets(AssetQuery()))
    assert kept(Facets, running.catalog.facets(AssetQuery()))
    assert kept(File, running.catalog.asset(FILM) or {})
