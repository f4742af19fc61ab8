"""The HTTP API: FastAPI on Serve. The app, curl and the command line call it."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, Header, HTTPException, Query, Request, Response
from ray import serve
from ray.serve.handle import DeploymentHandle

from cluster.access.identity import Identity
from cluster.api_queries import AssetQuery, LikenessQuery, SearchQuery
from cluster.api_types import (
    AssetPage,
    DetectorAnswer,
    DetectorInfo,
    ErasedCaches,
    Facets,
    File,
    Health,
    Hits,
    LoadedRows,
    Ready,
    Upload,
)
from cluster.logs import setup
from cluster.permissions import check_out, job_settings, limited, proved
from cluster.records import Result
from cluster.settings import Settings
from cluster.storage import buckets
from cluster.storage.roots import Roots
from cluster.vectors import Vectors
from deployments import ray_metrics
from deployments.access import authentication, blurring, roles
from deployments.access.pending import PendingRecords
from deployments.access.purposes import purpose
from deployments.access.roles import Admin, Anybody, OperatorOfAll, Reviewer, Viewer, address
from deployments.api import media, uploads
from deployments.api.access_routes import AccessRoutes
from deployments.api.app import MOST_REQUESTS, api
from deployments.api.calls import ACCESS_S, CATALOG_S, JOBS_S, TimedHandle
from deployments.api.cases.overview_routes import OverviewRoutes
from deployments.api.exports.routes import ExportRoutes
from deployments.api.guards import quotas
from deployments.api.guards.origin import answer_to
from deployments.api.guards.quotas import Quotas
from deployments.api.job_routes import JobRoutes, Verify
from deployments.api.node_caches import erase_cluster
from deployments.api.people.pictures import FacePictures, ReadFrame
from deployments.api.people.routes import PeopleRoutes
from deployments.api.reviews.routes import ReviewRoutes
from deployments.api.sample_routes import SampleRoutes
from deployments.api.search import MOST_BYTES, STORE_DEADLINE_S, Found, Search
from deployments.catalog.shapes import as_upload
from deployments.detector import detector_class
from deployments.serving.client import ServedDetectors
from deployments.serving.health import Readiness
from deployments.serving.placement import configs, versions

# (path, file name, names of detectors, detectors, settings) -> result. The pipeline's function, passed in by the
# builder of the application, since deployments may not import pipelines.
Analyze = Callable[[Path, str, frozenset[str], ServedDetectors, Settings], Awaitable[Result]]


# before the class: serve.ingress pickles the routes with the names that are defined by then
async def _answer(result: Result) -> Upload:
    """The answer to an upload. It is made in a thread: a film has thousands of detections."""
    return Upload(**await asyncio.to_thread(as_upload, result))


@serve.deployment(
    ray_actor_options={"num_cpus": 0.1},
    max_ongoing_requests=MOST_REQUESTS,
    graceful_shutdown_timeout_s=5,
)
@serve.ingress(api)
class Ingress(AccessRoutes, ExportRoutes, JobRoutes, OverviewRoutes, PeopleRoutes, ReviewRoutes, SampleRoutes):
    """The HTTP API with all its routes."""

    def __init__(
        self,
        detectors: dict[str, DeploymentHandle[Any]],
        catalog: DeploymentHandle[Any],
        jobs: DeploymentHandle[Any],
        access: DeploymentHandle[Any],
        analysis: DeploymentHandle[Any]
        | None,  # which drivers call; here it makes the deployment part of the application
        analyze: Analyze,
        verify: Verify,
        settings: Settings,
        open_member: media.OpenMember,
        read_frame: ReadFrame,
    ) -> None:
        ray_metrics.report()
        setup.join_serve()
        self.settings = settings
        answer_to(settings)
        list(roles.roles(api.routes))  # no route without a role
        self.access = TimedHandle(access, "the owner of the keys", ACCESS_S)
        self.pending = PendingRecords(self.access)
        authentication.use(authentication.Verifier(self.access))
        self.names = list(detectors)
        self.readiness = Readiness(detectors)
        self.jobs = TimedHandle(jobs, "the queue of jobs", JOBS_S)
        self.verify = verify
        self.detectors = ServedDetectors(detectors, versions(settings), configs(settings))
        self.catalog = TimedHandle(catalog, "the catalogue", CATALOG_S)
        self.analyze, self.open_member = analyze, open_member
        vectors = Vectors.configured(settings, STORE_DEADLINE_S)
        self.searching = Search(self.detectors, self.catalog, vectors, configs(settings))
        self.viewed = media.Viewed()
        self.face_pictures = FacePictures(read_frame)
        self.quotas = Quotas(settings.limits)
        quotas.set_quotas(self.quotas)
        for handle in {*detectors.values(), catalog, jobs, access}:
            handle.options()  # connect now: connecting needs the head, which may be unavailable later

    @api.get("/v1/health")
    async def health(self, _: Anybody) -> Health:
        """Liveness: the API answers."""
        return Health()

    @api.get("/v1/ready", responses={503: {"model": Ready}})
    async def ready(self, response: Response, who: Anybody) -> Ready:
        """Readiness: each detector finds something in its example, did so lately, or is asleep. Else 503, within 8 s.

        An answer is valid for 5 s, for all callers. Without a key it names no detector.
        """
        detectors = await self.readiness.detectors()
        ready = all(health.state.is_ready for health in detectors.values())
        response.status_code = 200 if ready else 503
        return Ready(ready=ready, detectors=detectors if who else {})

    @api.get("/v1/detectors")
    async def list_detectors(self, _: Viewer) -> list[DetectorInfo]:
        """The enabled detectors, with the event counts of each replica, such as batches halved for lack of memory."""
        events = await self.detectors.events()
        return [
            DetectorInfo(
                name=name,
                model=model_version.model,
                floor=model_version.floor,
                modalities=sorted(detector_class(name).modalities),
                events=tuple(events.get(name, [])),
            )
            for name, model_version in self.detectors.model_versions.items()
        ]

    @api.post("/v1/detect/{name}", openapi_extra=uploads.FORM, max_body_size=uploads.NO_LIMIT)
    async def detect(self, name: str, request: Request, who: Reviewer) -> DetectorAnswer:
        """What one detector finds in an uploaded file."""
        if name not in self.detectors.handles:
            there = ", ".join(sorted(self.detectors.handles))
            raise HTTPException(404, f"no detector {name!r}; there are {there}")
        upload = await _answer(await self._analyze(request, who, frozenset([name])))
        if upload.errors:
            raise HTTPException(422, upload.errors[0].reason)
        model = self.detectors.model_versions[name].model
        return DetectorAnswer(detector=name, model=model, detections=upload.detections)

    @api.post("/v1/analyze", openapi_extra=uploads.FORM, max_body_size=uploads.NO_LIMIT)
    async def analyze_upload(self, request: Request, who: Reviewer) -> Upload:
        """What every detector finds in an uploaded file: the same steps as a scan's, nothing is stored."""
        return await _answer(await self._analyze(request, who, frozenset(self.detectors.handles)))

    async def _analyze(
        self, request: Request, who: Identity, wanted: frozenset[str], most_bytes: int | None = None
    ) -> Result:
        """What these detectors find in the file of a form. HTTPException as of `uploads` and `Quotas`.

        A search for faces, which may name people, is recorded before its result is known to anybody; while the head is
        away, as soon as it is back.
        """
        why = purpose(request, self.settings.access, needed="face" in wanted)
        most_bytes = most_bytes or self.settings.decoding.max_bytes
        with self.quotas.analysing(who, uploads.declared_bytes(request, most_bytes)) as count:
            async with uploads.received(request, most_bytes, count) as upload:
                result = await self.analyze(upload.path, upload.name, wanted, self.detectors, self.settings)
        if "face" in wanted:
            await self.pending.record(who, "faces of an upload compared", result.sha256 or "", address(request), **why)
        return result

    @api.get("/v1/assets")
    async def assets(self, query: Annotated[AssetQuery, Query()], who: Viewer) -> AssetPage:
        """The files that were scanned: filtered, sorted, one page of them."""
        return AssetPage(**await self.catalog.assets.remote(query, await self.within(query.case, who)))

    @api.get("/v1/facets")
    async def facets(self, query: Annotated[AssetQuery, Query()], who: Viewer) -> Facets:
        """How many files each kind, detector and label would leave under the same filters."""
        return Facets(**await self.catalog.facets.remote(query, await self.within(query.case, who)))

    @api.get("/v1/assets/{asset}")
    async def asset(self, asset: str, who: Viewer) -> File:
        """One file with all its detections."""
        found = await self.catalog.asset.remote(asset, who.prefixes)
        if found is None:
            raise HTTPException(404, f"no file {asset!r} has been scanned")
        return File(**found)

    @api.get("/v1/assets/{asset}/thumbnail", response_class=Response, responses=media.JPEG)
    async def thumbnail(self, asset: str, who: Viewer) -> Response:
        """A JPEG of at most 320 px. For a viewer it is blurred where the file is explicit or shows faces."""
        found = await self.catalog.thumbnail.remote(asset, who.prefixes)
        if found is None:
            raise HTTPException(404, "it has no thumbnail")
        shown = found["jpeg"] if who.may("reviewer") else await asyncio.to_thread(blurring.for_viewer, found)
        return Response(shown, media_type="image/jpeg", headers=media.PRIVATE)

    @api.get("/v1/assets/{asset}/media", response_class=Response, responses=media.ANY_TYPE)
    async def file(
        self, asset: str, range: Annotated[str | None, Header()] = None, *, request: Request, who: Viewer
    ) -> Response:
        """The file itself, or the part of it that a Range header asks for; of a member of a container, the member.

        A viewer gets the thumbnail of a picture, blurred, and no other media.
        """
        row = await self.catalog.location.remote(asset, who.prefixes)
        if row is None:
            raise HTTPException(404, f"no file {asset!r} has been scanned")
        uri = row["uri"]
        if row["kind"] is None:
            raise HTTPException(404, f"{uri} is no picture, video or recording that Raysift can read: it has no media")
        if not who.may("reviewer"):
            if row["kind"] == "image":
                return await self.thumbnail(asset, who)
            raise HTTPException(403, f"the original of a {row['kind']} needs the role reviewer. Ask an admin for it.")
        where, why = address(request), purpose(request, self.settings.access, needed=blurring.is_explicit(row))
        record = partial(self.access.record.remote, who, "original viewed", asset, where, **why)
        await self.viewed.once(who, asset, record)  # it is on disk before the first byte is sent
        settings = await self.readable(row, who)
        if (parent := row.get("parent")) is not None:
            return await asyncio.to_thread(media.answer_member, uri, parent, range, self.open_member, settings)
        roots = Roots(settings.scanning.roots)
        return await asyncio.to_thread(media.answer, uri, range, settings.s3_endpoint, roots)

    async def readable(self, row: Mapping[str, Any], who: Identity) -> Settings:
        """The settings with which a caller may read the original of a file of `Catalog.location`."""
        job = await self.jobs.one.remote(row["job"])
        settings = job_settings(self.settings, job.uris, job.out, job.proof) if job else self.settings
        return limited(settings, who.prefixes)  # a link may lead from one case into another

    @api.get("/v1/search")
    async def search(self, query: Annotated[SearchQuery, Query()], request: Request, who: Viewer) -> Hits:
        """Files that match words (shown, written or spoken), or that resemble a file by its image or its faces."""
        within = await self.within(query.case, who)
        if query.like is not None:
            limited_to = who.prefixes  # only then it is looked up: what is not there has no vector either
            if limited_to is not None and await self.catalog.location.remote(query.like, limited_to) is None:
                raise HTTPException(404, f"no file {query.like!r} has been scanned")
            if query.by == "faces":
                why = purpose(request, self.settings.access)
                await self.access.record.remote(who, "searched by a face", query.like, address(request), **why)
            hits = await self.searching.like(query.like, query.by, query.limit, within)
        else:
            hits = await self.searching.words(str(query.q), query.limit, within)
        return await self._shown(hits, who)

    @api.post("/v1/search", openapi_extra=uploads.FORM, max_body_size=uploads.NO_LIMIT)
    async def search_by_picture(self, request: Request, query: Annotated[LikenessQuery, Query()], who: Viewer) -> Hits:
        """Files that look like an uploaded picture, or that show a person seen in it. The upload is not kept."""
        within = await self.within(query.case, who)
        result = await self._analyze(request, who, frozenset([self.searching.maker(query.by)]), MOST_BYTES)
        return await self._shown(await self.searching.picture(result, query.by, query.limit, within), who)

    async def _shown(self, found: Found, who: Identity) -> Hits:
        ids = [hit["asset"] for hit in found.hits]
        items = {item["id"]: item for item in await self.catalog.items.remote(ids, who.prefixes)}
        hits = [hit | {"asset": items[hit["asset"]]} for hit in found.hits if hit["asset"] in items]
        return Hits(hits=hits, notes=tuple(found.notes))

    @api.post("/v1/results/load")
    async def load(
        self, out: Annotated[str, Body(embed=True)], proof: Annotated[str, Body()] = "", *, _: OperatorOfAll
    ) -> LoadedRows:
        """Load a folder of results into the catalogue and return the number of rows; a scan does this by itself.

        The folder must be that of a job, or lie under `scanning.outs`, or `proof` must show that the operator asks.
        """
        where = buckets.normalize(out)
        if not proved(self.settings, [], where, proof) and not await self.jobs.has_out.remote(where):
            await asyncio.to_thread(check_out, self.settings, where)
        return LoadedRows(rows=await self.catalog.load_all.remote(where, self.settings.s3_endpoint))

    @api.delete("/v1/cache")
    async def erase_caches(self, request: Request, who: Admin) -> ErasedCaches:
        """Delete every cached answer on every node and in Redis. Nodes that are down do it when they are back."""
        await self.access.record.remote(who, "caches erased", where=address(request))
        return await asyncio.to_thread(erase_cluster, self.settings)
