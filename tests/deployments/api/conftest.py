"""Shared by the tests of this folder: the fake API of the app's tests, and the real one with the same files."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from tests.support.fakes.api import FakeApi
from tests.support.fakes.files import as_row, files
from tests.support.local_api import FILM, LocalApi, OnlyExact
from tests.support.stored import commit


@pytest.fixture
def anyio_backend():
    """Asynchronous tests run on asyncio, as the API does."""
    return "asyncio"


@pytest.fixture(scope="module")
def fake() -> Iterator[TestClient]:
    """The fake API."""
    with TestClient(FakeApi().app) as client:
        yield client


@pytest.fixture(scope="module")
def real(running: LocalApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The real API with the fake's files in its catalogue, asked by an admin who sees no files of other tests."""
    rows = [as_row(file, place, "scan-before") for place, file in enumerate(files())]
    running.catalog.memory.add(rows)
    running.catalog.load(commit(tmp_path_factory.mktemp("results"), "a.parquet", *rows))
    running.ingress.searching = OnlyExact(FILM)
    key = running.store.add_key("Ada", "admin", ("s3://evidence",))
    with TestClient(running.app, headers={"Authorization": f"Bearer {key}"}) as client:
        yield client


@pytest.fixture(params=["fake", "real"])
def api(request: pytest.FixtureRequest) -> TestClient:
    """Either of the two."""
    return request.getfixturevalue(request.param)
