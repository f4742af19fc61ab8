"""A case: a named set of folders, buckets and containers whose files belong together."""

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.access.identity import lies_under


@dataclass(frozen=True, slots=True)
class Case:
    """A case. Times are seconds since 1970."""

    name: str  # lower-case letters, digits, - and _: it is in URLs
    title: str
    folders: tuple[str, ...]  # normalized URIs without a slash at the end; a file or container counts as itself
    made_by: str
    made_at: float
    closed_at: float | None = None  # then nothing is scanned into it any more; it can be browsed


def common(folders: Sequence[str], prefixes: Sequence[str] | None) -> tuple[str, ...]:
    """The folders of the files that lie both in these folders and under these prefixes. None: there are no limits."""
    if prefixes is None:
        return tuple(folders)
    inner = [folder for folder in folders if lies_under(folder, prefixes)]
    inner += [prefix for prefix in prefixes if lies_under(prefix, folders)]
    return tuple(dict.fromkeys(inner))


def joined(folders: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    """The folders of a case with others added, without those that lie in another one of them."""
    every = dict.fromkeys([*folders, *more])
    return tuple(one for one in every if not lies_under(one, [other for other in every if other != one]))
