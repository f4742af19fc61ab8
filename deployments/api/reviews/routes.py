"""The API's routes for decisions on files, and for queues of files to review."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import HTTPException, Query, Request, Response

from cluster.access.identity import Identity
from cluster.api_types import ProblemType
from cluster.decisions.api_types import (
    AllWritten,
    AssetDecision,
    AssetDecisions,
    Decision,
    DecisionChanged,
    DecisionPage,
    DecisionQuery,
    NewDecision,
    NewDecisions,
    NextReview,
    Progress,
    Release,
    ReviewItem,
    ReviewQueue,
    Undo,
    Written,
)
from cluster.decisions.entries import Conflict
from cluster.errors import SettingsError
from cluster.settings import Settings
from deployments import problems
from deployments.access.client_address import address
from deployments.access.roles import Reviewer, Viewer
from deployments.api.app import api
from deployments.api.calls import TimedHandle
from deployments.api.cases.routes import CaseRoutes

CHANGED: dict[int | str, dict[str, Any]] = {409: {"model": DecisionChanged}}


class ReviewRoutes(CaseRoutes):
    """The routes; the API that inherits them has the catalogue."""

    settings: Settings
    catalog: TimedHandle

    @api.get("/v1/decisions")
    async def decisions(self, query: Annotated[DecisionQuery, Query()], who: Viewer) -> DecisionPage:
        """What was decided, newest first; one page of it."""
        return await self.catalog.decisions.remote(query, who.prefixes)

    @api.post("/v1/decisions")
    async def decide_several(self, new: NewDecisions, request: Request, who: Reviewer) -> AllWritten:
        """Decide on several files. Each is stored unless somebody else has decided meanwhile; the answer says which."""
        written = await self._decide(new.decisions, request, who)
        return AllWritten(outcomes=tuple(written))

    @api.get("/v1/assets/{asset}/decision")
    async def decision(self, asset: str, who: Viewer) -> AssetDecisions:
        """The decision on a file, with its history."""
        found = await self.catalog.decision.remote(asset, self.settings.review, who.prefixes)
        if found is None:
            raise _unknown(asset)
        return found

    @api.put("/v1/assets/{asset}/decision", responses=CHANGED)
    async def decide(self, asset: str, new: NewDecision, request: Request, who: Reviewer) -> Decision:
        """Decide on a file. 409, with the present decision, if `version` is not that of the present one."""
        # the id is not checked here: one that is none is not found
        of_asset = AssetDecision.model_construct(asset=asset, **dict(new))
        (written,) = await self._decide([of_asset], request, who)
        if written.outcome == "not found":
            raise _unknown(asset)
        if written.outcome == "changed":
            raise DecisionConflict(written.decision)
        assert written.decision is not None  # it is stored
        return written.decision

    @api.post("/v1/assets/{asset}/decision/undo", responses=CHANGED)
    async def undo_decision(self, asset: str, seen: Undo, request: Request, who: Reviewer) -> Decision:
        """Take back the present decision: the one before it holds again. Both stay in the history. 409 as of PUT."""
        outcome = await self.catalog.undo.remote(asset, seen.version, who, address(request))
        if outcome is None:
            raise HTTPException(404, f"no file {asset!r} has been scanned, or there is no decision on it to take back")
        if isinstance(outcome, Conflict):
            raise DecisionConflict(outcome.present)
        return outcome

    @api.post("/v1/review/next")
    async def next_review(self, wanted: NextReview, who: Reviewer) -> ReviewItem:
        """The next file of a queue. It is kept for the caller until it is decided, or the time `until`."""
        within = await self.within(wanted.filter.case, who)
        return await self.catalog.next_review.remote(wanted, who, self.settings.review.lock_s, within)

    @api.post("/v1/review/release", status_code=204)
    async def release_review(self, left: Release, who: Reviewer) -> Response:
        """Leave a file to other reviewers."""
        await self.catalog.release.remote(left.asset, who)
        return Response(status_code=204)

    @api.post("/v1/review/progress")
    async def review_progress(self, queue: ReviewQueue, who: Reviewer) -> Progress:
        """How many files of a queue are decided, and how many decisions were made within the last hour."""
        return await self.catalog.progress.remote(queue, who, await self.within(queue.filter.case, who))

    async def _decide(self, new: Sequence[AssetDecision], request: Request, who: Identity) -> list[Written]:
        """Have the catalogue store and record these decisions."""
        labels = self.settings.review.labels
        for decision in new:
            if decision.label not in labels:
                there = ", ".join(labels)
                raise SettingsError(f"label: there is no label {decision.label!r}; review.labels has {there}.")
        written: list[Written] = await self.catalog.decide.remote(new, who, address(request))
        return written


class DecisionConflict(Exception):
    """The decision that a reviewer saw is not the present one."""

    def __init__(self, present: Decision | None) -> None:
        super().__init__()
        self.present = present


@api.exception_handler(DecisionConflict)
async def _conflict(request: Request, error: DecisionConflict) -> Response:
    """409: problem details with the present decision."""
    present = error.present
    by = "it was taken back"
    if present is not None:
        by = f"{present.who} has {'taken it back' if present.undo else f'decided {present.label!r}'}"
    problem = DecisionChanged(
        type=ProblemType.DECISION_CHANGED,
        title="The decision has changed",
        status=409,
        detail=f"meanwhile {by}: look at it, and send its version to decide again",
        instance=quote(request.scope["path"]),
        present=present,
    )
    return Response(problem.model_dump_json(exclude={"errors"}), 409, media_type=problems.MEDIA_TYPE)


def _unknown(asset: str) -> HTTPException:
    return HTTPException(404, f"no file {asset!r} has been scanned")
