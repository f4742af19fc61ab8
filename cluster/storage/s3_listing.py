"""Listing of an S3 bucket: pages of up to 1000 objects, several folders in parallel."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, NamedTuple

from cluster.errors import SettingsError
from cluster.metrics.declared import STORAGE_SECONDS
from cluster.metrics.recording import outcome_of
from cluster.storage.filesystems import FORBIDDEN_CODES

LISTERS = 8  # requests in flight, and pages that are fetched ahead of the reader
DEEPEST = 4  # deeper folders are listed together with their parent
# beyond these limits a level is listed flat, instead of with one request for each folder
WIDEST_PAGES = 10
WIDEST_FOLDERS = 2000


class Object(NamedTuple):
    """An object as a listing reports it."""

    key: str
    size: int  # bytes
    etag: str
    storage_class: str = "STANDARD"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing: objects, sub-prefixes still to be listed, and sub-prefixes that may not be listed."""

    objects: list[Object]
    folders: list[str]
    forbidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the listing that is still to be done: a prefix, from a continuation token on (None: from the start)."""

    prefix: str
    depth: int = 0
    token: str | None = None


def pages(client: Any, bucket: str, prefix: str) -> Iterator[Page]:
    """Pages with all objects whose key begins with the prefix, each object once, in no particular order.

    Folders are listed separately until LISTERS requests are in flight. No request is made while LISTERS pages wait to
    be read, nor after the iterator is closed. Raises the errors of the botocore client.
    """
    threads = ThreadPoolExecutor(LISTERS, "listing")
    waiting, running = deque([_Part(prefix)]), set[Future[tuple[Page, list[_Part]]]]()
    enough = False  # once there is work for all listers, folders are no longer split into more parts

    def begin() -> None:
        nonlocal enough
        enough = enough or len(waiting) + len(running) >= LISTERS
        while waiting and len(running) < LISTERS:
            part = waiting.popleft()
            whole = enough or part.depth >= DEEPEST or part.token is not None
            running.add(threads.submit(_list, _page if whole else _level, client, bucket, part, prefix))

    try:
        begin()
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            running -= done
            listed = [future.result() for future in done]
            for _, rest in listed:
                waiting.extendleft(reversed(rest))  # depth first, so that the queue stays short
            begin()  # before the pages are read, so that the next requests run meanwhile
            yield from (page for page, _ in listed)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _list(
    lister: Callable[[Any, str, _Part], tuple[Page, list[_Part]]], client: Any, bucket: str, at: _Part, top: str
) -> tuple[Page, list[_Part]]:
    """List a part with `_page` or `_level`. Below `top`, a prefix with denied access is reported and skipped."""
    from botocore.exceptions import ClientError

    try:
        return lister(client, bucket, at)
    except ClientError as error:
        if at.prefix == top or error.response.get("Error", {}).get("Code") not in FORBIDDEN_CODES:
            raise
        return Page([], [], (at.prefix,)), []


def _page(client: Any, bucket: str, at: _Part) -> tuple[Page, list[_Part]]:
    """Up to 1000 objects at any depth, and the part that is still to be listed, if any."""
    after = {"ContinuationToken": at.token} if at.token else {}
    answer = _asked(client, Bucket=bucket, Prefix=at.prefix, **after)
    token = _next(answer, bucket, at)
    return Page(_objects(answer), []), [_Part(at.prefix, at.depth, token)] if token else []


def _level(client: Any, bucket: str, at: _Part) -> tuple[Page, list[_Part]]:
    """The objects directly below the prefix, and its folders as parts; one flat part if there are too many."""
    objects: list[Object] = []
    folders: list[str] = []
    after: dict[str, str] = {}
    for _ in range(WIDEST_PAGES):
        answer = _asked(client, Bucket=bucket, Prefix=at.prefix, Delimiter="/", **after)
        objects += _objects(answer)
        folders += [entry["Prefix"] for entry in answer.get("CommonPrefixes", [])]
        token = _next(answer, bucket, at)
        if len(folders) > WIDEST_FOLDERS:
            break
        if not token:
            return Page(objects, folders), [_Part(folder, at.depth + 1) for folder in folders]
        if not folders:  # a flat prefix with many objects
            break
        after = {"ContinuationToken": token}
    return Page([], []), [_Part(at.prefix, DEEPEST)]


def _asked(client: Any, **options: str) -> dict[str, Any]:
    """One page of a listing, as S3 answers it."""
    with outcome_of(STORAGE_SECONDS, operation="list", scheme="s3"):
        return dict(client.list_objects_v2(**options))


def _objects(answer: dict[str, Any]) -> list[Object]:
    return [
        Object(entry["Key"], entry["Size"], entry["ETag"].strip('"'), entry.get("StorageClass", "STANDARD"))
        for entry in answer.get("Contents", [])
    ]


def _next(answer: dict[str, Any], bucket: str, at: _Part) -> str | None:
    """The continuation token of a response; None at the end. SettingsError if a truncated response has none."""
    if not answer.get("IsTruncated"):
        return None
    token = answer.get("NextContinuationToken")
    if not token or token == at.token:
        raise SettingsError(
            f"s3://{bucket}/{at.prefix} cannot be listed: the server says that there is more and gives no new token. "
            "Scan its folders one by one, or ask whoever runs the server."
        )
    return str(token)
