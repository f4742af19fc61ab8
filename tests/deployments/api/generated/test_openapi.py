"""Requests generated from the API's OpenAPI document, valid and invalid, against the real API over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from cluster.records import MediaItem, Result
from cluster.settings import Scanning
from deployments.api.search import Found
from tests.support.api_server import serving
from tests.support.local_api import LocalApi

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

EXAMPLES = 30  # of each operation, valid ones and as many invalid ones
AWAY = {"/v1/cache"}  # needs a cluster


class NothingFound:
    """Search without detectors and vectors."""

    async def words(self, *_: object) -> Found:
        return Found([])

    like = picture = words

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


def test_no_request_makes_the_api_fail_and_every_answer_has_the_form_that_is_documented(running: LocalApi, url: str):
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

    checks = [not_a_server_error, content_type_conformance, response_schema_conformance]
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", headers=running.headers)
    asked, failed = set(), []
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in AWAY:
            continue
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):

            @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(operation.as_strategy(generation_mode=mode))
            def ask(case):
                asked.add(case.operation.label)
                case.call_and_validate(headers=running.headers, checks=checks)

            try:
                ask()
            except (Exception, BaseExceptionGroup) as error:  # schemathesis groups failures as the latter
                failed.append(f"{mode} {operation.label}: {error}")
    assert not failed, "\n\n".join(failed)
    assert len(asked) > 25
