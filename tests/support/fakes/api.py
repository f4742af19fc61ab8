"""A fake API for tests of the app: real queries over a real catalogue of synthetic files, and simulated jobs.

Requests and responses have the types of cluster/api_*.py, and the real catalogue filters the files, so that the fake
accepts and returns only what the API does. tests/deployments/api/test_contract.py runs the same tests on both.
To run the app without a cluster: `python -m tests.support.fakes.api 8000`, and start the app separately.
"""

import hashlib
import io
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request, Response, UploadFile
from PIL import Image

from cluster.access.identity import Role
from cluster.api_queries import AssetFilter, AssetQuery, By, LikenessQuery, SearchQuery
from cluster.api_types import (
    Asset,
    AssetPage,
    Detection,
    DetectorInfo,
    ErasedCaches,
    Facets,
    File,
    Health,
    Hit,
    Hits,
    Neighbours,
    Upload,
)
from cluster.cases.overview import Overview, OverviewQuery
from cluster.errors import SettingsError
from cluster.exposure.exposure import ExposureRules
from deployments import problems
from deployments.api.searches.fusion import fused
from deployments.catalog.catalog import Catalog
from tests.support.fakes.cases import FakeCases
from tests.support.fakes.decisions import FakeDecisions
from tests.support.fakes.files import FLOOR, MODELS, as_row, files, picture
from tests.support.fakes.jobs import FakeJobs
from tests.support.fakes.originals import FakeOriginals
from tests.support.fakes.people import FakePeople
from tests.support.fakes.sessions import FakeSessions
from tests.support.fakes.upkeep import FakeUpkeep
from tests.support.fakes.vectors import MemoryVectors
from tests.support.fakes.watch_lists import FakeWatchLists
from tests.support.stored import commit


class FakeApi:
    """The fake; `app` is its ASGI application."""

    def __init__(
        self,
        known: Sequence[File] | None = None,
        searchable: bool = True,
        notes: tuple[str, ...] = (),
        role: Role = "admin",
        exposure: ExposureRules | None = None,
    ) -> None:
        """`known`: the scanned files, newest first. Without `searchable`, searches by words or by a file fail with 503.

        `notes`: the notes on missing parts in the response of a search by words. `role`: of everybody who asks.
        `exposure`: the settings of the organisation.
        """
        self.sessions = FakeSessions(role, exposure or ExposureRules())
        self.notes = notes
        self.files = files() if known is None else list(known)
        self.searchable = searchable
        self.pictures: dict[str, By] = {}  # uploads that were searched by
        self.queries: list[str] = []  # query strings of the requests to /v1/assets
        self.vectors = MemoryVectors()
        self.catalog = Catalog(":memory:", vectors=self.vectors)
        self._load(self.files, "scan-before")
        self.cases = FakeCases(lambda folders: self.catalog.counts([folders])[0])
        self.jobs = FakeJobs(self._load_failed, self.cases.scan_into)
        self.app = FastAPI()
        problems.handle(self.app)
        self.app.add_exception_handler(SettingsError, _refused)
        for path, answer in (
            ("/health", self.health),
            ("/session", self.sessions.show),
            ("/me/exposure", self.sessions.exposure),
            ("/detectors", self.detectors),
            ("/assets", self.assets),
            ("/facets", self.facets),
            ("/cases", self.cases.list_cases),
            ("/overview", self.overview),
            ("/overview/jobs", self.jobs.overview),
            ("/left-out", self.jobs.left_out),
            ("/assets/{asset}", self.asset),
            ("/assets/{asset}/neighbours", self.neighbours),
            ("/search", self.search),
            ("/jobs", self.jobs.list_jobs),
            ("/jobs/{job}", self.jobs.show),
            ("/jobs/{job}/logs", self.jobs.logs),
        ):
            self.app.add_api_route(f"/v1{path}", answer, methods=["GET"])
        for path, answer in (
            ("/session", self.sessions.begin),
            ("/cases", self.cases.add),
            ("/search", self.search_by_picture),
            ("/analyze", self.analyze),
            ("/jobs", self.jobs.submit),
            ("/jobs/plan", self.jobs.plan),
            ("/jobs/{job}/cancel", self.jobs.cancel),
            ("/jobs/{job}/resume", self.jobs.resume),
            ("/jobs/{job}/retry-failed", self.jobs.retry_failed),
        ):
            self.app.add_api_route(f"/v1{path}", answer, methods=["POST"])
        self.originals = FakeOriginals(self.files)
        self.originals.add_routes(self.app)
        self.decisions = FakeDecisions(self.catalog, self.cases.within)
        self.decisions.add_routes(self.app)
        self.people = FakePeople(self.catalog, self.cases.within)
        self.people.add_routes(self.app)
        self.watch_lists = FakeWatchLists(self.catalog, self.cases.within)
        self.watch_lists.add_routes(self.app)
        self.app.add_api_route("/v1/me/exposure", self.sessions.set_exposure, methods=["PUT"])
        self.upkeep = FakeUpkeep()
        self.upkeep.add_routes(self.app)
        self.app.add_api_route("/v1/session", self.sessions.end, methods=["DELETE"], status_code=204)
        self.app.add_api_route("/v1/cases/{name}", self.cases.change, methods=["PATCH"])
        self.app.add_api_route("/v1/cases/{name}", self.cases.remove, methods=["DELETE"], status_code=204)
        self.app.add_api_route("/v1/cache", self.erase_caches, methods=["DELETE"])

    def _load(self, scanned: Sequence[File], job: str) -> None:
        places = {file.id: place for place, file in enumerate(self.files)}
        with TemporaryDirectory() as folder:
            rows = [as_row(file, places[file.id], job) for file in scanned]
            self.vectors.add(rows)
            self.catalog.load(commit(Path(folder), f"{job}.parquet", *rows))

    def add(self, scanned: Sequence[File], job: str = "scan-later") -> None:
        """Store further files, as a scan does while somebody looks at the list."""
        self.files += scanned
        self._load(scanned, job)

    def _load_failed(self, job: str) -> None:
        """Store the failed files again as results of a new job, in which they fail again."""
        if failed := [file for file in self.files if file.errors]:
            self._load(failed, job)

    def health(self) -> Health:
        """The health check."""
        return Health()

    def detectors(self) -> list[DetectorInfo]:
        """The detectors of MODELS."""
        return [
            DetectorInfo(name=name, model=model, floor=FLOOR, modalities=["image"]) for name, model in MODELS.items()
        ]

    def assets(self, query: Annotated[AssetQuery, Query()], request: Request) -> AssetPage:
        """A page of files."""
        self.queries.append(request.url.query)
        return AssetPage(**self.catalog.assets(query, self.cases.within(query.case)))

    def facets(self, query: Annotated[AssetQuery, Query()]) -> Facets:
        """The counts of the filters' options."""
        return Facets(**self.catalog.facets(query, self.cases.within(query.case)))

    def overview(self, query: Annotated[OverviewQuery, Query()]) -> Overview:
        """The files, summarized."""
        return Overview(**self.catalog.overview(query, self.cases.within(query.case)))

    def asset(self, asset: str) -> File:
        """One file."""
        known = self.catalog.asset(asset)
        if known is None:
            raise HTTPException(404, "There is no such file.")
        return File(**known)

    def neighbours(self, asset: str, query: Annotated[AssetQuery, Query()]) -> Neighbours:
        """The files beside one."""
        self.originals.file(asset)
        return Neighbours(**self.catalog.neighbours(asset, query, self.cases.within(query.case)))

    def search(self, query: Annotated[SearchQuery, Query()]) -> Hits:
        """Files with the words in a text or label; with `like`, `picture` or `asset` images or files with faces,
        whatever they show; with both, these too. Of these, those that pass the filters.
        """
        if not self.searchable:
            raise HTTPException(503, "The search index is being rebuilt. Browsing works meanwhile.")
        if query.picture is not None:
            if query.picture not in self.pictures:
                raise HTTPException(404, "that picture is not kept any more: choose the picture again")
            return self._alike(query, self.pictures[query.picture], query.picture)
        if query.like is not None:
            self.originals.file(query.like)
            return self._alike(query, query.by)
        if query.asset is not None:
            self._check_region(query.asset)
            return self._alike(query, query.by)
        exact, similar = self._with_words(str(query.q).lower(), query)
        return Hits(hits=[*exact[: query.limit], *similar[: query.limit]], notes=self.notes)

    def _check_region(self, asset: str) -> None:
        """HTTPException as of the API for who may not see the original, or if it shows nothing."""
        kind = self.originals.file(asset).kind
        if self.sessions.role == "viewer":
            raise HTTPException(403, f"the original of a {kind} needs the role reviewer. Ask an admin for it.")
        if kind not in ("image", "video"):
            raise HTTPException(422, "it is no picture or film: no region of it can be searched by")

    def _with_words(self, words: str, query: AssetFilter) -> tuple[list[Hit], list[Hit]]:
        """The files with the words in a text, and those with a label that has them."""
        exact, similar = list[Hit](), list[Hit]()
        for file in self._passing(query):
            line = next((found for found in file.detections if words in (found.text or "").lower()), None)
            if line is not None:
                at = line.span[0] if line.span else line.time_s
                hit = self._hit(file, "exact text", line.score, line.text, at)
                exact.append(hit.model_copy(update={"detector": line.detector}))
            elif any(words in found.label for found in file.detections):
                similar.append(self._hit(file, "picture", 0.41))
        return exact, similar

    def search_by_picture(self, file: UploadFile, query: Annotated[LikenessQuery, Query()]) -> Hits:
        """Like `search` with `like`, for an upload. An upload with `noface` in its name has no face."""
        if query.by == "faces" and "noface" in (file.filename or ""):
            raise HTTPException(422, "there is no face in that picture")
        id = hashlib.md5(f"{file.filename} {query.by}".encode()).hexdigest()
        self.pictures[id] = query.by
        return self._alike(query, query.by, id)

    def analyze(self, file: UploadFile) -> Upload:
        """The detections of picture(3) for any image; a PDF is refused."""
        content = file.file.read()
        if content.startswith(b"%PDF"):
            raise HTTPException(422, "decode: this is no image, video or audio that can be read.")
        width, height = Image.open(io.BytesIO(content)).size
        return Upload(
            uri=file.filename or "upload",
            sha256=hashlib.sha256(content).hexdigest(),
            kind="image",
            width=width,
            height=height,
            duration_s=None,
            detections=picture(3).detections,
            errors=[],
        )

    def erase_caches(self) -> ErasedCaches:
        """The response of one node with an empty cache."""
        return ErasedCaches(entries={"head": 0}, failed={}, away=[])

    def _passing(self, query: AssetFilter) -> list[File]:
        ids = self.catalog.passing([file.id for file in self.files], query, self.cases.within(query.case))
        return [file for file in self.files if file.id in ids]

    def _alike(self, query: LikenessQuery, by: By, picture: str | None = None) -> Hits:
        files = self._passing(query)
        if by == "faces":
            seen = [file for file in files if _faces(file)][: query.limit]
            hits = [self._hit(file, "face", 0.8 - n / 100, at=_faces(file)[0].time_s) for n, file in enumerate(seen)]
        else:
            pictures = [file for file in files if file.kind == "image"][: query.limit]
            hits = [self._hit(file, "image", 0.9 - n / 50) for n, file in enumerate(pictures)]
        if query.q is not None:
            exact, similar = self._with_words(query.q.lower(), query)
            ids = {hit.asset.id for hit in exact}
            rankings = [[hit for hit in part if hit.asset.id not in ids] for part in (hits, similar)]
            of = {hit.asset.id: hit for hit in chain(*rankings)}
            both = fused([[{"asset": hit.asset.id, "matched": hit.matched} for hit in part] for part in rankings])
            hits = [of[hit["asset"]].model_copy(update={**hit, "asset": of[hit["asset"]].asset}) for hit in both]
            hits = [*exact[: query.limit], *hits[: query.limit]]
        return Hits(hits=hits, picture=picture)

    def _hit(self, file: File, matched: str, score: float, text: str | None = None, at: float | None = None) -> Hit:
        (item,) = self.catalog.items([file.id])
        return Hit(asset=Asset(**item), score=score, matched=matched, text=text, time_s=at)


def _refused(request: Request, error: Exception) -> Response:
    return problems.refusal(request.scope, HTTPException(422, str(error)))


def _faces(file: File) -> list[Detection]:
    return [detection for detection in file.detections if detection.detector == "face"]


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(FakeApi().app, port=int(sys.argv[1]), log_level="warning")
