"""Requests generated from the API's OpenAPI document, valid and invalid, against the real API over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import requests
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from cluster.people.face import face_id
from cluster.records import MediaItem, Result, asset_id
from cluster.settings import Scanning
from deployments.api.searches.search import By, Found, Shown
from tests.support.api_server import serving
from tests.support.fakes.files import FOLDER, as_row, files
from tests.support.local_api import LocalApi
from tests.support.stored import commit

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

LONGEST_URL = 60_000  # uvicorn itself refuses one of 64 KiB or more, in plain text
EXAMPLES = 30  # of each operation, valid ones and as many invalid ones
# the first needs a cluster; bodies of the second are of a type of our own: tests/deployments/serving has generated ones
LEFT_OUT = {"/v1/cache", "/v1/detect/{name}/samples"}


class NothingFound:
    """Search without detectors and vectors."""

    async def words(self, *_: object) -> Found:
        return Found([])

    words_with = by_picture = words

    async def of_file(self, asset: str, by: By) -> Shown:
        return Shown(by, (), asset)

    def vectors_of(self, *_: object) -> tuple[tuple[float, ...], ...]:
        return ()

    def maker(self, by: str) -> str:
        return "clip"


async def nothing_detected(path: Path, name: str, *_: object) -> Result:
    return Result(MediaItem(name, path.stat().st_size, "an etag", "image"))


@pytest.fixture(scope="module")
def url(running: LocalApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the real API, which may read and write one empty folder."""
    folder = str(tmp_path_factory.mktemp("media"))
    limited = running.ingress.settings.model_copy(update={"scanning": Scanning(roots=(folder,), outs=(folder,))})
    with pytest.MonkeyPatch.context() as patch, serving(running.app) as port:
        patch.setattr(running.ingress, "settings", limited)
        patch.setattr(running.ingress, "searching", NothingFound())
        patch.setattr(running.ingress, "analyze", nothing_detected)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def known(running: LocalApi, url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The values of parameters of paths that name something: a scanned file, a face in it, a job."""
    rows = [as_row(file, place, "scan-before") for place, file in enumerate(files())]
    running.catalog.memory.add(rows)
    running.catalog.load(commit(tmp_path_factory.mktemp("results"), "a.parquet", *rows))
    body = {"uris": list(running.ingress.settings.scanning.roots)}
    submitted = httpx.post(f"{url}/v1/jobs", json=body, headers=running.headers, trust_env=False)
    film = asset_id(f"{FOLDER}/clip_1.mp4")
    face = face_id(film, 0.0, (0.1, 0.3, 0.3, 0.7))
    return {"asset": film, "face": face, "job": submitted.raise_for_status().json()["job"]}


def test_no_request_makes_the_api_fail_and_every_answer_has_the_form_that_is_documented(
    running: LocalApi, url: str, known: dict[str, str]
):
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

    checks = [not_a_server_error, content_type_conformance, response_schema_conformance]
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", headers=running.headers)
    asked, failed = set(), []
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in LEFT_OUT:
            continue
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):

            @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(operation.as_strategy(generation_mode=mode), st.booleans())
            def ask(case, names_something):
                if names_something:
                    case.path_parameters |= {key: known[key] for key in known if key in case.path_parameters}
                assume(len(str(requests.Request(**case.as_transport_kwargs()).prepare().url)) < LONGEST_URL)
                asked.add(case.operation.label)
                case.call_and_validate(headers=running.headers, checks=checks)

            try:
                ask()
            except Unsatisfiable:
                pass  # nothing of this operation can be invalid
            except (Exception, BaseExceptionGroup) as error:  # schemathesis groups failures as the latter
                failed.append(f"{mode} {operation.label}: {error}")
    assert not failed, "\n\n".join(failed)
    assert len(asked) > 25
