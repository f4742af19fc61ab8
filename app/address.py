"""URLs of the app's pages: a query for files as parameters of the Browse page, and links to files."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import get_args
from urllib.parse import urlencode

from cluster.api_queries import MAX_PAGE, AssetFilter, AssetQuery, By, SearchQuery, Sort, read_box
from cluster.filters import conditions
from cluster.records import ExportFormat, Kind, Pictures, ReportFormat

Pairs = list[tuple[str, str]]
_ID = re.compile(r"[0-9a-f]{32}")
SORTS: tuple[Sort, ...] = get_args(Sort)
ALL_FILES = "*"  # the value of `case` in the URL of a page over all files, if there are cases; it is no name of one
PICTURES = ("like", "picture", "asset")  # of the Search page: a file, an upload, a file of which `box` is a region
SEARCHED = ("q", *PICTURES)
# parameters that may have several values
SEVERAL = ("kind", "detector", "label", "detector_label", "where", "job", "decision", "tag")


def context(query: AssetQuery) -> Pairs:
    """The parameters of the Browse page for a query, without those that have default values, and without the case."""
    pairs = filters(query)
    if query.score_of is not None:
        pairs.append(("score_of", query.score_of))
    if query.sort != SORTS[0]:
        pairs.append(("sort", query.sort))
    if query.page > 1:
        pairs.append(("page", str(query.page)))
    return pairs


def filters(query: AssetFilter) -> Pairs:
    """The filters of a query as parameters of the Browse and Search pages, without the case."""
    pairs = [(name, value) for name in SEVERAL for value in getattr(query, name)]
    if query.failed:
        pairs.append(("state", "failed"))
    if query.min_score:
        pairs.append(("min_score", f"{query.min_score:g}"))
    return pairs + [("under", start) for start in query.under]


def search(query: SearchQuery) -> Pairs:
    """The parameters of the Search page for a search, without the case."""
    what = [(name, value) for name in (*SEARCHED, "box") if (value := getattr(query, name)) is not None]
    at = [("at_s", f"{query.at_s:g}")] if query.at_s else []
    return [*what, *at, *([("by", query.by)] if query.by != "image" else []), *filters(query)]


def search_of(pairs: Iterable[tuple[str, str]]) -> SearchQuery | None:
    """The search of a Search page's parameters; None if they ask for nothing."""
    pairs = list(pairs)
    values = dict(pairs)
    asked = _picture_of(values)
    if words := values.get("q", "").strip():
        asked["q"] = words
    if not asked:
        return None
    wanted = query_of(pairs).model_dump(include=set(AssetFilter.model_fields), exclude_defaults=True)
    by: By = "faces" if values.get("by") == "faces" and asked.keys() != {"q"} else "image"
    return SearchQuery.model_validate({**wanted, **asked, "by": by})


def _picture_of(values: Mapping[str, str]) -> dict[str, str | float]:
    """The picture that the parameters of the Search page name: the first of PICTURES that is valid, if any."""
    for name in PICTURES:
        if not _ID.fullmatch(values.get(name, "")):
            continue
        if name != "asset":
            return {name: values[name]}
        if _passes(read_box, values.get("box", "")):
            return {name: values[name], "box": values["box"], "at_s": _number(values.get("at_s", ""), 1e6)}
    return {}


def in_list(query: AssetQuery) -> dict[str, str]:
    """The parameter of a page that shows a query's files one by one: a single one, so that no names collide."""
    return {"in": urlencode(context(query))}


def case_of(pairs: Iterable[tuple[str, str]]) -> str | None:
    """The case that a page's parameters name; None: all files."""
    return next((value for name, value in pairs if name == "case" and value != ALL_FILES), None)


def query_of(pairs: Iterable[tuple[str, str]]) -> AssetQuery:
    """The query of a Browse page's parameters. Invalid values are ignored, because users edit URLs by hand."""
    pairs = list(pairs)
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    last = {name: several[-1] for name, several in values.items()}
    return AssetQuery(
        kind=tuple(kind for kind in values.get("kind", []) if kind in get_args(Kind)),
        detector=tuple(values.get("detector", [])),
        label=tuple(values.get("label", [])),
        detector_label=tuple(pair for pair in values.get("detector_label", []) if pair.find(":") > 0),
        where=_conditions(values.get("where", [])),
        job=tuple(values.get("job", [])),
        decision=tuple(values.get("decision", [])),
        tag=tuple(values.get("tag", [])),
        failed=True if "failed" in values.get("state", []) else None,
        min_score=_number(last.get("min_score", ""), 1.0) or None,
        under=tuple(start for start in values.get("under", []) if start),
        score_of=last.get("score_of") if _is_detected(last.get("score_of", "")) else None,
        case=case_of(pairs),
        sort=next((sort for sort in SORTS if sort == last.get("sort")), SORTS[0]),
        page=max(1, int(_number(last.get("page", ""), MAX_PAGE))),
    )


def href(path: str, pairs: Pairs) -> str:
    """The relative URL of a page of the app, with the parameters as query string."""
    return f"{path}?{urlencode(pairs)}" if pairs else path


def export(query: AssetFilter, format: ExportFormat) -> str:
    """The path with which a browser downloads an export of the files that pass these filters."""
    return f"/api/export?{_filters(query, format=format)}"


def report(query: AssetFilter, format: ReportFormat, pictures: Pictures) -> str:
    """The path with which a browser downloads a report on the files that pass these filters."""
    return f"/api/report?{_filters(query, format=format, pictures=pictures)}"


def _filters(query: AssetFilter, **more: str) -> str:
    filters = query.model_dump(mode="json", include=set(AssetFilter.model_fields), exclude_defaults=True)
    return urlencode({**more, **filters}, doseq=True)


def file(id: str, context: Iterable[tuple[str, str]], at: float | None = None, play: bool = False) -> str:
    """The relative URL of a file's page. `context`: the list it was opened from; `at`: a time in seconds."""
    return href("/file", of_file(id, context, at, play))


def of_file(id: str, context: Iterable[tuple[str, str]], at: float | None = None, play: bool = False) -> Pairs:
    """The parameters of a file's page; see `file`.

    `play`: it is played from there at once.

    The context is encoded as one parameter, so that its names cannot collide with those of the file's page. Its case
    is that of the file's page too.
    """
    context = list(context)
    case = dict(context).get("case", "")
    pairs = [("asset", id), ("case", case), ("in", urlencode(context)), ("t", "" if at is None else f"{at:g}")]
    pairs.append(("play", "1" if play else ""))
    return [pair for pair in pairs if pair[1]]


def like(id: str, context: Iterable[tuple[str, str]]) -> str:
    """The relative URL of the search for files that look like this one. `context`: the list in which it is shown.

    The case stays, and so do the filters of a search.
    """
    context = list(context)
    searched = search_of(context)
    kept = [pair for pair in context if pair[0] == "case"]
    return href("/search", [*kept, ("like", id), *(filters(searched) if searched else [])])


def _conditions(texts: list[str]) -> tuple[str, ...]:
    """Those that are conditions, without the last ones if a query may not have so many."""
    where = tuple(filter(_is_condition, texts))[: conditions.MOST_CONDITIONS]
    while not conditions.affordable(where):
        where = where[:-1]
    return where


def _is_condition(text: str) -> bool:
    return _passes(conditions.parse, text)


def _is_detected(text: str) -> bool:
    return _passes(conditions.detected, text)


def _passes(check: Callable[[str], object], text: str) -> bool:
    try:
        check(text)
    except ValueError:
        return False
    return len(text) <= conditions.MOST_CHARACTERS


def _number(text: str, most: float) -> float:
    """Parse a number and clip it to 0..`most`; 0 for NaN and for text that is not a number."""
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return min(most, max(0.0, number))
