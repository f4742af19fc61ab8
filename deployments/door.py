"""The HTTP API: FastAPI on Serve. Everything that the app, curl and the command line ask goes through here."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
import asyncio
import shutil
from collections.abc import Awaitable, Callable
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from fastapi import Body, FastAPI, Header, HTTPException, Query, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.middleware.trustedhost import TrustedHostMiddleware

from cluster import buckets
from cluster.errors import SettingsError
from cluster.records import Result
from cluster.settings import Settings
from cluster.vectors import Vectors, VectorsDown
from deployments import media
from deployments.catalog_json import as_upload
from deployments.catalog_sql import AssetQuery
from deployments.detector import detector_class
from deployments.jobs import Jobs, JobsDown
from deployments.planning import configs
from deployments.searching import MOST_BYTES, By, Search
from deployments.serving import ServedDetectors, versions

# A file, its name, the detectors that are to answer: what is in it. The pipeline's own function, handed in by whoever
# builds the application, since deployments may not import pipelines.
Analyze = Callable[[Path, str, frozenset[str], ServedDetectors, Settings], Awaitable[Result]]
Limit = Annotated[int, Query(ge=1, le=200)]

api = FastAPI(
    title="Raysift", version="1", description="What is in your media: ask for files, words, look-alikes, jobs."
)
# a page on another site must not reach this API by a name that it lets point to 127.0.0.1
api.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "testserver"])


@api.exception_handler(SettingsError)
async def _operators_fault(_: Any, error: SettingsError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=422)


@api.exception_handler(RequestValidationError)
async def _callers_fault(_: Any, error: RequestValidationError) -> JSONResponse:
    first = error.errors()[0]
    return JSONResponse({"detail": f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"}, status_code=422)


@api.exception_handler(JobsDown)
async def _no_jobs(_: Any, error: JobsDown) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=503)


@api.exception_handler(VectorsDown)
async def _no_search(_: Any, error: VectorsDown) -> JSONResponse:
    return JSONResponse({"detail": f"search is unavailable: {error}; browsing still works"}, status_code=503)


@serve.deployment(ray_actor_options={"num_cpus": 0.1}, max_ongoing_requests=100, graceful_shutdown_timeout_s=5)
@serve.ingress(api)
class Door:
    """The one way in for people and programs."""

    def __init__(
        self,
        detectors: dict[str, DeploymentHandle[Any]],
        catalog: DeploymentHandle[Any],
        analyze: Analyze,
        settings: Settings,
    ) -> None:
        self.settings = settings
        self.detectors = ServedDetectors(detectors, versions(settings), settings.scanning.attempts)
        self.catalog = catalog
        self.analyze = analyze
        vectors = Vectors(settings.chroma.url)
        self.searching = Search(self.detectors, catalog, vectors, configs(settings))

    @api.get("/v1/health")
    async def health(self) -> dict[str, str]:
        """Alive: the API answers."""
        return {"status": "ok"}

    @api.get("/v1/ready")
    async def ready(self, response: Response) -> dict[str, Any]:
        """Ready: every detector finds something on its own example, asked now. 503 until then."""

        async def state(name: str) -> str:
            try:
                found = await asyncio.wait_for(self.detectors.handles[name].answers_example.remote(name), 60)
            except Exception as error:  # whatever it is, the answer is that this detector is not ready
                return f"it does not answer: {type(error).__name__}"
            return "ok" if found else "it finds nothing on its own example"

        names = list(self.detectors.handles)
        states = dict(zip(names, await asyncio.gather(*map(state, names)), strict=True))
        ready = all(word == "ok" for word in states.values())
        response.status_code = 200 if ready else 503
        return {"ready": ready, "detectors": states}

    @api.get("/v1/detectors")
    async def list_detectors(self) -> list[dict[str, Any]]:
        """The detectors that run here, and what each of their replicas has counted: out of memory, dropped, let go."""
        events = await self.detectors.events()
        return [
            {
                "name": name,
                "model": model,
                "modalities": sorted(detector_class(name).modalities),
                "events": events.get(name, []),
            }
            for name, model in self.detectors.models.items()
        ]

    @api.post("/v1/detect/{name}")
    async def detect(self, name: str, file: UploadFile) -> dict[str, Any]:
        """What one detector finds in an uploaded file."""
        if name not in self.detectors.handles:
            there = ", ".join(sorted(self.detectors.handles))
            raise HTTPException(404, f"no detector {name!r}; there are {there}")
        found = as_upload(await self._analyze(file, frozenset([name])))
        if found["errors"]:
            raise HTTPException(422, found["errors"][0]["reason"])
        return {"detector": name, "model": self.detectors.models[name], "detections": found["detections"]}

    @api.post("/v1/analyze")
    async def analyze_upload(self, file: UploadFile) -> dict[str, Any]:
        """What every detector finds in an uploaded file: the same steps as a scan's, nothing is stored."""
        return as_upload(await self._analyze(file, frozenset(self.detectors.handles)))

    async def _analyze(self, upload: UploadFile, wanted: frozenset[str]) -> Result:
        if (upload.size or 0) > self.settings.decoding.max_bytes:
            raise HTTPException(413, f"it has {upload.size:,} bytes; decoding.max_bytes allows less")
        with TemporaryDirectory(prefix="raysift-upload-") as folder:
            path = Path(folder) / "upload"  # an upload's own name never reaches a disk
            with path.open("wb") as copy:
                await asyncio.to_thread(shutil.copyfileobj, upload.file, copy, media.PIECE_BYTES)
            return await self.analyze(path, upload.filename or "upload", wanted, self.detectors, self.settings)

    @api.get("/v1/assets")
    async def assets(self, query: Annotated[AssetQuery, Query()]) -> dict[str, Any]:
        """The files that were scanned: filtered, sorted, one page of them."""
        return await self.catalog.assets.remote(query)

    @api.get("/v1/facets")
    async def facets(self, query: Annotated[AssetQuery, Query()]) -> dict[str, Any]:
        """How many files each kind, detector and label would leave under the same filters."""
        return await self.catalog.facets.remote(query)

    @api.get("/v1/assets/{asset}")
    async def asset(self, asset: str) -> dict[str, Any]:
        """All that is known of one file."""
        found = await self.catalog.asset.remote(asset)
        if found is None:
            raise HTTPException(404, f"no file {asset!r} has been scanned")
        return found

    @api.get("/v1/assets/{asset}/thumbnail")
    async def thumbnail(self, asset: str) -> Response:
        """A JPEG of at most 320 px, as the file is: blurring is up to the viewer."""
        found = await self.catalog.thumbnail.remote(asset)
        if found is None:
            raise HTTPException(404, "it has no thumbnail")
        return Response(found, media_type="image/jpeg", headers=media.PRIVATE)

    @api.get("/v1/assets/{asset}/media")
    async def file(self, asset: str, range: Annotated[str | None, Header()] = None) -> Response:
        """The file itself, or the part of it that a Range header asks for."""
        uri = await self.catalog.uri.remote(asset)
        if uri is None:
            raise HTTPException(404, f"no file {asset!r} has been scanned")
        return await asyncio.to_thread(media.answer, uri, range, self.settings.s3_endpoint)

    @api.get("/v1/search")
    async def search(
        self, q: str | None = None, like: str | None = None, by: By = "looks", limit: Limit = 40
    ) -> dict[str, Any]:
        """Files by words (in the picture, read, said), or those like one of them by its looks or by its faces."""
        if (q is None) == (like is None):
            raise HTTPException(422, "search takes either q=words or like=a file's id")
        found = self.searching.like(like, by, limit) if like else self.searching.words(str(q), limit)
        return await self._shown(await found)

    @api.post("/v1/search")
    async def search_by_picture(self, file: UploadFile, by: By = "looks", limit: Limit = 40) -> dict[str, Any]:
        """Files that look like an uploaded picture, or that show a person of its. The upload is not kept."""
        if (file.size or 0) > MOST_BYTES:
            raise HTTPException(413, f"a picture to search by may have {MOST_BYTES >> 20} MB; this has more")
        result = await self._analyze(file, frozenset([self.searching.maker(by)]))
        return await self._shown(await self.searching.picture(result, by, limit))

    async def _shown(self, hits: list[dict[str, Any]]) -> dict[str, Any]:
        items = {item["id"]: item for item in await self.catalog.items.remote([hit["asset"] for hit in hits])}
        return {"hits": [hit | {"asset": items[hit["asset"]]} for hit in hits if hit["asset"] in items]}

    @api.post("/v1/results/load")
    async def load(self, out: Annotated[str, Body(embed=True)]) -> dict[str, int]:
        """Bring what others than a scan have stored in a folder of results into the catalogue; the number of rows."""
        return {"rows": await self.catalog.load_all.remote(buckets.normalize(out), self.settings.s3_endpoint)}

    @api.delete("/v1/people/{name}")
    async def forget(self, name: str) -> dict[str, int]:
        """Take the hits of a person out of the catalogue; `raysift people purge` has taken them out of the results."""
        return {"hits": await self.catalog.forget.remote("face", name)}

    @api.post("/v1/jobs")
    async def submit(
        self,
        uris: Annotated[list[str], Body(min_length=1)],
        out: Annotated[str | None, Body()] = None,
        detectors: Annotated[list[str] | None, Body()] = None,
    ) -> dict[str, str]:
        """Scan folders or buckets; results go to `out`, or where the settings say."""
        for name in detectors or []:
            if name not in self.detectors.handles:
                raise HTTPException(422, f"no detector {name!r}; there are {', '.join(sorted(self.detectors.handles))}")
        where = buckets.normalize(out or self.settings.results)
        what = [buckets.normalize(uri) for uri in uris]
        for uri in what:  # what cannot be listed is said now, not by a job that fails
            await asyncio.to_thread(next, buckets.list_media(uri, self.settings.s3_endpoint), None)
        return {"job": await asyncio.to_thread(self.jobs.submit, what, where, detectors or [])}

    @api.get("/v1/jobs")
    async def list_jobs(self) -> list[dict[str, Any]]:
        """Every scan of this cluster, newest first."""
        return await asyncio.to_thread(self.jobs.all, await self.catalog.jobs.remote())

    @api.get("/v1/jobs/{job}")
    async def job(self, job: str) -> dict[str, Any]:
        """One scan and how far it is; what it found, once it is over."""
        facts = (await self.catalog.jobs.remote()).get(job, {})
        found = await asyncio.to_thread(self.jobs.one, job, facts)
        if found is None:
            raise HTTPException(404, f"no job {job!r}")
        over = found["state"] in ("finished", "failed")
        return found | {"summary": await self.catalog.summary.remote(job) if over else None}

    @cached_property
    def jobs(self) -> Jobs:
        return Jobs(self.settings)
