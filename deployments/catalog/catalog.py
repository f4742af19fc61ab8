"""Queries over the results: filter, sort, page, count, search and export, on an index of committed Parquet."""

import threading
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Literal

from cluster.access.audit import Audit, unrecorded
from cluster.access.identity import Prefixes
from cluster.api_queries import AssetFilter, AssetQuery, write_cursor
from cluster.cases.overview import OverviewQuery
from cluster.logs import setup
from cluster.people.store import FaceStore
from cluster.records import asset_id
from deployments.catalog import beside, bounds, failures, overview
from deployments.catalog import queries as sql
from deployments.catalog.database import Ask, Database
from deployments.catalog.job_counts import JobCounts
from deployments.catalog.loading import Loader
from deployments.catalog.people.compared import Comparisons
from deployments.catalog.people.faces import FaceVectors
from deployments.catalog.people.people import People
from deployments.catalog.reports import Reports
from deployments.catalog.reviews.index import DecisionIndex
from deployments.catalog.shapes import Json, as_finding, as_item, as_line, by_asset

EVERYTHING = AssetFilter()


class Catalog(JobCounts, Reports, People):
    """Owns a DuckDB file, which one process may have open. If the file is deleted, it is built again from the results.

    Methods may be called from several threads. SettingsError if the file does not open. A thread loads the results that
    are in the folder `of` already, and those that were in a file with the tables of an earlier version.

    `decisions`, `faces`: the files of the reviewers' decisions on files and on faces, which are not built from
    anything: back them up. `vectors`: where the vectors of faces are; without it, no faces can be compared. `audit`:
    the log in which decisions are recorded before they are committed.
    `within`: folders, buckets and archives that the caller is limited to. Other files are as if they were not there.
    """

    def __init__(
        self,
        path: Path | Literal[":memory:"],
        thumbnails: bool = True,
        of: str | None = None,
        s3_endpoint: str | None = None,
        decisions: Path | Literal[":memory:"] = ":memory:",
        faces: Path | Literal[":memory:"] = ":memory:",
        vectors: FaceVectors = lambda ids: {},
        audit: Audit | None = None,
    ) -> None:
        setup.join_serve()
        self._record = unrecorded if audit is None else audit.record
        self._database = Database(path)
        self._decided = DecisionIndex(self._database, decisions)
        self._faces = FaceStore(faces)
        self._loader = Loader(self._database, thumbnails)
        self._comparisons = Comparisons(self._database, vectors, lambda: self._loader.changes)
        folders = list(dict.fromkeys([*([] if of is None else [of]), *self._database.unfinished()]))
        arguments = (folders, s3_endpoint)
        self._catching_up = threading.Thread(
            target=self._loader.catch_up, args=arguments, daemon=True, name="catalogue"
        )
        if folders:
            self._catching_up.start()

    def close(self) -> None:
        """Close the file, once the thread has loaded what was there at the start."""
        if self._catching_up.ident is not None:
            self._catching_up.join()
        self._comparisons.close()
        self._decided.close()
        self._faces.close()
        self._database.close()

    # ---- filling

    def load(self, file: str, s3_endpoint: str | None = None) -> int:
        """Merge one committed Parquet file. Returns its number of rows, 0 if it was loaded before. See Loader.load."""
        return self._loader.load(file, s3_endpoint)

    def load_all(self, out: str, s3_endpoint: str | None = None) -> int:
        """Merge a folder's committed files that are not loaded yet. Returns the rows added. See Loader.load_all."""
        return self._loader.load_all(out, s3_endpoint)

    def forget(self, detector: str, label: str) -> int:
        """Delete all detections of that detector and label. Returns how many there were. See Loader.forget.

        Of a person also what reviewers have decided about faces of that name.
        """
        if detector == "face":
            self._faces.erase(lambda uri: False, lambda text: text == label)
        forgotten = self._loader.forget(detector, label)
        if detector == "face":
            self._comparisons.forget()  # they hold the vectors and names of the faces, also those begun meanwhile
        return forgotten

    # ---- browsing

    def assets(self, query: AssetQuery, within: Prefixes = None) -> Json:
        """A page: {"total", "page", "size", "items", "next": the cursor of the next page, or None if it is the last,
        "latest": the id of the file that arrived last}.

        An item's score is the best of its matching detections, or that of `score_of`. SettingsError if the file at
        which the page before ended, or that of `upto`, has been deleted.
        """
        visible, of_visible = sql.within(within)
        with self._database.snapshot() as ask:
            place = bounds.place(ask, query, within)
            query = bounds.held(ask, query, within)
            (found,) = ask(*sql.page(query, within, place))
            assets = found["assets"] or []
            items = _items(ask, assets[: query.size], query)
            latest = ask(sql.LATEST.format(visible=visible), of_visible)[0]["id"]
        more = len(assets) > query.size
        after = write_cursor((query.sort, found["key"], items[-1]["id"])) if more else None  # type: ignore[arg-type]
        page = {"total": found["n"], "page": query.page, "size": query.size, "items": items}
        return {**page, "next": after, "latest": latest}

    def neighbours(self, id: str, query: AssetQuery, within: Prefixes = None) -> Json:
        """{"previous", "next": ids of the files beside one in the query's order, "place": its own from 1, "total"}.

        Place, previous and next are None if the file is not among those of the query.
        """
        with self._database.snapshot() as ask:
            number = bounds.number(ask, id, within)
            query = bounds.held(ask, query, within)
            (found,) = ask(*beside.neighbours(query, within, -1 if number is None else number))
        there = found["place"] > 0
        ids = {name: found[name].hex if there and found[name] else None for name in ("previous", "next")}
        return {**ids, "place": found["place"] if there else None, "total": found["total"]}

    def facets(self, query: AssetQuery, within: Prefixes = None) -> Json:
        """How many files there are of each kind, detection and outcome under the query's other filters."""
        any_detection = {"detector": (), "label": (), "detector_label": (), "min_score": None}
        with self._database.snapshot() as ask:
            query = bounds.held(ask, query, within)
            source, values = sql.selection(query.model_copy(update={"kind": (), "failed": None}), within)
            failed, of_failed = sql.has_failed(query)
            counts = f"select f.kind, {failed} as failed, count(*) as n {source} group by all order by all"
            files = query.model_copy(update=any_detection)
            where, of_where = sql.labels_of(files, query.min_score, within)
            rows = ask(counts, [*of_failed, *values])
            labels = ask(sql.FACETS.format(where=where), of_where)
            of_decisions = self.decision_facets(ask, query, within)
            reasons: list[Json] = []
            if any(row["failed"] for row in rows):
                failed_files, of_files = sql.selection(query.model_copy(update={"failed": True}), within)
                reasons, _ = failures.grouped(ask, f"select f.id, f.errors {failed_files}", of_files)
        count = lambda of_kind, has_failed: sum(  # noqa: E731
            row["n"] for row in rows if (not of_kind or row["kind"] in of_kind) and has_failed in (None, row["failed"])
        )
        found_by: dict[str, int] = {}
        for row in labels:
            found_by[row["detector"]] = found_by.get(row["detector"], 0) + row.pop("files")
            row["score"] = round(row["score"], 4)
        kinds = sorted({row["kind"] for row in rows if row["kind"]})
        return {
            "total": count(query.kind, query.failed),
            "kinds": {kind: n for kind in kinds if (n := count((kind,), query.failed))},
            "found_by": {name: n for name, n in found_by.items() if n},
            "detectors": labels,
            "failed": count(query.kind, True),
            "failures": reasons,
            **of_decisions,
        }

    def overview(self, query: OverviewQuery, within: Prefixes = None) -> Json:
        """The files that pass the query's filters, summarized: the fields of cluster.cases.overview.Overview."""
        with self._database.snapshot() as ask:
            return overview.overview(ask, query, within)

    def counts(self, places: Sequence[Prefixes]) -> list[int]:
        """How many files each of these sets of folders, buckets and archives contains."""
        with self._database.snapshot() as ask:
            conditions = [sql.within(place) for place in places]
            return [ask(f"select count(*) as n from files f where {where}", own)[0]["n"] for where, own in conditions]

    def items(self, ids: Sequence[str], within: Prefixes = None) -> list[Json]:
        """Items, as in `assets`, for these ids, in their order; unknown ids are left out."""
        visible, values = sql.within(within)
        with self._database.snapshot() as ask:
            rows = ask(sql.BY_ID.format(visible=visible), [list(ids), *values])
            found = {row["id"].hex: row["asset"] for row in rows}
            return _items(ask, [found[id] for id in ids if id in found], AssetQuery())

    def passing(self, ids: Sequence[str], query: AssetFilter, within: Prefixes = None) -> set[str]:
        """Those of these ids whose file passes the query's filters."""
        wanted = [id for id in ids if not query.id or id in query.id]
        return set(self.ids(query.model_copy(update={"id": tuple(wanted)}), len(wanted), within)) if wanted else set()

    def ids(self, query: AssetFilter, most: int, within: Prefixes = None) -> list[str]:
        """The ids of the files that pass the query's filters, at most so many, in no order."""
        with self._database.snapshot() as ask:
            source, values = sql.selection(bounds.held(ask, query, within), within)
            return [row["id"].hex for row in ask(f"select f.id {source} limit ?", [*values, most])]

    def asset(self, id: str, within: Prefixes = None) -> Json | None:
        """A file's item with its SHA-256 and all its detections; None if the id is unknown."""
        visible, values = sql.within(within)
        with self._database.snapshot() as ask:
            rows = ask(sql.BY_ID.format(visible=visible), [[id], *values])
            if not rows:
                return None
            (item,) = _items(ask, [rows[0]["asset"]], AssetQuery())
            found = ask(sql.DETECTIONS, [rows[0]["asset"]])
        detections = [as_finding(row) for row in found]
        return {**item, "sha256": rows[0]["sha256"], "detections": detections}

    def location(self, id: str, within: Prefixes = None) -> Json | None:
        """Where a file lies, its kind, and the job that scanned it last; None: no such file.

        {"id": in its usual form, "uri", "kind", "parent": URI of the file of the bucket that contains it, or None,
        "job", "answered": detectors, "explicit": a score}
        """
        visible, values = sql.within(within)
        rows = self._database.rows(sql.LOCATION.format(visible=visible), [id, *values])
        return rows[0] if rows else None

    def thumbnail(self, id: str, within: Prefixes = None) -> Json | None:
        """The file's thumbnail and what it may show; None if it has none or the id is unknown.

        {"jpeg": at most 320 px a side, "kind", "answered": detectors, "explicit": a score, "faces": boxes}
        """
        visible, values = sql.within(within)
        rows = self._database.rows(sql.THUMBNAIL.format(visible=visible), [id, *values])
        return rows[0] if rows else None

    def text_search(
        self, words: str, limit: int = 40, query: AssetFilter = EVERYTHING, within: Prefixes = None
    ) -> list[Json]:
        """Files whose text, speech or name contains these words as one string, ignoring case; whole words first.

        Of those that pass the query's filters. One hit a file, its best line: {"asset": its id, "detector" (None: the
        name), "text", "time_s", "score"}.
        """
        words = " ".join(words.lower().split())
        if not words:
            return []
        with self._database.snapshot() as ask:
            seen, values = sql.seen(bounds.held(ask, query, within), within)
            hits = ask(sql.HITS.format(seen=seen), {"words": words, "limit": limit, **values})
        return [{**hit, "asset": hit["asset"].hex, "score": round(hit["score"], 4)} for hit in hits]

    # ---- export

    def some_lines(
        self, after: int, query: AssetFilter = EVERYTHING, within: Prefixes = None
    ) -> tuple[list[Json], int] | None:
        """The lines of an export for the first files after that number (0: of all), and the number of the last of them.

        A line is a file with all its detections, errors and decision; files are in order of arrival. None: there are no
        more. A file that arrives between two calls is in one of them.
        """
        with self._database.snapshot() as ask:
            (found,) = ask(*sql.exported(bounds.held(ask, query, within), within, after))
            if not found["assets"]:
                return None
            rows = ask(sql.LINES, [found["assets"]] * 2)
        files = [list(of_file) for _, of_file in groupby(rows, key=itemgetter("asset"))]
        ids = [asset_id(of_file[0]["uri"]) for of_file in files]
        decisions = self._decided.store.present(ids)
        lines = [as_line(of_file, decisions.get(id)) for of_file, id in zip(files, ids, strict=True)]
        return lines, rows[-1]["asset"]


def _items(ask: Ask, assets: list[int], query: AssetQuery) -> list[Json]:
    match, values = sql.scored(query)
    files = ask(sql.ITEMS.format(match=f"and {match}" if match else ""), [assets, *values, assets, assets])
    labels, boxes = by_asset(ask(sql.LABELS, [assets])), by_asset(ask(sql.BOXES, [assets]))
    rows = {row["asset"]: row for row in files}
    return [as_item(rows[asset], labels.get(asset, []), boxes.get(asset, [])) for asset in assets]
