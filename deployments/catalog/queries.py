"""The SQL statements of the catalogue's queries, over the tables of merge.py.

Every statement about files takes the prefixes that the caller is limited to: `{visible}` is the condition of `within`.
"""

import re
from typing import Any

from cluster.access.identity import Prefixes
from cluster.api_queries import AssetFilter, AssetQuery, Cursor
from cluster.filters.conditions import detected
from deployments.catalog import conditions, decided

EVERY_FILE = "from files f"  # the selection of a query without filters

# key of an order, None: the score that was asked for, and its direction; equal files are in order of arrival
SORTS = {
    "newest": ("f.analyzed_at", "desc"),
    "oldest": ("f.analyzed_at", ""),
    "score": (None, "desc nulls last"),
    "name": ("(lower(f.name), f.name)", ""),
}
# the key as a cursor holds it, and the key of the value that a cursor holds
IN_CURSOR = {"newest": "epoch_us(key)", "oldest": "epoch_us(key)", "score": "key", "name": "null"}
OF_CURSOR = {
    "newest": "make_timestamp(?::bigint)",
    "oldest": "make_timestamp(?::bigint)",
    "score": "?::float",
    "name": "(select (lower(name), name) from files where asset = ?)",
}

EXPORTED_FILES, EXPORTED_ROWS = 2000, 20_000  # files of an export in memory at a time, and detections in them

IN_JOBS = "select asset from scans where job in (select unnest(?))"
# a job that was resumed may have done a unit again
FAILED_IN_JOBS = f"{IN_JOBS} group by job, asset, unit_id having arg_max(len(errors) > 0, sequence)"


def matching(query: AssetFilter) -> tuple[str, list[Any]]:
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


def scored(query: AssetQuery) -> tuple[str, list[Any]]:
    """The SQL condition on the rows of `best` of which a file's score is the best, with its values; "" for all."""
    return matching(query) if query.score_of is None else conditions.detections(detected(query.score_of))


def seen(query: AssetFilter, prefixes: Prefixes) -> tuple[str, dict[str, Any]]:
    """The join with the query's files, for a statement with named values; and its values."""
    source, values = selection(query, prefixes)
    if source == EVERY_FILE:
        return "", {}
    named = {f"filter{n}": value for n, value in enumerate(values)}
    names = iter(named)
    source = re.sub(r"\?", lambda _: f"${next(names)}", source)
    return f"semi join (select f.asset {source}) using (asset)", named


def within(prefixes: Prefixes) -> tuple[str, list[Any]]:
    """The SQL condition on files f that the prefixes contain, as Identity.sees has it, and its values."""
    if prefixes is None:
        return "true", []
    under = "f.uri in (select unnest(?)) or f.parent in (select unnest(?)) or "
    under += "exists (select 1 from (select unnest(?) as prefix) p where starts_with(f.uri, p.prefix || '/'))"
    return f"({under})", [list(prefixes)] * 3


def _matched(query: AssetFilter) -> tuple[str, list[Any]]:
    """A table (asset, score) of the files with a detection that the query asks for, "" if it asks none; and its values.

    Most queries ask for one place or one label of each file; only others need grouping.
    """
    match, values = matching(query)
    if not match:
        return "", []
    labels = [*query.label, *query.detector_label]
    if not labels and len(query.detector) < 2:
        return f"select asset, score from best where place < {2 if query.detector else 1} and {match}", values
    if len(query.detector_label) == 1:
        return f"select asset, score from best where {match}", values
    return f"select asset, max(score) as score from best where {match} group by asset", values


def selection(query: AssetFilter, prefixes: Prefixes = None) -> tuple[str, list[Any]]:
    """The FROM and WHERE of the query's files f, joined with the score m that it asks for, if any; and its values."""
    matched, values = _matched(query)
    source = f"from files f join ({matched}) m using (asset)" if matched else EVERY_FILE
    parts: list[tuple[str, list[Any]]] = []
    if prefixes is not None:
        parts.append(within(prefixes))
    if query.kind:
        parts.append(("f.kind in (select unnest(?))", [list(query.kind)]))
    if query.under:
        parts.append((f"({' or '.join(['starts_with(f.uri, ?)'] * len(query.under))})", list(query.under)))
    if query.job:
        parts.append((f"f.asset in ({IN_JOBS})", [list(query.job)]))
    if query.id:
        parts.append(("f.id in (select unnest(?)::uuid)", [list(query.id)]))
    if query.upto is not None:
        visible, of_visible = within(prefixes)
        parts.append(
            (f"f.asset <= (select f.asset from files f where f.id = ?::uuid and {visible})", [query.upto, *of_visible])
        )
    parts += [conditions.applies(text) for text in query.where]
    if query.failed is not None:
        failed, of_failed = has_failed(query)
        parts.append((f"{failed} = ?", [*of_failed, query.failed]))
    if query.decision:
        parts.append(decided.has_decision(query.decision))
    if query.tag:
        parts.append(decided.has_tag(query.tag))
    if parts:
        source += " where " + " and ".join(part for part, _ in parts)
    return source, [*values, *(value for _, own in parts for value in own)]


def has_failed(query: AssetFilter) -> tuple[str, list[Any]]:
    """Whether a file f has failed, in one of the query's jobs if it names any, as an expression; and its values."""
    return (f"(f.asset in ({FAILED_IN_JOBS}))", [list(query.job)]) if query.job else ("f.failed", [])


def labels_of(query: AssetFilter, min_score: float | None, prefixes: Prefixes) -> tuple[str, list[Any]]:
    """The WHERE of the rows of `best` of the query's files, with that score or a higher one; and its values."""
    source, values = selection(query, prefixes)
    parts = ["score >= ?::float"] if min_score else []
    parts += [f"asset in (select f.asset {source})"] if source != EVERY_FILE else []
    return f"where {' and '.join(parts)}" if parts else "", [*([min_score] if min_score else []), *values]


def chosen(query: AssetQuery, prefixes: Prefixes) -> tuple[str, list[Any]]:
    """The statement of a table (asset, key) of the query's files with the key of its order, and its values."""
    source, values = selection(query, prefixes)
    key = SORTS[query.sort][0]
    if key is None and query.score_of is not None:
        of_label, of_key = scored(query)
        key = f"(select max(score) from best where asset = f.asset and {of_label})"
        values = [*of_key, *values]
    key = key or ("m.score" if matching(query)[0] else "f.top_score")
    return f"select f.asset, {key} as key {source}", values


def page(query: AssetQuery, prefixes: Prefixes, place: tuple[Cursor, int] | None) -> tuple[str, list[Any]]:
    """The statement of a page, and its values: one row (n: the number of all files, assets: those of the page and one
    more if there is one, key: that of the page's last file, as a cursor holds it).

    `place`: where the page before ended, and the asset number of its last file; None: the query has a page number.
    """
    of_query, values = chosen(query, prefixes)
    direction = SORTS[query.sort][1]
    # with a condition on detections, what was found is kept for both; else finding it twice is cheaper
    kept = "materialized" if matching(query)[0] else "not materialized"
    behind, of_place = ("", []) if place is None else _behind(*place)
    statement = f"""with chosen as {kept} ({of_query}),
            shown as materialized (select *, row_number() over (order by key {direction}, asset) as n
                from (select * from chosen {behind} order by key {direction}, asset limit ? offset ?))
        select (select count(*) from chosen) as n, (select list(asset order by n) from shown) as assets,
            (select {IN_CURSOR[query.sort]} from shown where n = ?) as key"""
    return statement, [*values, *of_place, query.size + 1, (query.page - 1) * query.size, query.size]


def _behind(cursor: Cursor, asset: int) -> tuple[str, list[Any]]:
    """The WHERE of the rows of `chosen` that come after a file in the order of the cursor; and its values."""
    sort, value, _ = cursor
    if sort == "score" and value is None:  # those without a score are last
        return "where key is null and asset > ?", [asset]
    own, value = OF_CURSOR[sort], asset if sort == "name" else value
    later = "<" if SORTS[sort][1].startswith("desc") else ">"
    or_none = " or key is null" if sort == "score" else ""
    return f"where key {later} {own} or key = {own} and asset > ?{or_none}", [value, value, asset]


def exported(query: AssetFilter, prefixes: Prefixes, after: int) -> tuple[str, list[Any]]:
    """The statement of the next files of an export, and its values: one row (assets; None: there are no more).

    They have EXPORTED_ROWS detections in all, unless the first file alone has more.
    """
    source, values = selection(query, prefixes)
    statement = f"""with next as materialized (select asset from (select f.asset {source}) where asset > ?
                order by asset limit {EXPORTED_FILES}),
            counted as (select asset, coalesce(sum(b.count), 0) as count
                from next left join (select * from best where asset in (select asset from next)) b using (asset)
                group by asset),
            summed as (select asset, sum(count) over (order by asset) as total, row_number() over (order by asset) as n
                from counted)
        select list(asset) as assets from summed where total <= {EXPORTED_ROWS} or n = 1"""
    return statement, [*values, after]


# Best files first, by their best line; only then that line is looked for.
_WHOLE = "(^|[^\\pL\\pN])' || regexp_escape($words) || '([^\\pL\\pN]|$)"
HITS = f"""with found as materialized (
        select asset, detector, text, coalesce(time_s, span[1]) as time_s, score from detections
        where contains(lower(text), $words)
        union all select asset, null, name, null, 1.0 from files where contains(lower(name), $words)),
    told as materialized (select *, regexp_matches(lower(text), '{_WHOLE}') as whole from found {{seen}}),
    first as (select asset, max(whole) as whole, arg_max(score, (whole, score)) as score from told group by asset
        order by whole desc, score desc, asset limit $limit),
    ranked as (select * from told semi join first using (asset)
        qualify row_number() over (partition by asset order by whole desc, score desc, detector, time_s, text) = 1)
    select f.id as asset, r.detector, r.text, r.time_s, r.score from ranked r join files f using (asset)
    order by r.whole desc, r.score desc, f.asset"""

# Files close to each other by number are so on disk.
LINES = """select f.asset, f.uri, f.parent, f.sha256, f.kind, f.width, f.height, f.duration_s, f.errors,
        d.detector, d.model, d.label, d.score, d.box, d.time_s, d.span, d.text
    from (select * from files where asset in (select unnest(?))) f
        left join (select * from detections where asset in (select unnest(?))) d using (asset)
    order by f.asset, d.detector, d.segment, d.n"""

BOXES = """select asset, detector, label, score, box from detections d join files f using (asset)
    where asset in (select unnest(?)) and f.kind = 'image' and box is not null
    qualify row_number() over (partition by asset order by score desc, detector, n) <= 20
    order by asset, score desc, detector, n"""

LABELS = """select asset, detector, label, score, count from best where asset in (select unnest(?))
    qualify row_number() over (partition by asset order by score desc, detector, label) <= 8
    order by asset, score desc, detector, label"""

ITEMS = """select f.*, m.score, s.size, s.job, d.label as decision from files f
        left join (select asset, max(score) as score from best
            where asset in (select unnest(?)) {match} group by asset) m using (asset)
        left join (select asset, content, any_value(size) as size, max_by(job, (sequence, job, unit_id)) as job
            from scans where asset in (select unnest(?)) group by asset, content) s using (asset, content)
        left join decided d on d.id = f.id
    where asset in (select unnest(?))"""

BY_ID = "select f.asset, f.id, f.sha256 from files f where f.id in (select try_cast(unnest(?) as uuid)) and {visible}"

# of all files, whatever is asked for
LATEST = "select replace(max_by(f.id, f.asset)::varchar, '-', '') as id from files f where {visible}"

DETECTIONS = "select * from detections where asset = ? order by detector, segment, n"

# where a file lies, its kind, the job of its newest row, the detectors that have answered for it, its score of nsfw
LOCATION = """select replace(f.id::varchar, '-', '') as id, f.uri, f.kind, f.parent,
        max_by(s.job, s.analyzed_at) as job,
        (select list_sort(list(distinct a.detector)) from answers a
            where (a.asset, a.content) = (f.asset, f.content)) as answered,
        (select max(score) from best b where b.asset = f.asset and b.detector = 'nsfw') as explicit
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

# an answer that a later job has replaced is counted there
SO_FAR = """select detector, coalesce(units, 0)::bigint as units, coalesce(files, 0)::bigint as files,
        coalesce(detections, 0)::bigint as detections
    from (select detector, count(*) as units from answers where job = ? group by detector)
        full join (select detector, sum(files) as files, sum(count) as detections from tallies
            where job = ? and label is null group by detector) using (detector)
    order by detector"""

FAILED = """select distinct f.uri, e.step, e.reason from (
        select asset, unnest(errors) as e from scans where job = ? and len(errors) > 0) s join files f using (asset)
    order by f.uri, e.step, e.reason limit 1000"""

TALLIES = """select detector, label, sum(files)::bigint as files, sum(count)::bigint as detections from tallies
    where job = ? group by all order by detector, files desc, label"""

# `files`: those for which the label is the detector's best; their sum is the number of files of the detector
FACETS = """select detector, label, count(*) as count, count(*) filter (place < 2) as files, max(score) as score
    from best
    {where} group by all order by detector, count desc, label"""

# the longest of what each detector has read or heard, to show what a job is about
EXAMPLES = """select d.detector, arg_max(d.text, (len(d.text), d.text)) as text from detections d
    join answers a using (asset, content, segment, detector)
    where a.job = ? and d.text is not null group by d.detector"""
