"""The catalogue's methods for reports: files with what was found, decided and analysed; the models that answered."""

from cluster.access.identity import Prefixes
from cluster.api_queries import AssetFilter
from cluster.records import asset_id
from deployments.catalog import queries as sql
from deployments.catalog.reviews.queues import Reviews
from deployments.catalog.shapes import Json, as_finding, by_asset, rounded

FILES_A_PART = 100  # of a report in memory at a time, with their thumbnails
MOST_FINDINGS = 30  # of a detector in a file that a report lists

_NEXT = "select asset from (select f.asset {source}) where asset > ? order by asset limit ?"

_FILES = """select f.asset, f.uri, f.name, f.parent, f.sha256, f.kind, f.width, f.height, f.duration_s,
        f.analyzed_at, f.errors, f.segments, f.segments_done, s.size, s.etag, s.jobs, s.job,
        case when ? then t.jpeg end as jpeg
    from (select * from files where asset in (select unnest(?))) f
        join (select asset, content, any_value(size) as size, any_value(etag) as etag,
                  list_sort(list(distinct job)) as jobs, max_by(job, analyzed_at) as job
              from scans where asset in (select unnest(?)) group by asset, content) s using (asset, content)
        left join thumbnails t on (t.asset, t.content) = (f.asset, f.content)
    order by f.asset"""

# the best of each label come first, then their second best, so that no label is left out for many of another one
_FINDINGS = f"""with ranked as (select *, row_number() over (partition by asset, detector, label
                order by score desc, segment, n) as nth
            from detections where asset in (select unnest(?))),
        placed as (select *, count(*) over (partition by asset, detector) as total,
                row_number() over (partition by asset, detector order by nth, score desc, label) as place from ranked)
    select * from placed where place <= {MOST_FINDINGS}
    order by asset, detector, segment, coalesce(time_s, span[1]), n"""

_METHODS = """with chosen as materialized (select f.asset, f.content {source}),
        answered as (select detector, model, count(distinct asset) as files,
                coalesce(list_sort(list(distinct round(floor::double, 4)) filter (floor is not null)), []) as floors
            from answers semi join chosen using (asset, content) group by all),
        found as (select detector, model, count(distinct asset) as found_in, count(*) as findings,
                list_sort(list(distinct label) filter (detector = 'face')) as people
            from detections semi join chosen using (asset) group by all)
    select a.*, coalesce(f.found_in, 0) as found_in, coalesce(f.findings, 0) as findings,
        coalesce(f.people, []) as people
    from answered a left join found f using (detector, model) order by a.detector, a.files desc, a.model"""


class Reports(Reviews):
    """The methods; the catalogue that inherits them has the database and the store of decisions."""

    def report_part(
        self, after: int, query: AssetFilter, within: Prefixes, pictures: bool
    ) -> tuple[list[Json], int] | None:
        """The first FILES_A_PART files of a report after that number (0: of all), and the number of the last of them.

        A file has its best MOST_FINDINGS findings of each detector, each with `total`, the number of all of them; its
        decision, and `history`, newest first; `etag` as it was analysed; `job`, the newest one; and `jpeg`, its
        thumbnail (None without `pictures`). None: there are no more files.
        """
        source, values = sql.selection(query, within)
        with self._database.snapshot() as ask:
            assets = [row["asset"] for row in ask(_NEXT.format(source=source), [*values, after, FILES_A_PART])]
            if not assets:
                return None
            files = ask(_FILES, [pictures, assets, assets])
            findings = by_asset(ask(_FINDINGS, [assets]))
        ids = [asset_id(file["uri"]) for file in files]
        histories, present = self._decided.store.histories(ids), self._decided.store.present(ids)
        lines = [
            {
                **{key: value for key, value in file.items() if key != "asset"},
                "id": id,
                "duration_s": rounded(file["duration_s"], 3),
                "analyzed_at": file["analyzed_at"].isoformat(timespec="milliseconds") + "Z",
                "findings": [as_finding(row) | {"total": row["total"]} for row in findings.get(file["asset"], [])],
                "decision": present.get(id),
                "history": histories.get(id, []),
            }
            for id, file in zip(ids, files, strict=True)
        ]
        return lines, assets[-1]

    def methods(self, query: AssetFilter, within: Prefixes) -> list[Json]:
        """The models that have answered for the query's files, by detector.

        {"detector", "model", "files": for how many it answered, "floors": scores below which it kept nothing,
        "found_in": files in which it found something, "findings", "people": labels of faces among them}
        """
        source, values = sql.selection(query, within)
        return self._database.rows(_METHODS.format(source=source), values)
