"""What the address of a page says: which files are listed, in which order; and links that say it."""

from collections.abc import Iterable
from urllib.parse import urlencode

from app.client import Filters, Sort

Pairs = list[tuple[str, str]]
SORTS: tuple[Sort, ...] = ("newest", "oldest", "score", "name")


def context(filters: Filters, sort: Sort, page: int) -> Pairs:
    """The parameters of the Browse page that lists these files; what is as usual is left out."""
    pairs = [("kind", kind) for kind in filters.kinds]
    pairs += [("detector", name) for name in filters.detectors]
    pairs += [("label", label) for label in filters.labels]
    if filters.failed:
        pairs.append(("state", "failed"))
    if filters.min_score > 0:
        pairs.append(("min_score", f"{filters.min_score:g}"))
    if filters.under:
        pairs.append(("under", filters.under))
    if sort != SORTS[0]:
        pairs.append(("sort", sort))
    if page > 1:
        pairs.append(("page", str(page)))
    return pairs


def listed(pairs: Iterable[tuple[str, str]]) -> tuple[Filters, Sort, int]:
    """The reverse of context. What cannot be read is taken as usual: people edit addresses."""
    several: dict[str, list[str]] = {}
    for name, value in pairs:
        several.setdefault(name, []).append(value)
    last = {name: values[-1] for name, values in several.items()}
    filters = Filters(
        kinds=tuple(several.get("kind", ())),
        detectors=tuple(several.get("detector", ())),
        labels=tuple(several.get("label", ())),
        min_score=_number(last.get("min_score", "")),
        under=last.get("under", ""),
        failed="failed" in several.get("state", ()),
    )
    sort = next((sort for sort in SORTS if sort == last.get("sort")), SORTS[0])
    return filters, sort, max(1, int(_number(last.get("page", ""))))


def href(path: str, pairs: Pairs) -> str:
    """A link to a page of the app."""
    return f"{path}?{urlencode(pairs)}" if pairs else path


def file(id: str, context: Iterable[tuple[str, str]], at: float | None = None) -> str:
    """A link to a file, in the list it was opened from, at a time in seconds.

    The list is one parameter, so that it cannot be taken for those of the file's own page.
    """
    pairs = [("asset", id), ("in", urlencode(list(context))), ("t", "" if at is None else f"{at:g}")]
    return href("/file", [pair for pair in pairs if pair[1]])


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return min(1e9, max(0.0, number))  # also turns NaN into 0
