"""The bounds of a list of files: where the page before ended, and the file up to which it is held."""

from typing import TypeVar

from cluster.access.identity import Prefixes
from cluster.api_queries import AssetFilter, AssetQuery, Cursor, read_cursor
from cluster.errors import SettingsError
from deployments.catalog import queries as sql
from deployments.catalog.database import Ask

Query = TypeVar("Query", bound=AssetFilter)


def place(ask: Ask, query: AssetQuery, within: Prefixes) -> tuple[Cursor, int] | None:
    """Where the page before ended, and the asset number of its last file; None if the query has a page number.

    SettingsError if the caller sees no such file.
    """
    if query.after is None:
        return None
    cursor = read_cursor(query.after)
    visible, values = sql.within(within)
    rows = ask(sql.BY_ID.format(visible=visible), [[cursor[2]], *values])
    if not rows:
        raise SettingsError("after: the file at which that page ended is not there any more. Begin without `after`.")
    return cursor, rows[0]["asset"]


def held(ask: Ask, query: Query, within: Prefixes) -> Query:
    """The query, without `upto` if no file has arrived after that one: then it limits nothing, and costs a scan.

    SettingsError if the caller sees no file with the id of `upto`.
    """
    if query.upto is None:
        return query
    visible, values = sql.within(within)
    rows = ask(sql.BY_ID.format(visible=visible), [[query.upto], *values])
    if not rows:
        raise SettingsError("upto: that file is not there any more. Take `latest` of a new list.")
    is_last = ask(sql.LAST.format(visible=visible), values)[0]["asset"] == rows[0]["asset"]
    return query.model_copy(update={"upto": None}) if is_last else query
