"""The SQL statements of the catalogue's queries, over the tables of merge.py.

Every statement about files takes the prefixes that the caller is limited to: `{visible}` is the condition of `within`.
"""

from collections.abc import Sequence
from typing import Any

from cluster.api_queries import AssetQuery

Prefixes = Sequence[str] | None  # folders, buckets and archives that a caller is limited to; None: it is not

SORTS = {
    "newest": "f.analyzed_at desc",
    "oldest": "f.analyzed_at",
    "score": "m.score desc nulls last",
    "name": "lower(f.name), f.name",
}

IN_JOBS = "select asset from scans where job in (select unnest(?))"
# a job that was resumed may have done a unit again
FAILED_IN_JOBS = f"{IN_JOBS} group by job, asset, unit_id having arg_max(len(errors) > 0, sequence)"


def matching(query: AssetQuery) -> tuple[str, list[Any]]:
    """The SQL condition on rows of `best` for the query's detectors, labels and score, with its values."""
    parts: list[tuple[str, Any]] = []
    if query.detector:
        parts.append(("detector in (select unnest(?))", list(query.detector)))
    if query.label:
        parts.append(("label in (select unnest(?))", list(query.label)))
    if query.detector_label:  # no detector has a colon in its name
        parts.append(("detector || ':' || label in (select unnest(?))", list(query.detector_label)))
    if query.min_score is not None:
        parts.append(("score >= ?::float", query.min_score))  # scores are stored in single precision
    return " and ".join(part for part, _ in parts), [value for _, value in parts]


def within(prefixes: Prefixes) -> tuple[str, list[Any]]:
    """The SQL condition on files f that the prefixes contain, as Identity.sees has it, and its values."""
    if prefixes is None:
        return "true", []
    under = "f.uri in (select unnest(?)) or f.parent in (select unnest(?)) or "
    under += "exists (select 1 from (select unnest(?) as prefix) p where starts_with(f.uri, p.prefix || '/'))"
    return f"({under})", [list(prefixes)] * 3


def selection(query: AssetQuery, scored: bool = False, prefixes: Prefixes = None) -> tuple[str, list[Any]]:
    """The FROM and WHERE of the query's files f, joined with the score m if they are sorted by it; and its values."""
    match, values = matching(query)
    source = "from files f"
    if match or scored:
        where = f"where {match}" if match else ""
        join = "join" if match else "left join"
        source += f" {join} (select asset, max(score) as score from best {where} group by asset) m using (asset)"
    parts: list[tuple[str, list[Any]]] = []
    if prefixes is not None:
        parts.append(within(prefixes))
    if query.kind:
        parts.append(("f.kind in (select unnest(?))", [list(query.kind)]))
    if query.under:
        parts.append((f"({' or '.join(['starts_with(f.uri, ?)'] * len(query.under))})", list(query.under)))
    if query.job:
        parts.append((f"f.asset in ({IN_JOBS})", [list(query.job)]))
    if query.failed is not None and query.job:
        parts.append((f"f.asset {'in' if query.failed else 'not in'} ({FAILED_IN_JOBS})", [list(query.job)]))
    elif query.failed is not None:
        parts.append(("f.failed = ?", [query.failed]))
    if parts:
        source += " where " + " and ".join(part for part, _ in parts)
    return source, [*values, *(value for _, own in parts for value in own)]


# values: the words three times, those of {visible}, the limit
HITS = """with hits as (
        select asset, detector, text, coalesce(time_s, span[1]) as time_s, score from detections
        where contains(lower(text), ?)
        union all select asset, null, name, null, 1.0 from files where contains(lower(name), ?)),
    ranked as (
        select *, regexp_matches(lower(text), '(^|[^\\pL\\pN])' || regexp_escape(?) || '([^\\pL\\pN]|$)') as whole
        from hits
        qualify row_number() over (partition by asset order by whole desc, score desc, detector, time_s, text) = 1)
    select f.id as asset, r.detector, r.text, r.time_s, r.score from ranked r join files f using (asset)
    where {visible} order by r.whole desc, r.score desc, f.id limit ?"""

# One sorted stream: what does not fit into memory is sorted on disk.
LINES = """select f.uri, f.parent, f.sha256, f.kind, f.width, f.height, f.duration_s, f.errors,
        d.detector, d.model, d.label, d.score, d.box, d.time_s, d.span, d.text
    from files f left join detections d using (asset) order by f.uri, d.detector, d.segment, d.n"""

BOXES = """select asset, detector, label, score, box from detections d join files f using (asset)
    where asset in (select unnest(?)) and f.kind = 'image' and box is not null
    qualify row_number() over (partition by asset order by score desc, detector, n) <= 20
    order by asset, score desc, detector, n"""

LABELS = """select asset, detector, label, score, count from best where asset in (select unnest(?))
    qualify row_number() over (partition by asset order by score desc, detector, label) <= 8
    order by asset, score desc, detector, label"""

ITEMS = """select f.*, m.score from files f left join (select asset, max(score) as score from best
        where asset in (select unnest(?)) {match} group by asset) m using (asset)
    where asset in (select unnest(?))"""

BY_ID = "select f.asset, f.id, f.sha256 from files f where f.id in (select try_cast(unnest(?) as uuid)) and {visible}"

DETECTIONS = "select * from detections where asset = ? order by detector, segment, n"

# where a file lies, its kind, and the job of its newest row
LOCATION = """select f.uri, f.kind, f.parent, max_by(s.job, s.analyzed_at) as job
    from files f join scans s using (asset) where f.id = try_cast(? as uuid) and {visible} group by all"""

# the detectors that have answered for the segment it is taken from, the file's best score of nsfw, its boxes of faces
THUMBNAIL = """select t.jpeg, f.kind,
        (select list_sort(list(distinct a.detector)) from answers a
            where (a.asset, a.content, a.segment) = (t.asset, t.content, t.segment)) as answered,
        (select max(score) from best b where b.asset = f.asset and b.detector = 'nsfw') as explicit,
        (select list(d.box order by d.segment, d.n) from detections d
            where d.asset = f.asset and d.detector = 'face') as faces
    from files f join thumbnails t on (t.asset, t.content) = (f.asset, f.content)
    where f.id = try_cast(? as uuid) and {visible}"""

JOB = """select coalesce(sum(done), 0)::bigint as done, coalesce(sum(failed), 0)::bigint as failed,
        coalesce(sum(files), 0)::bigint as files from job_counts where job = ?"""

JOBS = "select job, sum(done)::bigint as done, sum(failed)::bigint as failed from job_counts group by job"

FAILED = """select distinct f.uri, e.step, e.reason from (
        select asset, unnest(errors) as e from scans where job = ? and len(errors) > 0) s join files f using (asset)
    order by f.uri, e.step, e.reason limit 1000"""

TALLIES = """select detector, label, sum(files)::bigint as files, sum(count)::bigint as detections from tallies
    where job = ? group by all order by detector, files desc, label"""

FACETS = """select detector, label, count(*) as count from best
    where asset in (select f.asset {found}) and score >= ?::float
    group by all order by detector, count desc, label"""

FOUND_BY = """select detector, count(distinct asset) as n from best
    where asset in (select f.asset {found}) and score >= ?::float
    group by all order by all"""

# the longest of what each detector has read or heard, to show what a job is about
EXAMPLES = """select d.detector, arg_max(d.text, (len(d.text), d.text)) as text from detections d
    join answers a using (asset, content, segment, detector)
    where a.job = ? and d.text is not null group by d.detector"""
