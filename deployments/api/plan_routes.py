"""The API's route for the plan of a scan: what it would analyse, before it is started."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import Body

from cluster.api_job_types import ScanPlan
from cluster.permissions import job_settings
from cluster.records import ModelVersion
from cluster.settings import Settings
from deployments.access.roles import Operator
from deployments.api.app import api
from deployments.api.guards.places import Places
from deployments.api.job_routes import JobRoutes
from deployments.serving.client import ServedDetectors

# (URIs, folder of results, patterns of names to leave out, models by detector, settings, when to end the listing by
# time.monotonic()) -> the plan. The pipeline's function, passed in, since deployments may not import pipelines.
Plan = Callable[[tuple[str, ...], str, tuple[str, ...], Mapping[str, ModelVersion], Settings, float], ScanPlan]

LISTING_S = 20.0  # then the listing is ended: a person waits
MOST = 2  # plans at a time in one API process: each reads what is stored of the files


class PlanRoutes(JobRoutes):
    """The route of plans, beside those of jobs; the API that inherits them has the detectors."""

    detectors: ServedDetectors
    plan: Plan
    planning = Places()  # for plans that are being made

    @api.post("/v1/jobs/plan")
    async def plan_job(
        self,
        uris: Annotated[list[str], Body(min_length=1)],
        out: Annotated[str | None, Body()] = None,
        detectors: Annotated[list[str] | None, Body()] = None,
        exclude: Annotated[list[str] | None, Body(max_length=1000)] = None,
        *,
        who: Operator,
    ) -> ScanPlan:
        """What a scan would analyse and why, what it would leave out, how long it would take and what it would cost.

        Nothing is analysed or stored. A listing that takes longer than LISTING_S is ended: the plan is not complete.
        """
        what, where, proof = await self._checked(uris, out, detectors or [], "", who)
        with self.planning.take(MOST, f"{MOST} plans are being made: try again in a minute", 60):
            settings = job_settings(self.settings, what, where, proof, who.prefixes)
            wanted = await asyncio.to_thread(self.detectors.current_versions, detectors or self.names)
            left_out = (*settings.scanning.exclude, *(exclude or ()))
            until = time.monotonic() + LISTING_S
            return await asyncio.to_thread(self.plan, tuple(what), where, left_out, wanted, settings, until)
