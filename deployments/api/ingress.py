"""The HTTP API: FastAPI on Serve. The app, curl and the command line call it."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
import asyncio
from typing import Annotated, Any

from fastapi import Body, HTTPException, Query, Request, Response
from ray import serve
from ray.serve.handle import DeploymentHandle

from cluster.api_queries import AssetQuery
from cluster.api_types import (
    AssetPage,
    DetectorInfo,
    ErasedCaches,
    Facets,
    File,
    Health,
    LoadedRows,
    Neighbours,
    Ready,
)
from cluster.logs import setup
from cluster.metrics.declared import FIRST_PAINT
from cluster.metrics.recording import record
from cluster.permissions import check_out, proved
from cluster.settings import Settings
from cluster.storage import buckets
from cluster.traces import exporting
from cluster.vectors import Vectors
from deployments import ray_metrics
from deployments.access import authentication, roles
from deployments.access.client_address import address
from deployments.access.pending import PendingRecords
from deployments.access.roles import Admin, Anybody, OperatorOfAll, Viewer
from deployments.api import media
from deployments.api.access_routes import AccessRoutes
from deployments.api.app import MOST_REQUESTS, api
from deployments.api.calls import ACCESS_S, CATALOG_S, JOBS_S, TimedHandle
from deployments.api.cases.overview_routes import OverviewRoutes
from deployments.api.exports.routes import ExportRoutes
from deployments.api.guards import quotas
from deployments.api.guards.origin import answer_to
from deployments.api.guards.quotas import Quotas
from deployments.api.job_routes import Verify
from deployments.api.media_routes import COPIES, MediaRoutes
from deployments.api.node_caches import erase_cluster
from deployments.api.people.pictures import FacePictures
from deployments.api.people.watch_list import WatchListRoutes
from deployments.api.plan_routes import Plan, PlanRoutes
from deployments.api.reports.routes import ReportRoutes
from deployments.api.reviews.routes import ReviewRoutes
from deployments.api.sample_routes import SampleRoutes
from deployments.api.searches.near import STORE_DEADLINE_S
from deployments.api.searches.routes import SearchRoutes
from deployments.api.searches.search import Search
from deployments.api.upkeep.readings import ClusterReadings
from deployments.api.upkeep.routes import UpkeepRoutes, weights_of
from deployments.api.upload_routes import Analyze
from deployments.detector import detector_class
from deployments.serving.client import ServedDetectors
from deployments.serving.health import Readiness
from deployments.serving.placement import configs, versions

PAINT_S = 600.0  # what took longer was no page that somebody waited for


@serve.deployment(
    ray_actor_options={"num_cpus": 0.1},
    max_ongoing_requests=MOST_REQUESTS,
    graceful_shutdown_timeout_s=60,  # for requests that it answers while another replica takes its place
)
@serve.ingress(api)
class Ingress(
    AccessRoutes,
    ExportRoutes,
    MediaRoutes,
    OverviewRoutes,
    PlanRoutes,
    ReportRoutes,
    ReviewRoutes,
    SampleRoutes,
    SearchRoutes,
    UpkeepRoutes,
    WatchListRoutes,
):
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
        plan: Plan,
        settings: Settings,
        originals: media.Originals,
    ) -> None:
        ray_metrics.report()
        setup.join_serve()
        exporting.start(settings.traces, "api")
        self.settings = settings
        answer_to(settings)
        list(roles.roles(api.routes))  # no route without a role
        self.access = TimedHandle(access, "the owner of the keys", ACCESS_S)
        self.pending = PendingRecords(self.access)
        authentication.use(authentication.Verifier(self.access))
        self.names = list(detectors)
        self.readiness = Readiness(detectors)
        self.jobs = TimedHandle(jobs, "the queue of jobs", JOBS_S)
        self.verify, self.plan = verify, plan
        self.detectors = ServedDetectors(detectors, versions(settings), configs(settings))
        self.catalog = TimedHandle(catalog, "the catalogue", CATALOG_S)
        self.readings = ClusterReadings(self.readiness, self.names, settings.ray.dashboard_url)
        self.weights = weights_of(self.detectors, settings)
        self.analyze, self.originals = analyze, originals
        vectors = Vectors.configured(settings, STORE_DEADLINE_S)
        self.searching = Search(self.detectors, self.catalog, vectors, configs(settings))
        self.viewed, self.copying = media.Viewed(), media.Turns(COPIES)
        self.face_pictures = FacePictures(originals.pixels_at)
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

    @api.post("/v1/first-paint", status_code=204)
    async def painted(self, seconds: Annotated[float, Body(embed=True, ge=0, le=PAINT_S)], _: Viewer) -> Response:
        """Note the time from the request of a page of the app to its first paint, as a browser has measured it."""
        record(FIRST_PAINT, seconds)
        return Response(status_code=204)

    @api.get("/v1/detectors")
    async def list_detectors(self, _: Viewer) -> list[DetectorInfo]:
        """The enabled detectors, with the event counts of each replica, such as batches halved for lack of memory."""
        events = await self.detectors.events()
        current = await asyncio.to_thread(self.detectors.current_versions, self.names)
        return [
            DetectorInfo(
                name=name,
                model=model_version.model,
                floor=model_version.floor,
                modalities=sorted(detector_class(name).modalities),
                events=tuple(events.get(name, [])),
            )
            for name, model_version in current.items()
        ]

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

    @api.get("/v1/assets/{asset}/neighbours")
    async def neighbours(self, asset: str, query: Annotated[AssetQuery, Query()], who: Viewer) -> Neighbours:
        """The files before and after one, among those that pass the filters, in their order. Pages do not matter."""
        found = await self.catalog.neighbours.remote(asset, query, await self.within(query.case, who))
        if found["place"] is None and await self.catalog.location.remote(asset, who.prefixes) is None:
            raise HTTPException(404, f"no file {asset!r} has been scanned")
        return Neighbours(**found)

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
