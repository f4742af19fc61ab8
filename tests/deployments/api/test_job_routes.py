"""The API's part on jobs, in Serve's local testing mode: catalogue and queue are real, Ray's Jobs API is not.

And what it tells probes, of detectors that are stand-ins.
"""

import asyncio
import threading
import time
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from ray import serve

from cluster.errors import SettingsError
from cluster.settings import Settings
from deployments.api.app import RoomForProbes
from deployments.api.app import api as api_api
from deployments.api.ingress import Ingress
from deployments.catalog.catalog import Catalog
from deployments.jobs import folder
from deployments.jobs.queue import Jobs
from deployments.serving import health
from deployments.serving.health import Readiness, is_ready
from tests.deployments.jobs.test_queue import Ray
from tests.support.stored import commit, row


@dataclass
class Verified:
    lost: int = 0


CATALOGS: list[Catalog] = []


class Kept(Catalog):
    """A catalogue that the test can close."""

    def __init__(self):
        super().__init__(":memory:")
        CATALOGS.append(self)


class Driven(Jobs):
    """The queue, looked after by the test."""

    def __init__(self, path, settings):
        super().__init__(path, settings, lambda url: Ray(), every_s=None)


@pytest.fixture(scope="module")  # once its application has run here, the API cannot be pickled for another
def api(tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    settings = Settings(state_dir=state)
    catalog = serve.deployment(Kept).options(name="catalog").bind()
    jobs = serve.deployment(Driven).options(name="jobs").bind(state / "jobs.sqlite", settings)
    verify = lambda out, job, settings: Verified(lost=len(out))  # noqa: E731
    bound = Ingress.options(name="api").bind({}, catalog, jobs, None, verify, settings)
    handle = serve.run(bound, name="api", _local_testing_mode=True)
    yield lambda method, *arguments, **more: getattr(handle, method).remote(*arguments, **more).result()
    catalog = CATALOGS.pop()
    catalog.close()
    del catalog._db


@pytest.fixture
def media(tmp_path):
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.jpg").write_bytes(b"x")
    return str(tmp_path / "media")


def test_a_job_is_queued_told_of_and_cancelled(api, media, tmp_path):
    name = api("submit", [media], out=str(tmp_path / "out"), detectors=None, priority="bulk")["job"]
    told = api("job", name)
    assert list(told)[:5] == ["job", "state", "units", "done", "failed"]
    assert (told["state"], told["priority"], told["uris"]) == ("waiting", "bulk", [(tmp_path / "media").as_uri()])
    assert told["report"] is None and api("list_jobs", limit=1)[0]["job"] == name
    assert api("cancel", name)["state"] == "cancelled"
    assert api("resume", name)["state"] == "waiting"
    assert api("verified", name) == {"lost": len((tmp_path / "out").as_uri())}


def test_a_job_that_is_over_has_its_report_and_what_failed_can_be_done_again(api, media, tmp_path):
    out = tmp_path / "out"
    name = api("submit", [media], out=str(out), detectors=None, priority="normal")["job"]
    api("cancel", name)
    folder.write(out.as_uri(), name, "report", {"units": 1})
    assert api("job", name)["report"] == {"units": 1}
    assert api("retry_failed", name) == {"job": None}
    commit(out, "a.parquet", row("s3://b/1.jpg", job=name, failures=[("decode", "torn")]))
    api("load", str(out))
    assert api("job", name)["failed"] == 1
    again = api("retry_failed", name)["job"]
    assert api("job", again)["retry_of"] == name


def test_what_cannot_be_listed_is_said_before_there_is_a_job(api):
    before = api("list_jobs", limit=5)
    with pytest.raises(SettingsError, match="no/such"):
        api("submit", ["/no/such/folder"], out=None, detectors=None, priority="normal")
    with pytest.raises(HTTPException, match="no detector 'nsfww'"):
        api("submit", ["s3://b"], out=None, detectors=["nsfww"], priority="normal")
    assert api("list_jobs", limit=5) == before


def test_a_job_that_nobody_knows_is_not_found(api):
    for ask in ("job", "cancel", "resume", "retry_failed", "verified", "logs"):
        with pytest.raises(HTTPException) as refused:
            api(ask, "scan-x")
        assert refused.value.status_code == 404


class DetectorResponse:
    """A detector's handle: `.answers_example.remote(name)`. What is put into `finds` is its answer, an error is raised;
    with nothing there it hangs.
    """

    def __init__(self, finds=1):
        self.finds = finds
        self.times = 0
        self.answers_example = self

    async def remote(self, name):
        self.times += 1
        while self.finds is None:
            await asyncio.sleep(0.01)
        if isinstance(self.finds, Exception):
            raise self.finds
        return self.finds


@pytest.fixture
def quick(monkeypatch):
    """Nobody waits for long."""
    monkeypatch.setattr(health, "EXAMPLE_WITHIN_S", 0.05)
    monkeypatch.setattr(health, "CONDITIONS_WITHIN_S", 0.05)


def up(names):
    return dict.fromkeys(names, "up")


def test_many_probes_cost_a_detector_one_example_and_the_answer_stands_for_some_seconds_and_no_longer():
    ocr = DetectorResponse()

    async def life():
        ready = Readiness({"ocr": ocr}, up)
        assert await asyncio.gather(*(ready.states() for _ in range(20))) == [{"ocr": "ok"}] * 20
        ocr.finds = 0
        assert await ready.states() == {"ocr": "ok"} and ocr.times == 1
        ready._until -= health.STANDS_S
        assert await ready.states() == {"ocr": "it finds nothing on its own example"} and ocr.times == 2

    asyncio.run(life())


def test_a_probe_that_gives_up_does_not_end_the_asking_for_the_others():
    ocr = DetectorResponse(None)

    async def life():
        ready = Readiness({"ocr": ocr}, up)
        first, second = (asyncio.create_task(ready.states()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        ocr.finds = 1
        assert await second == {"ocr": "ok"}

    asyncio.run(life())


def test_who_is_not_ready_is_named_with_its_reason():
    handles = {
        "face": DetectorResponse(ValueError("x")),
        "ocr": DetectorResponse(),
        "clip": DetectorResponse(0),
        "nsfw": DetectorResponse(),
        "logo": DetectorResponse(),
    }
    ready = Readiness(handles, lambda names: up(names) | {"nsfw": "down", "logo": "asleep"})
    told = asyncio.run(ready.states())
    assert told == {
        "face": "it does not answer: ValueError",
        "ocr": "ok",
        "clip": "it finds nothing on its own example",
        "nsfw": "none of its replicas runs",
        "logo": "asleep: starts when asked",
    }
    assert [name for name, word in told.items() if is_ready(word)] == ["ocr", "logo"]


def test_a_busy_detector_whose_example_waits_its_turn_is_ready_until_it_has_not_answered_for_minutes(quick):
    ocr = DetectorResponse(None)

    async def life():
        ready = Readiness({"ocr": ocr}, up)
        words = [(await ready.states())["ocr"]]
        ready._until = 0
        words.append((await ready.states())["ocr"])
        assert words == ["busy: last answered 0 s ago"] * 2 and is_ready(words[0])
        assert ocr.times == 1, "its queue is not filled with examples"
        ready._until, ready.answered["ocr"] = 0, time.monotonic() - 301
        (hung,) = (await ready.states()).values()
        assert hung == "it has not answered for 301 s" and not is_ready(hung)
        ocr.finds, ready._until = 1, 0
        await asyncio.sleep(0.05)
        assert await ready.states() == {"ocr": "ok"}

    asyncio.run(life())


@pytest.mark.parametrize("fault", ["hangs", "raises"])
def test_while_rays_head_is_away_detectors_that_answer_are_ready(quick, fault):
    back = threading.Event()

    def away(names):
        if fault == "raises":
            raise ConnectionError("no head")
        back.wait(20)
        return {}

    assert asyncio.run(Readiness({"ocr": DetectorResponse()}, away).states()) == {"ocr": "ok"}
    back.set()


def test_an_api_that_is_full_of_hanging_requests_still_says_that_it_lives():
    api, free = FastAPI(), asyncio.Event()
    api.add_middleware(RoomForProbes, most=3)

    @api.get("/v1/health")
    async def health():
        return {"status": "ok"}

    @api.get("/v1/search")
    async def search():
        await free.wait()

    async def life():
        transport = httpx.ASGITransport(api)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            hanging = [asyncio.create_task(client.get("/v1/search")) for _ in range(3)]
            await asyncio.sleep(0.05)
            assert (await client.get("/v1/health")).json() == {"status": "ok"}
            refused = await client.get("/v1/search")
            assert refused.status_code == 503 and refused.headers["Retry-After"] == "5"
            free.set()
            assert [one.status_code for one in await asyncio.gather(*hanging)] == [200] * 3
            assert (await client.get("/v1/search")).status_code == 200

    asyncio.run(life())


def test_the_api_answers_under_its_own_names_alone(monkeypatch):
    monkeypatch.setattr("deployments.api.app.HOSTS", ["127.0.0.1"])
    api = FastAPI()
    api.user_middleware = [one for one in api_api.user_middleware if one.cls is not RoomForProbes]
    api.get("/v1/health")(lambda: {"status": "ok"})

    async def answers(name):
        transport = httpx.ASGITransport(api)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{name}") as client:
            return (await client.get("/v1/health")).status_code

    assert asyncio.run(answers("127.0.0.1:8000")) == 200
    assert asyncio.run(answers("raysift.example.com")) == 400
    monkeypatch.setattr("deployments.api.app.HOSTS", ["127.0.0.1", "raysift.example.com"])  # as an API says it
    assert asyncio.run(answers("raysift.example.com")) == 200
    assert asyncio.run(answers("evil.example")) == 400
