"""What the API lets its users read and write, by calls of its routes; requests from a security review."""

import asyncio
import inspect
from types import SimpleNamespace
from unittest import mock

import pytest
from fastapi import HTTPException

from cluster.api_types import LoadedRows
from cluster.errors import SettingsError
from cluster.permissions import prove
from cluster.records import asset_id
from cluster.settings import Scanning, Settings
from cluster.storage.roots import OutsideRoots
from deployments.access import authentication
from deployments.api.ingress import Ingress
from deployments.catalog.catalog import Catalog
from deployments.jobs.queue import Jobs
from tests.deployments.jobs.jobs_api import JobsApi
from tests.support.api_server import Recorder, called
from tests.support.listed import put
from tests.support.local_api import SpokenOf
from tests.support.stored import commit, row

MARKER = b"MARKER-7f3a91 top secret line"


class Handle:
    """A deployment's handle to an object of this process: `await handle.method.remote(...)`."""

    def __init__(self, target):
        self.target = target

    def options(self):
        return self

    def __getattr__(self, method):
        async def remote(*arguments, **more):
            answer = getattr(self.target, method)(*arguments, **more)
            return await answer if inspect.isawaitable(answer) else answer

        return SimpleNamespace(remote=remote)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A machine: media that may be scanned, results, a secret beside them, and the operator's token."""
    folder = tmp_path_factory.mktemp("machine")
    put(folder / "media" / "a.jpg", b"a picture")
    put(folder / "media-2" / "b.jpg", b"of another case")
    put(folder / "secret" / "secret.txt", MARKER)
    put(folder / "state" / "ray_token", b"the operator's token")
    return folder


@pytest.fixture(scope="module")
def settings(place):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_AUTH_TOKEN", raising=False)
        patch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
        allowed = Scanning(roots=(str(place / "media"),), outs=(str(place / "found"),))
        yield Settings(state_dir=place / "state", scanning=allowed)


@pytest.fixture(scope="module")
def api(place, settings):
    """Calls of the API's methods. Catalogue and queue are real; no job is started."""
    catalog = Catalog(":memory:")
    jobs = Jobs(place / "state" / "jobs.sqlite", settings, lambda url: JobsApi(), every_s=None)
    routes = Ingress.func_or_class.__base__  # the class without Serve's wrapper: a process can serve one API only
    with mock.patch.object(authentication, "_current", []):  # which an API sets for its whole process
        ingress = routes({}, Handle(catalog), Handle(jobs), Recorder(), None, None, None, None, settings, SpokenOf())
    yield lambda method, *arguments, **more: asyncio.run(called(getattr(ingress, method), *arguments, **more))
    catalog.close()


def submit(api, *uris, out=None, proof=""):
    return api("submit", [str(uri) for uri in uris], out and str(out), None, "normal", proof).job


def media(api, uri, wanted=None):
    """The bytes that the media route gives of a file."""
    answer = api("file", asset_id(str(uri)), wanted)

    async def content():
        return b"".join([piece async for piece in answer.body_iterator])

    return asyncio.run(content())


def scanned(api, place, uri, job="scan-0", kind="image"):
    """A row of a scan, in the results that the API loads; the URI."""
    commit(place / "found", f"{asset_id(str(uri))}.parquet", row(str(uri), job=job, kind=kind))
    api("load", str(place / "found"))
    return str(uri)


def test_a_file_outside_the_roots_is_not_scanned_by_any_spelling_of_its_path(api, place):
    uri = place.as_uri()
    before = api("list_jobs", limit=100)
    (place / "media" / "up").symlink_to("..")
    for hostile in (
        *(f"{uri}/secret/secret.txt", "file:///etc/passwd", "/etc/passwd", f"{uri}/media/../secret/secret.txt"),
        *(f"{uri}/secret", f"{uri}/media-2", f"{uri}", "/", "file:///proc", "file:///proc/self/environ", "/dev/zero"),
        *(f"{uri}/media/up/secret", f"{uri}/media/%2e%2e/secret", "s3://bucket/x", f"{uri}/state/ray_token"),
    ):
        with pytest.raises(OutsideRoots, match=r"scanning\.roots"):
            submit(api, hostile)
        with pytest.raises(OutsideRoots, match=r"scanning\.roots"):
            submit(api, place / "media", hostile)
    (place / "media" / "up").unlink()
    assert api("list_jobs", limit=100) == before


@pytest.mark.parametrize("uri", ["", "/data/\ud800", "file:///%00", "file://host/etc", "zip://x::file:///etc/passwd"])
def test_an_invalid_place_is_refused_with_a_message_wherever_it_is_given(api, place, uri):
    with pytest.raises(SettingsError):
        submit(api, uri)
    with pytest.raises(SettingsError):
        api("load", uri)
    if uri:  # empty: results go where the settings say
        with pytest.raises(SettingsError):
            submit(api, place / "media", out=uri)


@pytest.mark.parametrize("job", ["", ".", "..", "../../../secret", "a/../../b"])
def test_a_job_name_in_a_row_does_not_lead_to_another_folder(api, place, settings, job):
    put(place / "state" / "results" / "_raysift" / "secret" / "queue.json", b"{}")
    with pytest.raises(HTTPException) as error:
        api("job", job)
    assert error.value.status_code == 404
    uri = scanned(api, place, f"{place.as_uri()}/media/a.jpg", job=job)
    assert media(api, uri) == b"a picture"
    assert "scanning.roots" in refused(api, scanned(api, place, f"{place.as_uri()}/secret/secret.txt", job=job))


def test_a_folder_under_a_root_is_scanned(api, place):
    assert list(api("job", submit(api, place / "media")).uris) == [(place / "media").as_uri()]
    assert submit(api, place / "media" / "a.jpg", out=place / "found" / "mine")


def test_results_are_not_written_outside_the_outs(api, place):
    for out in (place / "secret", place / "found-2", place / "found" / ".." / "secret", "/etc", "s3://bucket", "/"):
        with pytest.raises(OutsideRoots, match=r"scanning\.outs"):
            submit(api, place / "media", out=out)


def test_the_media_route_sends_files_under_a_root_and_ranges_of_them(api, place):
    uri = scanned(api, place, (place / "media" / "a.jpg").as_uri())
    assert media(api, uri) == b"a picture"
    assert media(api, uri, "bytes=2-4") == b"pic"


def refused(api, uri):
    with pytest.raises(HTTPException) as error:
        media(api, uri)
    assert error.value.status_code == 404 and MARKER.decode() not in error.value.detail
    return error.value.detail


def test_a_row_alone_does_not_make_a_file_readable(api, place):
    for hostile in (
        (place / "secret" / "secret.txt").as_uri(),
        f"{place.as_uri()}/media/../secret/secret.txt",
        (place / "state" / "ray_token").as_uri(),
        (place / "media-2" / "b.jpg").as_uri(),
        "file:///etc/passwd",
    ):
        assert "scanning.roots" in refused(api, scanned(api, place, hostile))
        job = submit(api, place / "media")  # nor with the name of an existing job
        assert "scanning.roots" in refused(api, scanned(api, place, hostile, job=job))


def test_a_link_in_a_scanned_folder_does_not_lead_the_media_route_outside(api, place):
    link = place / "media" / "x.jpg"
    put(link, b"was a picture when it was scanned")
    uri = scanned(api, place, link.as_uri())
    link.unlink()
    link.symlink_to(place / "secret" / "secret.txt")
    assert "scanning.roots" in refused(api, uri)
    link.unlink()


def test_a_row_without_a_kind_has_no_media(api, place):
    put(place / "media" / "notes.txt", MARKER)
    uri = scanned(api, place, (place / "media" / "notes.txt").as_uri(), kind=None)
    assert "it has no media" in refused(api, uri)


def test_only_results_under_the_outs_or_of_a_job_are_loaded(api, place):
    for out in ("file:///etc", "/", str(place / "secret"), f"{place.as_uri()}/found/../secret", "s3://bucket/results"):
        with pytest.raises(OutsideRoots, match=r"scanning\.outs"):
            api("load", out)
    assert api("load", str(place / "found" / "nothing")) == LoadedRows(rows=0)


def test_the_operator_loads_results_from_anywhere(api, place, settings):
    commit(place / "others", "a.parquet", row("s3://bucket/x.jpg"))
    proof = prove(settings, [], str(place / "others"))
    assert api("load", str(place / "others"), proof) == LoadedRows(rows=1)
    with pytest.raises(OutsideRoots):
        api("load", str(place / "secret"), proof)


def test_the_operator_scans_a_folder_outside_the_roots_whose_files_are_then_shown(api, place, settings):
    case, out = place / "media-2", place / "elsewhere"
    proof = prove(settings, [str(case)], str(out))
    job = submit(api, case, out=out, proof=proof)
    uri = (case / "b.jpg").as_uri()
    commit(out, "a.parquet", row(uri, job=job, minutes=1))
    assert api("load", str(out)) == LoadedRows(rows=1), "it is the folder of a job"
    assert media(api, uri) == b"of another case"
    assert "proof" not in api("job", job).model_dump()
    api("cancel", job)
    assert api("resume", job).state == "waiting"
    put(place / "secret" / "c.jpg")
    for uris, where, shown in (([place / "secret"], out, proof), ([case], place / "secret", proof), ([case], out, "x")):
        with pytest.raises(OutsideRoots):
            submit(api, *uris, out=where, proof=shown)
    assert "scanning.roots" in refused(api, scanned(api, place, (place / "secret" / "c.jpg").as_uri(), job=job))


def test_the_operator_may_leave_out_where_results_go(api, place, settings):
    assert submit(api, place / "media-2", proof=prove(settings, [str(place / "media-2")], None))


def test_a_job_whose_root_was_removed_is_neither_resumed_nor_retried(api, place, settings, tmp_path):
    jobs = Jobs(tmp_path / "jobs.sqlite", settings, lambda url: JobsApi(), every_s=None)
    name = jobs.submit([(place / "secret").as_uri()], (place / "found").as_uri(), [])
    jobs.cancel(name)
    with mock.patch.object(authentication, "_current", []):
        routes = Ingress.func_or_class.__base__(
            {}, Handle(None), Handle(jobs), Recorder(), None, None, None, None, settings, SpokenOf()
        )
    for route in (routes.resume, routes.retry_failed):
        with pytest.raises(OutsideRoots, match=r"scanning\.roots"):
            asyncio.run(called(route, name))


def test_an_allowed_place_that_cannot_be_listed_gives_a_message(api, place):
    with pytest.raises(SettingsError, match="does not exist"):
        submit(api, place / "media" / "gone")
