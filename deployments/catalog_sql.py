"""What may be asked of the catalogue, its tables, and the statements that merge newly committed rows into them.

A file of the bucket is `asset`, a number by order of arrival, so that what belongs together lies together on disk
and a look-up skips the rest. `scans` keeps every row that was ever loaded, without its detections: the view of a file
is derived from all of its rows, so it does not matter in which order they came. Rows of another content (another etag)
than the newest row's are history: they are counted for their job and no more.
"""

from typing import Any, Literal
from urllib.parse import unquote

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from cluster import records
from cluster.records import Kind


class AssetQuery(BaseModel):
    """Which files to show. Several detectors or labels: one of them; detectors and labels: both, in one detection."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    detector: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    min_score: float | None = Field(default=None, ge=0, le=1, description="of a detection that matches the two above")
    kind: Kind | None = None
    under: str | None = Field(default=None, description="how the URI begins")
    failed: bool | None = Field(default=None, description="only those with errors, or only those without")
    sort: Literal["newest", "oldest", "score", "name"] = "newest"
    page: int = Field(default=1, ge=1)
    size: int = Field(default=60, ge=1, le=200)


SORTS = {
    "newest": "f.analyzed_at desc",
    "oldest": "f.analyzed_at",
    "score": "m.score desc nulls last",
    "name": "lower(f.name), f.name",
}


def matching(query: AssetQuery) -> tuple[str, list[Any]]:
    """The condition on rows of `best` that the query's detectors, labels and score make, with its values."""
    parts: list[tuple[str, Any]] = []
    if query.detector:
        parts.append(("detector in (select unnest(?))", list(query.detector)))
    if query.label:
        parts.append(("label in (select unnest(?))", list(query.label)))
    if query.min_score is not None:
        parts.append(("score >= ?::float", query.min_score))  # scores are stored in single precision
    return " and ".join(part for part, _ in parts), [value for _, value in parts]


def selection(query: AssetQuery, scored: bool = False) -> tuple[str, list[Any]]:
    """The FROM and WHERE of the query's files f, joined with the score m if they are sorted by it; and its values."""
    match, values = matching(query)
    source = "from files f"
    if match or scored:
        where = f"where {match}" if match else ""
        join = "join" if match else "left join"
        source += f" {join} (select asset, max(score) as score from best {where} group by asset) m using (asset)"
    parts: list[tuple[str, Any]] = []
    if query.kind is not None:
        parts.append(("f.kind = ?", query.kind))
    if query.under:
        parts.append(("starts_with(f.uri, ?)", query.under))
    if query.failed is not None:
        parts.append(("f.failed = ?", query.failed))
    if parts:
        source += " where " + " and ".join(part for part, _ in parts)
    return source, [*values, *(value for _, value in parts)]


_DETECTION = ("detector", "model", "label", "score", "box", "time_s", "span", "text", "evidence", "carried")
COLUMNS = [name for name in records.SCHEMA.names if name != "detections"]  # all but the vectors
COLUMNS += [f"detections.list.element.{name}" for name in _DETECTION]

SCHEMA = (
    "create table if not exists notes(job varchar, facts varchar)",
    "create table if not exists loaded(file varchar, rows integer)",
    """create table if not exists scans(
        asset integer, job varchar, unit_id bigint, analyzed_at timestamp, etag varchar, size bigint, sha256 varchar,
        kind varchar, width integer, height integer, duration_s double,
        errors struct(step varchar, reason varchar)[])""",
    """create table if not exists files(
        asset integer, id uuid, uri varchar, name varchar, analyzed_at timestamp, etag varchar, sha256 varchar,
        kind varchar, width integer, height integer, duration_s double, has_thumbnail boolean,
        errors struct(step varchar, reason varchar)[], failed boolean)""",
    """create table if not exists answers(
        asset integer, detector varchar, etag varchar, analyzed_at timestamp, job varchar, unit_id bigint)""",
    """create table if not exists detections(
        asset integer, detector varchar, n integer, model varchar, label varchar, score float, box float[],
        time_s double, span double[], text varchar, evidence varchar, carried boolean)""",
    "create table if not exists best(asset integer, detector varchar, label varchar, score float, count integer)",
    "create table if not exists thumbnails(asset integer, etag varchar, analyzed_at timestamp, jpeg blob)",
    "create table if not exists tallies(job varchar, detector varchar, label varchar, files integer, count integer)",
)


def incoming(rows: pa.Table) -> pa.Table:
    """COLUMNS of committed rows as LOAD takes them: with id and name, the time without its zone, UTC."""
    uris = rows["uri"].to_pylist()
    ids = pa.array([records.asset_id(uri) for uri in uris], pa.string())
    if "thumbnail" not in rows.column_names:
        rows = rows.append_column("thumbnail", pa.nulls(len(uris), pa.binary()))
    when = rows["analyzed_at"].cast(pa.timestamp("us"))  # DuckDB needs another package for times with a zone
    rows = rows.set_column(rows.schema.get_field_index("analyzed_at"), "analyzed_at", when)
    return rows.append_column("id", ids).append_column("name", pa.array([_name(uri) for uri in uris], pa.string()))


def _name(uri: str) -> str:
    last = uri.rsplit("/", 1)[-1]
    return unquote(last) if uri.startswith("file:") else last


# They take `incoming` as a table, merge it, and leave nothing behind but in the tables above.
# Temporary tables live as long as the cursor that loads.
_NEWEST_FIRST = "analyzed_at desc, job desc, unit_id desc"
LOAD = (
    # a number for each file, new ones after the last there is
    """create temp table batch as
        with arrived as (select * replace (id::uuid as id) from incoming),
        ids as (select i.id, any_value(f.asset) as asset from arrived i left join files f using (id) group by id),
        numbered as (select id, coalesce(asset, (select coalesce(max(asset), 0) from files)
                            + row_number() over (order by id))::integer as asset from ids)
        select row_number() over () as r, i.*, n.asset from arrived i join numbered n using (id)""",
    """insert into scans select asset, job, unit_id, analyzed_at, etag, size, sha256, kind, width, height,
        duration_s, errors from batch""",
    # the newest etag of each, then the newest value there is of each column
    f"""create temp table newest as select asset, first(etag order by {_NEWEST_FIRST}) as etag
        from scans where asset in (select asset from batch) group by asset""",
    f"""create temp table merged as select asset, any_value(etag) as etag, max(analyzed_at) as analyzed_at,
        first(sha256 order by {_NEWEST_FIRST}) filter (sha256 is not null) as sha256,
        first(kind order by {_NEWEST_FIRST}) filter (kind is not null) as kind,
        first(width order by {_NEWEST_FIRST}) filter (width is not null) as width,
        first(height order by {_NEWEST_FIRST}) filter (height is not null) as height,
        first(duration_s order by {_NEWEST_FIRST}) filter (duration_s is not null) as duration_s,
        first(errors order by {_NEWEST_FIRST}) as errors
        from scans s semi join newest n on s.asset = n.asset and s.etag is not distinct from n.etag group by asset""",
    # the newest thumbnail
    f"""create temp table shown as select asset, etag, analyzed_at, thumbnail as jpeg
        from batch b semi join newest n on b.asset = n.asset and b.etag is not distinct from n.etag
        where b.thumbnail is not null and not exists (select 1 from thumbnails t where t.asset = b.asset
            and t.etag is not distinct from b.etag and t.analyzed_at > b.analyzed_at)
        qualify row_number() over (partition by asset order by {_NEWEST_FIRST}) = 1""",
    """delete from thumbnails t using newest n where t.asset = n.asset
        and (t.etag is distinct from n.etag or t.asset in (select asset from shown))""",
    "insert into thumbnails from shown",
    "delete from files where asset in (select asset from newest)",
    """insert into files select m.asset, b.id, b.uri, b.name, m.analyzed_at, m.etag, m.sha256, m.kind, m.width,
            m.height, m.duration_s, m.asset in (select asset from thumbnails), m.errors, len(m.errors) > 0
        from merged m join (select asset, any_value(id) as id, any_value(uri) as uri, any_value(name) as name
                            from batch group by asset) b using (asset)""",
    # for each detector the newest row in which it answered
    f"""create temp table won as
        with said as (select r, asset, etag, analyzed_at, job, unit_id, unnest(analyzers).detector as detector
                      from batch)
        select * from said s semi join newest n on s.asset = n.asset and s.etag is not distinct from n.etag
        where not exists (select 1 from answers a where a.asset = s.asset and a.detector = s.detector
            and a.etag is not distinct from s.etag
            and row(a.analyzed_at, a.job, a.unit_id) > row(s.analyzed_at, s.job, s.unit_id))
        qualify row_number() over (partition by asset, detector order by {_NEWEST_FIRST}, r) = 1""",
    # what they supersede, and what was said of another content
    """create temp table gone as select a.asset, a.detector from answers a
        join newest n on n.asset = a.asset left join won w on w.asset = a.asset and w.detector = a.detector
        where a.etag is distinct from n.etag or w.asset is not null""",
    "delete from answers x using gone g where x.asset = g.asset and x.detector = g.detector",
    "delete from best x using gone g where x.asset = g.asset and x.detector = g.detector",
    "delete from detections x using gone g where x.asset = g.asset and x.detector = g.detector",
    "insert into answers select asset, detector, etag, analyzed_at, job, unit_id from won",
    """create temp table found as select r, asset, job, unnest(detections) as d,
        generate_subscripts(detections, 1) - 1 as n from batch""",
    """create temp table kept as select f.* from found f semi join won w on f.r = w.r and f.d.detector = w.detector""",
    """insert into detections select asset, d.detector, n, d.model, d.label, d.score, d.box, d.time_s, d.span, d.text,
        d.evidence, d.carried from kept order by asset, n""",
    """insert into best select asset, d.detector, d.label, max(d.score), count(*) from kept
        group by asset, d.detector, d.label order by asset""",
    """insert into tallies select job, d.detector, d.label, count(distinct asset), count(*) from found
        group by job, d.detector, d.label""",
    # a detector that answered and found nothing is listed too
    """insert into tallies select job, detector, null, sum(files), sum(count) from (
            select job, d.detector as detector, count(distinct asset) as files, count(*) as count from found
            group by job, d.detector
            union all select distinct job, unnest(analyzers).detector, 0, 0 from batch)
        group by job, detector""",
)

HITS = """with hits as (
        select asset, detector, text, coalesce(time_s, span[1]) as time_s, score from detections
        where contains(lower(text), $words)
        union all select asset, null, name, null, 1.0 from files where contains(lower(name), $words)),
    ranked as (
        select *, regexp_matches(lower(text), '(^|[^\\pL\\pN])' || regexp_escape($words) || '([^\\pL\\pN]|$)') as whole
        from hits
        qualify row_number() over (partition by asset order by whole desc, score desc, detector, time_s, text) = 1)
    select f.id as asset, r.detector, r.text, r.time_s, r.score from ranked r join files f using (asset)
    order by r.whole desc, r.score desc, f.id limit $limit"""

# One sorted stream: what does not fit into memory is sorted on disk.
LINES = """select f.uri, f.sha256, f.kind, f.width, f.height, f.duration_s, f.errors,
        d.detector, d.model, d.label, d.score, d.box, d.time_s, d.span, d.text, d.carried
    from files f left join detections d using (asset) order by f.uri, d.detector, d.n"""

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

JOBS = """select job, count(distinct unit_id) as done, count(distinct unit_id) filter (len(errors) > 0) as failed
    from scans group by job"""

FAILED = """select f.uri, e.step, e.reason from (
        select asset, unnest(errors) as e from scans where job = ?) s join files f using (asset)
    order by f.uri, e.step limit 1000"""

TALLIES = """select detector, label, sum(files)::bigint as files, sum(count)::bigint as detections from tallies
    where job = ? group by all order by detector, files desc, label"""

FACETS = """select detector, label, count(*) as count from best
    where asset in (select f.asset {found}) and score >= ?::float
    group by all order by detector, count desc, label"""

FOUND_BY = """select detector, count(distinct asset) as n from best
    where asset in (select f.asset {found}) and score >= ?::float
    group by all order by all"""

# the longest of what each detector has read or heard, to show what a job is about
EXAMPLES = """select d.detector, arg_max(d.text, len(d.text)) as text from detections d
    join answers a on a.asset = d.asset and a.detector = d.detector
    where a.job = ? and d.text is not null group by d.detector"""
