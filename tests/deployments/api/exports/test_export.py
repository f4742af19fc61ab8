"""GET /v1/export: what the catalogue holds, of what the caller may see."""

import asyncio
import csv
import io
import json
from asyncio import Event
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient
from starlette.types import Message

from cluster.access.identity import Identity, Role
from cluster.access.limits import Limits
from cluster.api_queries import AssetFilter, ExportQuery
from deployments.api.exports.routes import MOST, ExportRoutes
from deployments.api.guards.quotas import Quotas
from tests.deployments.catalog.contents import all_lines
from tests.support.api_server import REQUEST, Recorder
from tests.support.fakes.files import FOLDER, as_row, files
from tests.support.local_api import LocalApi
from tests.support.stored import commit

MINE = (f"{FOLDER}/clip_1.mp4", f"{FOLDER}/call_1.wav")
FORMATS = ("jsonl", "csv", "parquet", "coco")


@pytest.fixture(scope="module")
def client(running: LocalApi, tmp_path_factory: pytest.TempPathFactory):
    rows = [as_row(file, place, "scan-before") for place, file in enumerate(files())]
    running.catalog.load(commit(tmp_path_factory.mktemp("results"), "a.parquet", *rows))
    with TestClient(running.app, headers=running.headers) as client:
        yield client


def uris(format: str, content: bytes) -> list[str]:
    """The URIs of the files in an export, as often as they are in it; of a CSV, once."""
    if format == "jsonl":
        return [json.loads(line)["uri"] for line in content.splitlines()]
    if format == "csv":
        return sorted({row["uri"] for row in csv.DictReader(io.StringIO(content.decode(), newline=""))})
    if format == "parquet":
        return pq.read_table(io.BytesIO(content))["uri"].to_pylist()
    return [image["file_name"] for image in json.loads(content)["images"]]


def expected(running: LocalApi, format: str, prefixes: tuple[str, ...] | None = None, **filters: Any) -> list[str]:
    lines = all_lines(running.catalog, AssetFilter(**filters), prefixes)
    return sorted(line["uri"] for line in lines if format != "coco" or (line["kind"] == "image" and line["width"]))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "filters", [{}, {"kind": ["video", "audio"]}, {"label": ["face"], "min_score": 0.95}, {"failed": True}], ids=str
)
def test_an_export_has_the_files_of_the_catalogue_that_pass_the_filters(client, running, format, filters):
    answer = client.get("/v1/export", params={"format": format, **filters})
    assert answer.status_code == 200
    found = uris(format, answer.content)
    assert sorted(found) == expected(running, format, **filters) and (found or format == "coco")
    page = client.get("/v1/assets", params={"size": 1, **filters}).json()
    assert format == "coco" or len(found) == page["total"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_limited_caller_gets_the_own_files_only(client, running, format):
    token = str(running.store.add_key("case 7", "viewer", MINE))
    answer = client.get("/v1/export", params={"format": format}, headers={"Authorization": f"Bearer {token}"})
    assert sorted(uris(format, answer.content)) == expected(running, format, MINE)
    assert format == "coco" or len(uris(format, answer.content)) == 2


def test_lines_over_http_are_those_of_the_catalogue(client, running):
    answer = client.get("/v1/export", params={"under": FOLDER})
    lines = all_lines(running.catalog, AssetFilter(under=(FOLDER,)))
    assert [json.loads(line) for line in answer.content.splitlines()] == lines and len(lines) > 70


def test_an_export_is_a_download_that_is_kept_nowhere(client):
    answer = client.get("/v1/export", params={"format": "coco", "kind": "audio"})
    assert answer.headers["content-disposition"] == 'attachment; filename="raysift.coco.json"'
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["content-type"] == "application/json"


def test_an_export_is_in_the_audit_log_with_its_filters(client, running):
    client.get("/v1/export", params={"format": "csv", "label": "face", "min_score": 0.5})
    record = list(running.audit.records())[-1]
    assert (record["what"], record["of"]) == ("exported", "csv")
    assert record["filters"] == "label=face&min_score=0.5"


@pytest.mark.parametrize("query", ["format=xml", "page=2", "min_score=2", "detector_label=face"])
def test_an_invalid_export_is_refused_and_not_recorded(client, running, query):
    before = sum(1 for _ in running.audit.records())
    assert client.get(f"/v1/export?{query}").status_code == 422
    assert sum(1 for _ in running.audit.records()) == before


class Broken:
    """A catalogue that fails after some parts."""

    def __init__(self, parts: int) -> None:
        self.parts = parts
        self.some_lines = SimpleNamespace(remote=self._some_lines)

    async def _some_lines(self, after: int, query: ExportQuery, within: object) -> Any:
        if after >= self.parts:
            raise HTTPException(504, "the catalogue did not answer")
        line = {"uri": f"s3://b/{after}", "kind": "image", "width": 1, "height": 1, "detections": [], "errors": []}
        return [line], after + 1


def exported(parts: int, got: list[bytes]) -> None:
    async def run() -> None:
        routes = ExportRoutes()
        routes.catalog, routes.access = Broken(parts), Recorder()  # type: ignore[assignment]
        routes.quotas = Quotas(Limits())
        answer = await routes.export(ExportQuery(), REQUEST, Identity("x", "viewer"))
        async for piece in answer.body_iterator:
            got.append(piece)  # type: ignore[arg-type]

    asyncio.run(run())


SCOPE = {"type": "http", "asgi": {"spec_version": "2.4"}}  # from then on a send to a client that has gone fails


async def asked(routes: ExportRoutes, send: Callable[[Message], Awaitable[None]], role: Role = "admin") -> int:
    """Ask for an export, whose response goes to `send`; returns the status."""
    try:
        answer = await routes.export(ExportQuery(), REQUEST, Identity("x", role))
        await answer(SCOPE, Event().wait, send)  # type: ignore[arg-type]
    except HTTPException as refused:
        return refused.status_code
    return answer.status_code


@pytest.mark.parametrize("parts", [0, 2])
def test_an_export_that_cannot_be_continued_does_not_end_as_if_it_were_whole(parts):
    got: list[bytes] = []
    with pytest.raises(HTTPException):
        exported(parts, got)
    assert len(got) == parts


async def take(_: Message) -> None:
    """A client that reads what comes."""
    await asyncio.sleep(0)


async def stall(_: Message) -> None:
    """A client that reads nothing."""
    await Event().wait()


async def leave(_: Message) -> None:
    """A client that has gone."""
    raise OSError


class Whole(Broken):
    """A catalogue of two parts, which answers later."""

    async def _some_lines(self, after: int, query: ExportQuery, within: object) -> Any:
        await asyncio.sleep(0)
        return None if after >= self.parts else await super()._some_lines(after, query, within)


def exporting(catalog: Broken) -> ExportRoutes:
    routes = ExportRoutes()
    routes.catalog, routes.access = catalog, Recorder()  # type: ignore[assignment]
    routes.quotas = Quotas(Limits(exports=2))
    return routes


@pytest.mark.anyio
async def test_of_simultaneous_exports_only_a_few_are_sent():
    routes = exporting(Whole(2))
    statuses = await asyncio.gather(*(asked(routes, take) for _ in range(MOST + 3)))
    assert sorted(statuses) == [200] * MOST + [503] * 3
    assert await asked(routes, take) == 200


@pytest.mark.anyio
async def test_one_caller_gets_a_share_of_the_exports_and_leaves_room_for_others():
    routes = exporting(Whole(2))
    asking = [*(asked(routes, take, "viewer") for _ in range(MOST)), *(asked(routes, take) for _ in range(MOST - 2))]
    assert await asyncio.gather(*asking) == [200, 200, 429, 429] + [200] * (MOST - 2)
    assert await asked(routes, take, "viewer") == 200


@pytest.mark.anyio
@pytest.mark.parametrize("send", [stall, leave])
async def test_exports_of_clients_that_do_not_read_them_end_and_others_are_sent(send, monkeypatch):
    monkeypatch.setattr("deployments.api.exports.routes.STALLED_S", 0.05)
    routes = exporting(Whole(2))
    ends = await asyncio.gather(*(asked(routes, send) for _ in range(MOST)), return_exceptions=True)
    assert [type(end) for end in ends] == [ClientDisconnect] * MOST
    assert await asked(routes, take) == 200


@pytest.mark.anyio
async def test_exports_that_fail_before_they_begin_leave_room_for_others():
    routes = exporting(Broken(0))
    assert [await asked(routes, take) for _ in range(MOST + 1)] == [504] * (MOST + 1)
