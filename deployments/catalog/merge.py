"""The catalogue's tables, and the statements that merge newly committed rows into them.

`asset` is the number of a media file, by order of arrival, so that its rows are close to each other on disk and a
look-up skips the rest. `scans` keeps every loaded row, without its detections: what is shown of a file is derived from
all of its rows, so the order in which they are loaded does not matter. Detections in another content than that of the
file's newest row are counted for their job and kept in `history`, as that content may come back. `segment` is 0 for a
whole file.

`best` has the best detection of each label. Its `place` is 0 for the best of its file, 1 for the best of its file and
detector, else 2: with a condition on the place, a query need not group a million files. `files.top_score` is the score
at place 0.
"""

from urllib.parse import unquote

import pyarrow as pa

from cluster import records
from cluster.results import codec, files, newest
from cluster.storage import members

_DETECTION = ("detector", "model", "label", "score", "box", "time_s", "span", "text", "evidence", "propagated")
COLUMNS = [name for name in codec.SCHEMA.names if name not in ("detections", "begin_s", "end_s", "usage", "members")]
COLUMNS += [f"detections.list.element.{name}" for name in _DETECTION]  # all but the vectors

_FOUND = """asset integer, content bigint, segment integer, detector varchar, n integer, model varchar, label varchar,
    score float, box float[], time_s double, span double[], text varchar, evidence varchar, propagated boolean"""

SCHEMA = (
    "create table if not exists loaded(file varchar, rows integer)",
    """create table if not exists scans(
        asset integer, content bigint, segment integer, segments integer, sequence bigint, job varchar,
        unit_id bigint, analyzed_at timestamp, size bigint, etag varchar, sha256 varchar, kind varchar, width integer,
        height integer, duration_s double, errors struct(step varchar, reason varchar)[])""",
    """create table if not exists files(
        asset integer, id uuid, uri varchar, name varchar, content bigint, analyzed_at timestamp, sha256 varchar,
        kind varchar, width integer, height integer, duration_s double, segments integer, segments_done integer,
        has_thumbnail boolean, errors struct(step varchar, reason varchar)[], failed boolean, parent varchar,
        top_score float)""",
    """create table if not exists answers(
        asset integer, content bigint, segment integer, detector varchar, model varchar, floor float, sequence bigint,
        job varchar, unit_id bigint)""",
    f"create table if not exists detections({_FOUND})",
    f"create table if not exists history({_FOUND})",
    """create table if not exists best(
        asset integer, detector varchar, label varchar, score float, count integer, place utinyint)""",
    """create table if not exists thumbnails(
        asset integer, content bigint, segment integer, sequence bigint, job varchar, unit_id bigint,
        jpeg blob)""",
    # summed when a query needs them
    "create table if not exists job_counts(job varchar, done integer, failed integer, files integer)",
    "create table if not exists tallies(job varchar, detector varchar, label varchar, files integer, count integer)",
    # what the tallies are sums of, so that a unit that is committed again replaces what it added before
    """create table if not exists counted(
        job varchar, asset integer, content bigint, segment integer, unit_id bigint, detector varchar, label varchar,
        count integer)""",
)


def incoming(rows: pa.Table) -> pa.Table:
    """Committed rows (COLUMNS) as LOAD takes them: with id, name and content; `analyzed_at` in UTC without a zone."""
    uris, parents = rows["uri"].to_pylist(), rows["parent"].to_pylist()
    if "thumbnail" not in rows.column_names:
        rows = rows.append_column("thumbnail", pa.nulls(len(uris), pa.binary()))
    when = rows["analyzed_at"].cast(pa.timestamp("us"))  # DuckDB needs another package for times with a zone
    rows = rows.set_column(rows.schema.get_field_index("analyzed_at"), "analyzed_at", when)
    cuts = zip(rows["etag"].to_pylist(), rows["segment_s"].to_pylist(), strict=True)
    rows = rows.append_column("content", pa.array([files.content(*cut) for cut in cuts], pa.int64()))
    rows = rows.append_column("id", pa.array([records.asset_id(uri) for uri in uris], pa.string()))
    return rows.append_column("name", pa.array(list(map(_name, uris, parents)), pa.string()))


def _name(uri: str, parent: str | None) -> str:
    if parent is not None:
        return members.member_name(uri, parent)
    last = uri.rsplit("/", 1)[-1]
    return unquote(last) if uri.startswith("file:") else last


# The statements of LOAD merge the table `incoming`. Temporary tables live as long as the cursor that loads.
_NEWEST_FIRST = ", ".join(f"{column} desc" for column in newest.KEY)


def _key(table: str) -> str:
    """The key of a row (newest.KEY) as a value that SQL compares."""
    return f"row({', '.join(f'{table}.{column}' for column in newest.KEY)})"


_ARRIVE = (
    # a number for each file, new ones after the last there is
    """create temp table batch as
        with arrived as (select * replace (id::uuid as id, coalesce(segment, 0) as segment) from incoming),
        ids as (select i.id, any_value(f.asset) as asset from arrived i left join files f using (id) group by id),
        numbered as (select id, coalesce(asset, (select coalesce(max(asset), 0) from files)
                            + row_number() over (order by id))::integer as asset from ids)
        select row_number() over () as r, i.*, n.asset from arrived i join numbered n using (id)""",
    """create temp table found as select r, job, asset, content, segment, segments is not null as part,
        unnest(detections) as d, generate_subscripts(detections, 1) - 1 as n from batch""",
)

_COUNT = (
    # of a unit that was committed twice, only the newest row is counted
    """create temp table units as select r, job, asset, content, segment, unit_id, sequence,
            len(errors) > 0 as failed from batch
        qualify row_number() over (partition by job, asset, content, segment, unit_id
            order by sequence desc, r) = 1""",
    """create temp table known as select job, asset, content, segment, unit_id, max(sequence) as sequence,
            arg_max(len(errors) > 0, sequence) as failed from scans
        where asset in (select asset from batch) group by all""",
    """delete from units u using known k where u.sequence <= k.sequence
        and (u.job, u.asset, u.content, u.segment, u.unit_id) = (k.job, k.asset, k.content, k.segment, k.unit_id)""",
    """insert into job_counts select job, sum(done), sum(failed), sum(files) from (
            select job, count(*) filter (k.asset is null) as done,
                count(*) filter (u.failed) - count(*) filter (k.failed) as failed, 0 as files
            from units u left join known k using (job, asset, content, segment, unit_id) group by job
            union all select job, 0, 0, count(*) from (
                select distinct job, asset from units anti join known using (job, asset)) group by job)
        group by job""",
    # what the files of this batch add to the tallies: what they amount to now, less what they amounted to before
    "create temp table pairs as select distinct job, asset from units",
    "create temp table before as select * from counted semi join pairs using (job, asset)",
    """delete from counted c using units u
        where (c.job, c.asset, c.content, c.segment, c.unit_id)
            = (u.job, u.asset, u.content, u.segment, u.unit_id)""",
    """insert into counted
        select u.job, u.asset, u.content, u.segment, u.unit_id, f.d.detector, f.d.label, count(*) as count
        from found f join units u using (r) group by all order by u.asset""",
    """create temp table tallied as select *, -1 as sign from before
        union all select *, 1 from counted semi join pairs using (job, asset)""",
    # of a detector: without a label; one that answered and found nothing is listed too
    """insert into tallies select job, detector, label, sum(files), sum(count) from (
            select job, detector, label, sign * count(distinct asset) as files, sign * sum(count) as count
            from tallied group by grouping sets ((sign, job, detector, label), (sign, job, detector))
            union all select distinct job, unnest(model_versions).detector, null, 0, 0 from batch)
        group by all""",
)

_DESCRIBE = (
    # rows that are loaded already come again from a file into which a compaction has gathered them
    """insert into scans select asset, content, segment, segments, sequence, job, unit_id, analyzed_at, size, etag,
            sha256, kind, width, height, duration_s, errors
        from batch anti join scans using (asset, content, segment, job, unit_id, sequence)""",
    f"""create temp table newest as select asset, first(content order by {_NEWEST_FIRST}) as content,
            first(segments order by {_NEWEST_FIRST}) as segments
        from scans where asset in (select asset from batch) group by asset""",
    # files whose current content has changed
    """create temp table turned as select n.asset, n.content from newest n join files f using (asset)
        where n.content <> f.content""",
    "create temp table told as select s.* from scans s semi join newest n using (asset, content)",
    # the newest value there is of each column
    f"""create temp table merged as select asset, first(analyzed_at order by {_NEWEST_FIRST}) as analyzed_at,
            first(sha256 order by {_NEWEST_FIRST}) filter (sha256 is not null) as sha256,
            first(kind order by {_NEWEST_FIRST}) filter (kind is not null) as kind,
            first(width order by {_NEWEST_FIRST}) filter (width is not null) as width,
            first(height order by {_NEWEST_FIRST}) filter (height is not null) as height,
            first(duration_s order by {_NEWEST_FIRST}) filter (duration_s is not null) as duration_s,
            count(distinct segment) as segments_done
        from told group by asset""",
    # errors of the newest row of each segment, without repetitions
    f"""create temp table wrong as
        with latest as (select asset, segment, errors from told
                        qualify row_number() over (partition by asset, segment order by {_NEWEST_FIRST}) = 1),
        each as (select asset, segment, unnest(errors) as error, generate_subscripts(errors, 1) as n from latest),
        once as (select * from each qualify row_number() over (partition by asset, error order by segment, n) = 1)
        select asset, list(error order by segment, n) as errors from once group by asset""",
    # the first segment's thumbnail, of several the newest
    f"""create temp table shown as select asset, content, segment, sequence, job, unit_id, thumbnail as jpeg
        from batch b where thumbnail is not null and not exists (
            select 1 from thumbnails t where t.asset = b.asset and t.content = b.content and (t.segment < b.segment
                or t.segment = b.segment
                and {_key("t")} > {_key("b")}))
        qualify row_number() over (partition by asset, content order by segment, {_NEWEST_FIRST}) = 1""",
    "delete from thumbnails t using shown s where t.asset = s.asset and t.content = s.content",
    "insert into thumbnails from shown",
    "delete from files where asset in (select asset from newest)",
    """insert into files select n.asset, b.id, b.uri, b.name, n.content, m.analyzed_at, m.sha256, m.kind, m.width,
            m.height, m.duration_s, n.segments, m.segments_done,
            exists (select 1 from thumbnails t where t.asset = n.asset and t.content = n.content),
            coalesce(w.errors, []), w.errors is not null, b.parent, null
        from newest n join merged m using (asset) left join wrong w using (asset)
            join (select asset, any_value(id) as id, any_value(uri) as uri, any_value(name) as name,
                      any_value(parent) as parent from batch group by asset) b using (asset)""",
)

_ANSWER = (
    # for each detector and segment the newest row in which it answered, and what that supersedes
    f"""create temp table won as
        with versions as (select r, asset, content, segment, sequence, job, unit_id,
                                 unnest(model_versions) as version from batch),
        said as (select * exclude version, version.detector as detector, version.model as model,
                        version.floor as floor from versions)
        select * from said s where not exists (select 1 from answers a where a.asset = s.asset
            and a.content = s.content and a.segment = s.segment and a.detector = s.detector
            and {_key("a")} > {_key("s")})
        qualify row_number() over (partition by asset, content, segment, detector order by {_NEWEST_FIRST}, r) = 1""",
    *(
        f"""delete from {table} x using won w where x.asset = w.asset and x.content = w.content
            and x.segment = w.segment and x.detector = w.detector"""
        for table in ("answers", "detections", "history")
    ),
    "insert into answers select asset, content, segment, detector, model, floor, sequence, job, unit_id from won",
    # detections of the former content go to history; those of a content that came back leave it
    "create temp table former as select d.* from detections d semi join turned t using (asset)",
    "delete from detections where asset in (select asset from turned)",
    """create temp table kept as select f.asset, f.content, f.segment, d.detector, n, d.model, d.label, d.score, d.box,
            d.time_s, d.span, d.text, d.evidence, d.propagated
        from found f semi join won w on f.r = w.r and f.d.detector = w.detector""",
    # one insert into a table: after one of no rows, a transaction of DuckDB 2.0.0 does not see what the next inserts,
    # if that is more than a row group (122,880 rows)
    """insert into detections select * from (
            select h.* from history h semi join turned t using (asset, content)
            union all select k.* from kept k semi join newest n using (asset, content))
        order by asset, segment, n""",
    "delete from history h using turned t where h.asset = t.asset and h.content = t.content",
    """insert into history select * from former
        union all select k.* from kept k anti join newest n using (asset, content)""",
)

# what is derived from the detections of the files in the table `newest`
BEST = (
    "delete from best where asset in (select asset from newest)",
    """insert into best
        with labels as (select asset, detector, label, max(score) as score, count(*) as count from detections
                        where asset in (select asset from newest) group by all)
        select *, case
            when row_number() over (partition by asset order by score desc, detector, label) = 1 then 0
            when row_number() over (partition by asset, detector order by score desc, label) = 1 then 1
            else 2 end from labels order by asset""",
    """update files set top_score = (select score from best b where b.asset = files.asset and b.place = 0)
        where asset in (select asset from newest)""",
)

LOAD = (*_ARRIVE, *_COUNT, *_DESCRIBE, *_ANSWER, *BEST)
