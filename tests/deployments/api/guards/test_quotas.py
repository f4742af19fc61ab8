"""Limits of each key and user: requests, bytes, uploads and exports at a time; others and admins are not hindered."""

from types import SimpleNamespace

import pytest
from ray.exceptions import RayTaskError
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from cluster.access.identity import Identity
from cluster.access.limits import Limits
from cluster.api_types import Problem, ProblemType
from cluster.records import MediaItem, Result
from cluster.settings import Settings
from deployments.api.app import api
from deployments.api.guards import quotas
from deployments.api.guards.quotas import Quotas, Rate, RequestRate
from deployments.jobs.callers import TooManyJobs
from pipelines.results.verifying import Verified
from tests.support.api_server import Everybody, application

ANN, BOB = (Identity(name, "operator", id="1", holder=f"user:{name}") for name in ("ann", "bob"))
ROOT = Identity("operator of this machine", "admin", id="2")


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def refused(call, *arguments):
    with pytest.raises(HTTPException) as refusal:
        call(*arguments)
    assert refusal.value.status_code == 429 and refusal.value.type == ProblemType.QUOTA
    return int(refusal.value.headers["Retry-After"])


def test_a_rate_allows_a_burst_and_then_so_much_per_second(clock):
    rate = Rate(2, 10, clock)
    assert [rate.take("a", 1) for _ in range(11)] == [0.0] * 10 + [0.5]
    assert rate.take("b", 10) == 0.0, "another caller has its own"
    clock.now += 0.5
    assert (rate.take("a", 1), rate.take("a", 1)) == (0.0, 0.5)
    clock.now += 1000
    assert [rate.take("a", 1) for _ in range(11)] == [0.0] * 10 + [0.5], "a long pause gives no larger burst"


def test_more_than_a_burst_may_be_taken_at_once_and_is_owed(clock):
    rate = Rate(1, 10, clock)
    assert rate.take("a", 25) == 0.0
    assert rate.take("a", 1) == 16.0
    clock.now += 16
    assert rate.take("a", 1) == 0.0


def test_callers_who_take_nothing_any_more_are_forgotten(clock, monkeypatch):
    monkeypatch.setattr(quotas, "MOST_KNOWN", 3)
    rate = Rate(1, 2, clock)
    for name in "abc":
        rate.take(name, 1)
    clock.now += 0.5
    rate.take("b", 1)
    clock.now += 1
    rate.take("d", 1)
    assert set(rate._buckets) == {"b", "d"} and rate.take("b", 2) == 0.5


def test_requests_are_limited_for_each_owner_whatever_session_it_has(clock):
    limits = Quotas(Limits(requests_per_s=1, burst=2), clock)
    for session in (ANN, Identity("ann", "operator", id="another session", holder=ANN.holder)):
        limits.count_request(session)
    assert refused(limits.count_request, ANN) == 1
    limits.count_request(BOB)
    for _ in range(100):
        limits.count_request(ROOT)
    clock.now += 1
    limits.count_request(ANN)


def test_uploads_at_a_time_are_limited_and_each_ends(clock):
    limits = Quotas(Limits(analyses=2), clock)
    with limits.analysing(ANN, 1), pytest.raises(ValueError), limits.analysing(ANN, 1):
        assert refused(limits.analysing(ANN, 1).__enter__) == 5
        with limits.analysing(BOB, 1), limits.analysing(ROOT, 1), limits.analysing(ROOT, 1), limits.analysing(ROOT, 1):
            pass
        raise ValueError
    with limits.analysing(ANN, 1), limits.analysing(ANN, 1):
        pass
    assert not limits._analyses


def test_exports_and_verifications_at_a_time_are_limited_together_and_each_ends(clock):
    limits = Quotas(Limits(exports=2), clock)
    with limits.exporting(ANN), pytest.raises(ValueError), limits.exporting(ANN):
        assert refused(limits.exporting(ANN).__enter__) == 30
        with limits.exporting(BOB), limits.exporting(ROOT), limits.exporting(ROOT), limits.exporting(ROOT):
            pass
        raise ValueError
    with limits.exporting(ANN), limits.exporting(ANN):
        pass
    assert not limits._exports


def test_a_job_is_not_verified_for_a_caller_who_has_its_share(clock):
    async def followed(job, wait_s):
        return SimpleNamespace(uris=(), out="/results")

    limits = Quotas(Limits(exports=1), clock)
    attributes = {"jobs": SimpleNamespace(followed=SimpleNamespace(remote=followed)), "settings": Settings()}
    attributes["verify"] = lambda out, job, settings: Verified(1, 1, 0, 0, 0, 0)
    with limits.exporting(ANN):
        said, wait = problem_of(ask(ANN, limits, path="/v1/jobs/scan-1/verify", attributes=attributes))
    assert "limits.exports" in said and wait == "30"
    assert ask(ANN, limits, path="/v1/jobs/scan-1/verify", attributes=attributes).status_code == 200


def test_bytes_of_uploads_are_limited_by_what_they_declare_or_else_by_what_has_come(clock):
    limits = Quotas(Limits(upload_gb_per_hour=3.6e-3), clock)  # 3.6 MB, so that 1000 bytes are free after a second
    with limits.analysing(ANN, 3_000_000) as count:
        count(3_000_000)  # they were counted when they were declared
    with limits.analysing(ANN, None) as count:
        for _ in range(7):
            count(100_000)
    assert refused(limits.analysing(ANN, None).__enter__) == 100
    assert refused(limits.analysing(ANN, 100_000).__enter__) == 200
    with limits.analysing(BOB, 10_000_000), limits.analysing(ROOT, 10_000_000):
        pass
    clock.now += 200
    with limits.analysing(ANN, 100_000):
        pass


def ask(identity, limits, method="GET", path="/v1/session", attributes=None, **request):
    quotas.set_quotas(limits)
    with application(identifies=Everybody(identity), quotas=limits, **attributes or {}) as app:
        return TestClient(app, base_url="http://127.0.0.1").request(method, path, **request)


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    monkeypatch.setattr(quotas, "_current", [])


def problem_of(answer):
    problem = Problem.model_validate_json(answer.content)
    assert (answer.status_code, problem.type) == (429, ProblemType.QUOTA)
    assert answer.headers["content-type"] == "application/problem+json"
    return problem.detail, answer.headers["retry-after"]


def test_too_many_requests_are_answered_with_429_and_when_to_try_again(clock):
    limits = Quotas(Limits(requests_per_s=0.1, burst=1), clock)
    assert ask(ANN, limits).status_code == 200
    said, wait = problem_of(ask(ANN, limits, path="/v1/no-route"))
    assert "limits.requests_per_s" in said and wait == "10"
    assert ask(ANN, limits, path="/v1/health").status_code == 200, "liveness is not limited"
    assert ask(ROOT, limits).status_code == 200


@pytest.mark.parametrize("path", ["/v1/analyze", "/v1/detect/nsfw", "/v1/search"])
def test_every_route_that_takes_an_upload_counts_it(clock, path):
    async def analyze(*arguments):
        return Result(MediaItem("a.jpg", 1, "", "image"), sha256="0" * 64)

    async def found(*arguments):
        return SimpleNamespace(hits=[], notes=[])

    async def nothing(*arguments):
        return []

    async def kept(*arguments):
        return "0" * 32

    versions = {"nsfw": SimpleNamespace(model="m")}
    searching = SimpleNamespace(maker=lambda by: "nsfw", vectors_of=lambda result, by: (), by_picture=found)
    attributes = {
        "settings": Settings(),
        "detectors": SimpleNamespace(handles={"nsfw": None}, model_versions=versions),
        "searching": searching,
        "access": SimpleNamespace(keep_picture=SimpleNamespace(remote=kept)),
        "catalog": SimpleNamespace(items=SimpleNamespace(remote=nothing)),
        "analyze": analyze,
    }
    limits = Quotas(Limits(upload_gb_per_hour=1e-3), clock)
    huge = {"content": b"", "headers": {"Content-Length": str(10**12)}}
    assert ask(ANN, limits, "POST", path, attributes=attributes, **huge).status_code == 413, "and is not counted"
    upload = {"files": {"file": ("a.jpg", b"x" * 600_000)}, "attributes": attributes}
    assert ask(ANN, limits, "POST", path, **upload).status_code == 200
    said, wait = problem_of(ask(ANN, limits, "POST", path, **upload))
    assert "limits.upload_gb_per_hour" in said and 700 < int(wait) < 800
    endless = {"content": iter([b"x" * 600_000] * 2), "headers": {"Content-Type": "multipart/form-data; boundary=b"}}
    assert ask(BOB, limits, "POST", path, attributes=attributes, **endless).status_code == 400
    problem_of(ask(BOB, limits, "POST", path, **upload))  # what cannot be used has arrived too


TOO_MANY = TooManyJobs("7 jobs of yours wait or run, and limits.jobs is 7: wait until one is over, or cancel one")


@pytest.mark.parametrize("error", [TOO_MANY, RayTaskError("submit", "a traceback", TOO_MANY)])
def test_a_caller_with_its_share_of_jobs_gets_429(error):
    async def submit(*arguments, caller, **more):
        assert (caller.owner, caller.most_jobs) == ("user:ann", 7)
        raise error

    jobs = SimpleNamespace(submit=SimpleNamespace(remote=submit))
    attributes = {"jobs": jobs, "settings": Settings(), "names": [], "_check_listable": lambda *arguments: None}
    body = {"uris": ["s3://b"]}
    said, wait = problem_of(ask(ANN, Quotas(Limits(jobs=7)), "POST", "/v1/jobs", json=body, attributes=attributes))
    assert "limits.jobs" in said and wait == "60"


def test_the_middleware_stands_behind_the_authentication_and_the_api_has_default_limits():
    order = [middleware.cls.__name__ for middleware in api.user_middleware]  # the first one sees a request first
    assert order.index("Authentication") < order.index(RequestRate.__name__)
    assert Settings().limits == Limits() and Limits().burst >= 500, "a page of the app asks for 200 thumbnails"
