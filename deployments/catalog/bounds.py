"""The bounds of a list of files: where the page before ended, and the file up to which it is held."""

from typing import TypeVar

from cluster.access.identity import Prefixes
from cluster.api_queries import AssetFilter, AssetQuery, Cursor, read_cursor
from cluster.errors import SettingsError
from deployments.catalog import queries as sql
from deployments.catalog.database import Ask

Query = TypeVar("Query", bound=AssetFilter)


def number(ask: Ask, id: str, within: Prefixes) -> int | None:
    """The asset number of a file; None if the caller sees no file with this id."""
    visible, values = sql.within(within)
    rows = ask(sql.BY_ID.format(visible=visible), [[id], *values])
    return int(rows[0]["asset"]) if rows else None


def place(ask: Ask, query: AssetQuery, within: Prefixes) -> tuple[Cursor, int] | None:
    """Where the page before ended, and the asset number of its last file; None if the query has a page number.

    SettingsError if the caller sees no such file.
    """
    if query.after is None:
        return None
    cursor = read_cursor(query.after)
    asset = number(ask, cursor[2], within)
    if asset is None:
        raise SettingsError("after: the file at which that page ended is not there any more. Begin without `after`.")
    return cursor, asset


def held(ask: Ask, query: Query, within: Prefixes) -> Query:
    """The query, without `upto` if no file has arrived after that one: then it limits nothing, and costs a scan.

    SettingsError if the caller sees no file with the id of `upto`.
    """
    if query.upto is None:
        return query
    if number(ask, query.upto, within) is None:
        raise SettingsError("upto: that file is not there any more. Take `latest` of a new list.")
    visible, values = sql.within(within)
    latest = ask(sql.LATEST.format(visible=visible), values)[0]["id"]
    return query.model_copy(update={"upto": None}) if latest == query.upto else query
