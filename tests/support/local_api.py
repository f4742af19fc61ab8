"""The real API in Serve's local testing mode: real catalogue and job queue, a stub of Ray's Jobs API, no detectors."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO
from unittest.mock import patch

import httpx
from fastapi import FastAPI
from pydantic import TypeAdapter
from ray import serve

from cluster.access.audit import Audit
from cluster.access.credential import open_store, own_key
from cluster.api_queries import By
from cluster.api_types import Problem
from cluster.errors import MediaError
from cluster.people.watch_types import DETECTORS
from cluster.records import Box, MediaItem, Result, asset_id
from cluster.settings import Scanning, Settings
from deployments.access.service import Access
from deployments.api.ingress import Ingress
from deployments.api.searches.search import Found, Shown
from deployments.catalog.catalog import Catalog
from deployments.galleries import pictures
from deployments.jobs.queue import Jobs
from pipelines.ledger.planning import answered_plan
from pipelines.results.verifying import Verified
from tests.deployments.jobs.jobs_api import JobsApi
from tests.support.api_server import AS_ADMIN
from tests.support.fakes.files import FOLDER
from tests.support.fakes.vectors import MemoryVectors

FILM = asset_id(f"{FOLDER}/clip_1.mp4")  # of the fake API's files
_MADE: list[Any] = []  # instances that Serve has created in this process


class KeptCatalog(Catalog):
    """A catalogue in memory that is recorded in _MADE."""

    def __init__(self, audit: Audit) -> None:
        """An empty catalogue."""
        self.memory = MemoryVectors()  # the vectors of faces that tests add
        super().__init__(":memory:", vectors=self.memory, audit=audit)
        _MADE.append(self)


class UnattendedJobs(Jobs):
    """The job queue without its periodic update."""

    def __init__(self, path: Path, settings: Settings) -> None:
        """Like Jobs, with a stub of Ray's Jobs API."""
        super().__init__(path, settings, lambda url: JobsApi(), every_s=None)


class KeptIngress(Ingress.func_or_class):  # type: ignore[name-defined, misc]
    """The API, recorded in _MADE."""

    async def __init__(self, *arguments: Any) -> None:
        """Like Ingress."""
        await super().__init__(*arguments)
        _MADE.append(self)


class OnlyExact:
    """Search without detectors: every search finds one file."""

    def __init__(self, asset: str) -> None:
        """`asset`: its id."""
        self._asset = asset

    async def words(self, words: str, limit: int, scope: object) -> Found:
        """The file, as found by its exact text."""
        hit = {
            "asset": self._asset,
            "score": 1.0,
            "matched": "exact text",
            "detector": "ocr",
            "text": words,
            "time_s": 5.0,
        }
        return Found([hit], ["by meaning: it is away"])

    async def of_file(self, asset: str, by: By) -> Shown:
        """What any file shows."""
        return Shown(by, ((1.0, 0.0),), asset)

    def maker(self, by: By) -> str:
        """The detector of which an upload or a region has its vectors."""
        return "face" if by == "faces" else "clip"

    def vectors_of(self, result: Result, by: By) -> tuple[tuple[float, ...], ...]:
        """The vector of any upload or region."""
        return ((1.0, 0.0),)

    async def by_picture(self, shown: Shown, limit: int, scope: object) -> Found:
        """The file, as similar to any picture."""
        matched = "face" if shown.by == "faces" else "image"
        hit = {"asset": self._asset, "score": 0.5, "matched": matched, "detector": "clip", "text": None, "time_s": None}
        return Found([hit])

    async def words_with(self, words: str, shown: Shown, limit: int, scope: object) -> Found:
        """The file, as found by its exact text."""
        return await self.words(words, limit, scope)


class SpokenOf:
    """Originals that nobody has to have: of each file the same."""

    def open_member(self, uri: str, parent: str, settings: Settings) -> BinaryIO:
        """No file of a container."""
        raise MediaError("fetch", "it is not there")

    def region(self, uri: str, parent: str | None, kind: str, box: Box, at_s: float, settings: Settings) -> bytes:
        """Any part of it."""
        return b"a part"

    def properties(self, uri: str, parent: str | None, kind: str, settings: Settings) -> dict[str, Any]:
        """What a file says about itself: its kind."""
        return {"camera": "a camera", "others": {"kind": kind}}

    def still(self, uri: str, parent: str | None, at_s: float, settings: Settings) -> bytes:
        """No frame of it."""
        raise MediaError("fetch", "it is not there")

    def pixels_at(self, uri: str, parent: str | None, kind: str, time_s: float | None, settings: Settings) -> Any:
        """No pixels of it."""
        raise MediaError("fetch", "it is not there")

    def picture(self, uri: str, parent: str | None, settings: Settings) -> bytes:
        """The same as the frame."""
        return self.still(uri, parent, 0.0, settings)

    def reference(self, path: Path, transparent: bool, settings: Settings) -> bytes:
        """The same bytes, if Pillow reads them, which it does here in this process."""
        try:
            pictures.decode(content := path.read_bytes())
        except pictures.UnusablePicture as error:
            raise MediaError("decode", f"it {error}") from None
        return content

    def part(self, uri: str, parent: str | None, from_s: float, settings: Settings) -> Iterator[str | bytes]:
        """Nothing: it ends before."""
        yield from ()


async def seen(path: Path, name: str, *_: object) -> Result:
    """The analysis of an upload: it is a picture."""
    return Result(MediaItem(name, 1, "", "image"), sha256="ab")


class LocalApi:
    """The API: call its routes as Python methods with `call`, or over HTTP through `app`."""

    def __init__(self, handle: Any, ingress: Any, catalog: KeptCatalog, settings: Settings) -> None:
        """`handle`: of the deployment; `ingress` and `catalog`: the instances behind it."""
        self._handle = handle
        self.store = open_store(settings)  # the same file of keys
        self.audit = Audit(settings.state_dir)
        key = str(own_key(settings))
        self.headers = {"Authorization": f"Bearer {key}"}  # an admin's, of every request over HTTP
        self.ingress = ingress
        self.catalog = catalog
        self.app: FastAPI = ingress.app

    def call(self, method: str, *arguments: Any, **more: Any) -> Any:
        """Call a method of the ingress through the deployment handle, as an admin; returns its result."""
        taken = inspect.signature(getattr(self.ingress, method)).parameters
        given = {name: value for name, value in AS_ADMIN.items() if name in taken}
        return getattr(self._handle, method).remote(*arguments, **given, **more).result()

    def empty_galleries(self) -> None:
        """Remove all people and logos that are looked for."""
        for kind in DETECTORS:
            gallery = self.ingress._gallery(kind)
            for name in {reference.name for reference in gallery.references()}:
                gallery.remove(name)


@contextmanager
def local_api(state: Path) -> Iterator[LocalApi]:
    """Run the API with its state in this folder. Once per process: Serve cannot pickle an application that has run."""
    names = {"names": ["testserver"]}  # the host of Starlette's TestClient
    settings = Settings(state_dir=state, scanning=Scanning(roots=("/",), outs=("/",)), api=names)
    catalog = serve.deployment(KeptCatalog).options(name="catalog").bind(Audit(state))
    jobs = serve.deployment(UnattendedJobs).options(name="jobs").bind(state / "jobs.sqlite", settings)
    verify = lambda out, job, settings: Verified(  # noqa: E731
        units=1, done=1, failed=0, lost=len(out), double=0, vectors_missing=0
    )
    access = serve.deployment(Access).options(name="access").bind(settings)
    bound = serve.deployment(KeptIngress).options(name="api")
    bound = bound.bind({}, catalog, jobs, access, None, seen, verify, answered_plan, settings, SpokenOf())
    handle = serve.run(bound, name="api", _local_testing_mode=True)
    made = {type(instance): instance for instance in _MADE}
    ingress = next(instance for kind, instance in made.items() if issubclass(kind, KeptIngress))
    # routes get their `self` from Serve's replica context, which does not exist here
    with patch.object(serve, "get_replica_context", lambda: SimpleNamespace(servable_object=ingress)):
        yield LocalApi(handle, ingress, made[KeptCatalog], settings)
    made[KeptCatalog].close()
    _MADE.clear()


def read(model: Any, response: httpx.Response) -> Any:
    """The answer as the model, which must have every field of the JSON, and no other."""
    adapter: TypeAdapter[Any] = TypeAdapter(model)
    answer = adapter.validate_json(response.content)
    assert adapter.dump_python(answer, mode="json", exclude_none=model is Problem) == response.json()
    return answer
