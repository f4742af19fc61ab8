"""Idempotency-Key over HTTP: the same answer once more, 422 for another request, 409 while the first is answered."""

import asyncio
from types import SimpleNamespace
from uuid import uuid4

import pytest
from fastapi import HTTPException, Request
from starlette.testclient import TestClient

from cluster.access.identity import Identity
from cluster.api_types import Problem, ProblemType
from cluster.records import JobState
from deployments.api.app import api
from deployments.api.guards.idempotency import caller_of, claimed
from deployments.jobs.callers import Caller, Claim
from tests.support.api_server import application
from tests.support.stored import commit, row


@pytest.fixture(scope="module")
def client(running):
    with TestClient(running.app, headers=running.headers) as client:
        yield client


@pytest.fixture
def key():
    return {"Idempotency-Key": f'"{uuid4()}"'}


@pytest.fixture
def media(tmp_path):
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.jpg").write_bytes(b"x")
    return {"uris": [(tmp_path / "media").as_uri()], "out": (tmp_path / "out").as_uri()}


def jobs_of(client):
    return [job["job"] for job in client.get("/v1/jobs?limit=1000").json()]


def submitted(running):
    return [record["of"] for record in running.audit.records() if record["what"] == "job submitted"]


def test_a_repeated_request_has_the_first_answer_and_makes_no_second_job(running, client, key, media):
    first = client.post("/v1/jobs", json=media, headers=key)
    before = jobs_of(client)
    again = client.post("/v1/jobs", json=media, headers={"Idempotency-Key": key["Idempotency-Key"].strip('"')})
    assert (first.status_code, again.json(), jobs_of(client)) == (200, first.json(), before)
    assert submitted(running).count(first.json()["job"]) == 1
    assert client.post("/v1/jobs", json=media).json() != first.json(), "without the key it is another request"


def test_a_repeated_request_for_a_case_has_the_first_answer(running, client, key):
    new = {"name": f"harbour-{uuid4().hex[:6]}", "title": "Harbour", "folders": ["s3://bucket/case-7"]}
    first = client.post("/v1/cases", json=new, headers=key)
    again = client.post("/v1/cases", json=new, headers=key)
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
    assert [record["of"] for record in running.audit.records() if record["what"] == "case made"].count(new["name"]) == 1
    another = client.post("/v1/cases", json=new | {"title": "Another"}, headers=key)
    assert Problem.model_validate_json(another.content).type == ProblemType.KEY_REUSED
    assert client.post("/v1/cases", json=new).status_code == 409, "without the key it is another request"
    assert client.delete(f"/v1/cases/{new['name']}").status_code == 204


def test_a_job_whose_record_failed_is_recorded_when_its_request_is_repeated(running, client, key, media, monkeypatch):
    async def fail(*arguments, **more):
        raise HTTPException(503, "the audit log cannot be written")

    before = jobs_of(client)
    with monkeypatch.context() as patch:
        patch.setattr(running.ingress, "access", SimpleNamespace(record=SimpleNamespace(remote=fail)))
        assert client.post("/v1/jobs", json=media, headers=key).status_code == 503
    assert jobs_of(client) == before
    job = client.post("/v1/jobs", json=media, headers=key).json()["job"]
    assert submitted(running).count(job) == 1


def test_the_key_of_another_request_is_refused(client, key, media):
    job = client.post("/v1/jobs", json=media, headers=key).json()["job"]
    before = jobs_of(client)
    for path, body in (("/v1/jobs", media | {"priority": "bulk"}), (f"/v1/jobs/{job}/retry-failed", None)):
        refused = client.post(path, json=body, headers=key)
        problem = Problem.model_validate_json(refused.content)
        assert (refused.status_code, problem.type) == (422, ProblemType.KEY_REUSED)
    assert jobs_of(client) == before


def test_the_key_of_another_caller_is_another_key(running, client, key, media):
    first = client.post("/v1/jobs", json=media, headers=key).json()
    other = {"Authorization": f"Bearer {running.store.add_key('ops', 'operator')}"}
    assert client.post("/v1/jobs", json=media, headers=key | other).json() != first


def test_a_request_that_was_refused_may_be_repeated_with_its_key(client, key, media, tmp_path):
    later = media | {"uris": [(tmp_path / "later").as_uri()]}
    assert client.post("/v1/jobs", json=later, headers=key).status_code == 422
    (tmp_path / "later").mkdir()
    assert client.post("/v1/jobs", json=later, headers=key).status_code == 200


def test_a_job_is_resumed_and_its_failed_files_are_retried_once(running, client, media, tmp_path):
    job = client.post("/v1/jobs", json=media).json()["job"]
    client.post(f"/v1/jobs/{job}/cancel")
    keys = iter({"Idempotency-Key": str(uuid4())} for _ in range(3))
    nothing = next(keys)
    assert client.post(f"/v1/jobs/{job}/retry-failed", headers=nothing).json() == {"job": None}
    running.catalog.load(commit(tmp_path / "out", "a.parquet", row("s3://b/1", job=job, failures=[("decode", "torn")])))
    assert client.post(f"/v1/jobs/{job}/retry-failed", headers=nothing).json() == {"job": None}, "as before"
    retried = next(keys)
    again = client.post(f"/v1/jobs/{job}/retry-failed", headers=retried).json()["job"]
    assert again and client.post(f"/v1/jobs/{job}/retry-failed", headers=retried).json()["job"] == again
    resumed = next(keys)
    states: list[JobState] = [client.post(f"/v1/jobs/{job}/resume", headers=resumed).json()["state"] for _ in range(2)]
    assert states == ["waiting", "waiting"]
    assert client.post(f"/v1/jobs/{job}/resume").status_code == 422, "without the key"


def test_a_request_that_is_still_being_answered_is_a_conflict():
    async def claim(caller):
        return Claim("in progress")

    with application(jobs=SimpleNamespace(claim=SimpleNamespace(remote=claim))) as app:
        answer = TestClient(app, base_url="http://127.0.0.1").post(
            "/v1/jobs", json={"uris": ["s3://b"]}, headers={"Idempotency-Key": "x"}
        )
    problem = Problem.model_validate_json(answer.content)
    assert (answer.status_code, problem.type) == (409, ProblemType.IN_PROGRESS)
    assert answer.headers["retry-after"] == "2"


@pytest.mark.anyio
@pytest.mark.parametrize("ending", [HTTPException(422, "refused"), asyncio.CancelledError()])
async def test_a_request_that_ends_without_an_answer_gives_its_claim_up(ending):
    released = []

    async def claim(caller):
        return Claim("new")

    async def release(caller):
        released.append(caller)

    jobs = SimpleNamespace(claim=SimpleNamespace(remote=claim), release=SimpleNamespace(remote=release))
    caller = Caller("key:a", None, "k", "digest")
    with pytest.raises(type(ending)):
        async with claimed(jobs, caller):
            raise ending
    assert released == [caller]


@pytest.mark.parametrize("value", ["", '"', '""', '"a', "a b", '"a";b=1', '"a\\b"', '"a", "b"', "x" * 256])
def test_a_key_that_is_none_is_refused(client, media, value):
    before = jobs_of(client)
    answer = client.post("/v1/jobs", json=media, headers={"Idempotency-Key": value})
    assert answer.status_code == (422 if len(value) > 255 else 400), answer.text
    assert jobs_of(client) == before


@pytest.mark.anyio
async def test_the_digest_is_of_the_method_the_path_and_the_body():
    async def digest(body: bytes, path: str = "/v1/jobs", query: bytes = b"") -> str:
        async def receive():
            return {"type": "http.request", "body": body}

        scope = {"type": "http", "method": "POST", "path": path, "query_string": query, "headers": []}
        return (await caller_of(Request(scope, receive), Identity("a", "admin"), "k", None)).digest

    digests = [await digest(b"a"), await digest(b"b"), await digest(b"a", "/v1"), await digest(b"a", query=b"x")]
    digests += [await digest(b"a", query=b"\xff")]  # not UTF-8
    assert len(set(digests)) == 5 and await digest(b"a") == digests[0]


def test_a_key_with_a_secret_is_made_without_idempotency_key_only(running, client, key):
    before = len(running.store.list_keys())
    refused = client.post("/v1/keys", json={"name": "ci"}, headers=key)
    assert refused.status_code == 400 and "leave Idempotency-Key out" in refused.json()["detail"]
    assert len(running.store.list_keys()) == before


def test_the_openapi_document_names_the_routes_that_take_a_key():
    takes = {
        path
        for path, methods in api.openapi()["paths"].items()
        for parameter in methods.get("post", {}).get("parameters", [])
        if parameter["name"] == "idempotency-key"
    }
    assert takes == {"/v1/cases", "/v1/jobs", "/v1/jobs/{job}/resume", "/v1/jobs/{job}/retry-failed"}
