"""The files beside one in a list."""

from typing import Any

from cluster.access.identity import Prefixes
from cluster.api_queries import AssetQuery
from deployments.catalog.queries import SORTS, chosen


def neighbours(query: AssetQuery, prefixes: Prefixes, asset: int) -> tuple[str, list[Any]]:
    """The statement of the files around one in the order of a query, and its values: one row (previous, next: their
    ids, place: from 1, total), whose place is 0 if the file is not among them.
    """
    of_query, values = chosen(query, prefixes)
    direction = SORTS[query.sort][1]
    # files without a score are last
    key = "coalesce(key, -1e38::float)" if query.sort == "score" else "key"
    is_down = direction.startswith("desc")
    earlier, later = (">", "<") if is_down else ("<", ">")
    back, on = ("", "desc") if is_down else ("desc", "")
    own = "(select key from here)"
    statement = f"""with chosen as materialized (select asset, {key} as key from ({of_query})),
            here as materialized (select key from chosen where asset = ?),
            before as materialized (select * from chosen where key {earlier} {own} or key = {own} and asset < ?),
            previous as (select asset from before order by key {back}, asset desc limit 1),
            next as (select asset from chosen where key {later} {own} or key = {own} and asset > ?
                order by key {on}, asset limit 1)
        select (select id from files where asset = (select asset from previous)) as previous,
            (select id from files where asset = (select asset from next)) as next,
            (select count(*) from here) * (1 + (select count(*) from before)) as place,
            (select count(*) from chosen) as total"""
    return statement, [*values, asset, asset, asset]
