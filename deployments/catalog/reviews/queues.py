"""The catalogue's methods for decisions and reviews. What a limited caller may not see is as if it were not there."""

import time
from collections.abc import Sequence
from functools import partial

from cluster.access.audit import Recorder
from cluster.access.identity import Identity, Prefixes
from cluster.api_queries import AssetFilter, AssetQuery
from cluster.decisions.api_types import (
    AssetDecision,
    AssetDecisions,
    Decision,
    DecisionPage,
    DecisionQuery,
    NextReview,
    Progress,
    ReviewItem,
    ReviewQueue,
    Written,
)
from cluster.decisions.entries import Conflict, MediaFile
from cluster.decisions.rules import UNDECIDED, ReviewRules
from cluster.records import iso_time
from deployments.catalog import queries as sql
from deployments.catalog.database import Ask, Database
from deployments.catalog.reviews.index import DecisionIndex

HOUR_S = 3600.0
IDS_A_VALUE = 30  # asset ids in one value of an audit record, which holds 1000 characters
MORE = 20  # candidates beyond those that are locked or skipped: the caller's own file may be among them

_FILES = """select f.asset, f.id, f.uri, f.parent from files f
    where f.id in (select try_cast(unnest(?) as uuid)) and {visible}"""
_MODELS = "select distinct asset, detector, model from detections where asset in (select unnest(?)) order by all"
_IDS = "select asset, id from files where asset in (select unnest(?))"
_SECOND = """select x.id from (select f.id, f.asset {source}) x join decided d using (id)
    where len(d.owners) = 1 and d.owners[1] <> ? and coalesce(d.names[1] = ?, true) order by x.asset limit ?"""
_PROGRESS = """select coalesce(len(d.owners), 0) as reviewers, count(*) as n
    from (select f.id {source}) x left join decided d using (id)
    where ?::varchar is null or list_contains(d.names, ?) group by all"""
_BY_DECISION = """select coalesce(d.label, ?) as value, count(*) as n
    from (select f.id {source}) x left join decided d using (id) group by all order by all"""
_BY_TAG = """select t.tag as value, count(*) as n from (select f.id {source}) x join decided d using (id),
    unnest(d.tags) t(tag) group by all order by all"""


class Reviews:
    """The methods; the catalogue that inherits them has the database, the table of decided files and the audit log.

    A decision is in the audit log before it is committed: there is none without a record, also after a crash. `where`:
    the address that a request comes from.
    """

    _database: Database
    _decided: DecisionIndex
    _record: Recorder

    # ---- decisions

    def decisions(self, query: DecisionQuery, within: Prefixes = None) -> DecisionPage:
        """A page of decisions, newest first."""
        items, after = self._decided.store.page(query, within)
        return DecisionPage(items=tuple(items), next=after)

    def decision(self, id: str, rules: ReviewRules, within: Prefixes = None) -> AssetDecisions | None:
        """The decisions on a file, and the labels it may be given; None if the id is unknown."""
        files = self._files([id], within)
        if not files:
            return None
        (file,) = files.values()
        history = self._decided.store.history(file.asset)
        opinions = self._decided.store.opinions([file.asset]).get(file.asset, [])
        return AssetDecisions(
            asset=file.asset,
            labels=tuple(rules.labels),
            version=history[0].version if history else 0,
            decision=self._decided.store.present([file.asset]).get(file.asset),
            disputed=len({opinion.label for opinion in opinions}) > 1,
            history=tuple(history),
        )

    def decide(self, new: Sequence[AssetDecision], who: Identity, where: str = "") -> list[Written]:
        """Store a decision on each of these files, if its version is the present one; the outcomes in their order."""
        files = self._files([decision.asset for decision in new], who.prefixes)
        known = [(files[decision.asset], decision) for decision in new if decision.asset in files]
        decided = self._decided.store.decide(known, who, partial(self._record_decisions, who, where))
        outcomes = dict(zip((file.asset for file, _ in known), decided, strict=True))
        self._decided.refresh(list(outcomes))
        return [_written(decision.asset, outcomes.get(decision.asset)) for decision in new]

    def _record_decisions(self, who: Identity, where: str, outcomes: Sequence[Decision | Conflict]) -> None:
        by_label: dict[str, list[str]] = {}
        for one in outcomes:
            if isinstance(one, Decision):
                by_label.setdefault(one.label or "", []).append(one.asset)
        for label, assets in by_label.items():
            parts = [" ".join(assets[at : at + IDS_A_VALUE]) for at in range(0, len(assets), IDS_A_VALUE)]
            self._record(who, "decided", label, where, assets=parts)

    def decision_facets(self, ask: Ask, query: AssetFilter, within: Prefixes) -> dict[str, dict[str, int]]:
        """Facets `decisions` and `tags`; a filter does not apply to its own counts."""
        if not ask("select 1 from decided limit 1"):
            return {"decisions": {}, "tags": {}}
        source, values = sql.selection(query.model_copy(update={"decision": ()}), within)
        decisions = {row["value"]: row["n"] for row in ask(_BY_DECISION.format(source=source), [UNDECIDED, *values])}
        source, values = sql.selection(query.model_copy(update={"tag": ()}), within)
        tags = {row["value"]: row["n"] for row in ask(_BY_TAG.format(source=source), values)}
        return {"decisions": decisions if decisions.keys() - {UNDECIDED} else {}, "tags": tags}

    def undo(self, id: str, version: int, who: Identity, where: str = "") -> Decision | Conflict | None:
        """Take back the present decision on a file, if it is of this version. None: no decision or file."""

        def record(restored: Decision) -> None:
            more = {"version": restored.version, "label": restored.label or ""}
            self._record(who, "decision taken back", restored.asset, where, **more)

        files = self._files([id], who.prefixes)
        if not files:
            return None
        (file,) = files.values()
        outcome = self._decided.store.undo(file.asset, version, who, record)
        self._decided.refresh([file.asset])
        return outcome

    def _files(self, ids: Sequence[str], within: Prefixes) -> dict[str, MediaFile]:
        """The files with these ids, by id in its usual form."""
        visible, values = sql.within(within)
        with self._database.snapshot() as ask:
            rows = ask(_FILES.format(visible=visible), [list(ids), *values])
            models: dict[int, dict[str, str]] = {}
            for row in ask(_MODELS, [[row["asset"] for row in rows]]):
                models.setdefault(row["asset"], {})[row["detector"]] = row["model"]
        files = (MediaFile(row["id"].hex, row["uri"], row["parent"], models.get(row["asset"], {})) for row in rows)
        return {file.asset: file for file in files}

    # ---- reviews

    def next_review(self, wanted: NextReview, who: Identity, lock_s: float, within: Prefixes) -> ReviewItem:
        """Choose the next file of a queue, and lock it for the caller; one that is locked for it comes first.

        `within`: the folders of the caller, and of the case in the filter.
        """
        store, passed = self._decided.store, set(wanted.skip)
        while True:
            avoided = passed | store.locked(who.owner)
            ids = [id for id in self._queue(wanted, who, len(avoided) + MORE, within) if id not in avoided]
            chosen = store.lock_one(ids, who.owner, lock_s)
            if chosen is None and ids:
                continue  # another reviewer was faster with each of them
            if chosen is None:
                return ReviewItem(asset=None)
            asset, expires_at = chosen
            owners = [opinion.owner for opinion in store.opinions([asset]).get(asset, [])]
            if (len(owners) == 1 and owners[0] != who.owner) if wanted.second else not owners:
                history = store.history(asset)
                version = history[0].version if history else 0
                return ReviewItem(asset=asset, version=version, until=iso_time(expires_at))
            passed.add(asset)  # it was decided after the catalogue was asked

    def _queue(self, wanted: NextReview, who: Identity, size: int, within: Prefixes) -> list[str]:
        """The ids of the first files of a queue, also of those that are locked."""
        if wanted.second:
            source, values = sql.selection(wanted.filter, within)
            rows = self._database.rows(_SECOND.format(source=source), [*values, who.owner, wanted.decided_by, size])
            return [row["id"].hex for row in rows]
        undecided = {**dict(wanted.filter), "decision": (UNDECIDED,), "sort": wanted.sort}
        query = AssetQuery.model_validate(undecided).model_copy(update={"size": size})
        with self._database.snapshot() as ask:
            (found,) = ask(*sql.page(query, within, None))
            assets = found["assets"] or []
            ids = {row["asset"]: row["id"].hex for row in ask(_IDS, [assets])}
        return [ids[asset] for asset in assets]

    def release(self, asset: str, who: Identity) -> None:
        """End the caller's lock on a file."""
        self._decided.store.unlock(asset, who.owner)

    def progress(self, queue: ReviewQueue, who: Identity, within: Prefixes) -> Progress:
        """How much of a queue is done, and how many decisions were made within the last hour."""
        source, values = sql.selection(queue.filter, within)
        rows = self._database.rows(_PROGRESS.format(source=source), [*values, queue.decided_by, queue.decided_by])
        if queue.second:
            rows = [row for row in rows if row["reviewers"]]
        everybody, own = self._decided.store.decided_since(time.time() - HOUR_S, who.owner, within)
        return Progress(
            total=sum(row["n"] for row in rows),
            done=sum(row["n"] for row in rows if row["reviewers"] > queue.second),
            last_hour=everybody,
            own_last_hour=own,
        )


def _written(id: str, outcome: Decision | Conflict | None) -> Written:
    if outcome is None:
        return Written(asset=id, outcome="not found")
    if isinstance(outcome, Conflict):
        return Written(asset=id, outcome="changed", decision=outcome.present)
    return Written(asset=id, outcome="stored", decision=outcome)
