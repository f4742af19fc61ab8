"""Decisions of the fake API: the real store and queues. `bob` decides without asking."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Query

from cluster.access.identity import Identity, Prefixes
from cluster.decisions.api_types import (
    AllWritten,
    AssetDecision,
    AssetDecisions,
    Decision,
    DecisionPage,
    DecisionQuery,
    NewDecision,
    NewDecisions,
    NextReview,
    Progress,
    ReviewItem,
    ReviewQueue,
    Undo,
)
from cluster.decisions.entries import Conflict
from cluster.decisions.rules import ReviewRules
from deployments.catalog.catalog import Catalog
from tests.support.fakes.sessions import BOB, identity

Who = Annotated[Identity, Depends(identity)]


class FakeDecisions:
    """The routes of decisions and reviews over a catalogue."""

    def __init__(self, catalog: Catalog, within: Callable[[str | None], Prefixes]) -> None:
        """`within`: the folders of a case."""
        self.catalog, self._within = catalog, within

    def add_routes(self, app: FastAPI) -> None:
        """Add the routes to the fake's application."""
        app.add_api_route("/v1/decisions", self.page, methods=["GET"])
        app.add_api_route("/v1/decisions", self.decide_several, methods=["POST"])
        app.add_api_route("/v1/assets/{asset}/decision", self.show, methods=["GET"])
        app.add_api_route("/v1/assets/{asset}/decision", self.decide, methods=["PUT"])
        app.add_api_route("/v1/assets/{asset}/decision/undo", self.undo, methods=["POST"])
        app.add_api_route("/v1/review/next", self.next, methods=["POST"])
        app.add_api_route("/v1/review/progress", self.progress, methods=["POST"])

    def bob(self, asset: str, label: str, tags: tuple[str, ...] = ()) -> None:
        """Have Bob decide on a file that has no decision."""
        self.catalog.decide([AssetDecision(asset=asset, version=0, label=label, tags=tags)], BOB)

    def page(self, query: Annotated[DecisionQuery, Query()]) -> DecisionPage:
        """The latest decisions."""
        return self.catalog.decisions(query)

    def show(self, asset: str) -> AssetDecisions:
        """The decisions on a file."""
        found = self.catalog.decision(asset, ReviewRules())
        if found is None:
            raise HTTPException(404, "There is no such file.")
        return found

    def decide(self, asset: str, new: NewDecision, who: Who) -> Decision:
        """Decide on a file."""
        (written,) = self.catalog.decide([AssetDecision(asset=asset, **dict(new))], who)
        if written.decision is None or written.outcome != "stored":
            raise HTTPException(409, "meanwhile Bob has decided")
        return written.decision

    def decide_several(self, new: NewDecisions, who: Who) -> AllWritten:
        """Decide on several files."""
        return AllWritten(outcomes=tuple(self.catalog.decide(new.decisions, who)))

    def undo(self, asset: str, seen: Undo, who: Who) -> Decision:
        """Take back a decision."""
        outcome = self.catalog.undo(asset, seen.version, who)
        if outcome is None or isinstance(outcome, Conflict):
            raise HTTPException(404 if outcome is None else 409, "meanwhile Bob has decided")
        return outcome

    def next(self, wanted: NextReview, who: Who) -> ReviewItem:
        """The caller's next file."""
        return self.catalog.next_review(wanted, who, 600, self._within(wanted.filter.case))

    def progress(self, queue: ReviewQueue, who: Who) -> Progress:
        """The caller's progress."""
        return self.catalog.progress(queue, who, self._within(queue.filter.case))
