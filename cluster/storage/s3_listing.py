"""The objects of an S3 bucket, listed a thousand at a time, several folders at once."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, NamedTuple

from cluster.errors import SettingsError
from cluster.storage.filesystems import FORBIDDEN_CODES

LISTERS = 8  # requests at a time, and pages that wait for who reads them
DEEPEST = 4  # folders below are listed with the one that they lie in, never one by one
# a level with more names is not worth a request for each of its folders
WIDEST_PAGES = 10
WIDEST_FOLDERS = 2000
HIDDEN = (".", "_")  # names that begin so are not media


class Object(NamedTuple):
    """What a listing tells of an object."""

    key: str
    size: int  # bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing: objects, sub-prefixes still to be listed, and sub-prefixes that may not be listed."""

    objects: list[Object]
    folders: list[str]
    forbidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Stretch:
    """What is to be listed yet: all below a prefix, from where the token says."""

    prefix: str
    depth: int = 0
    token: str | None = None


def pages(client: Any, bucket: str, prefix: str) -> Iterator[Page]:
    """All objects whose key begins with the prefix, each once, in no order; of a page also what may not be listed.

    Folders are listed apart until there are enough of them to list at a time. Nothing is asked for while LISTERS pages
    wait to be read, and nothing more once the iterator is closed. Raises what the client does.
    """
    threads = ThreadPoolExecutor(LISTERS, "listing")
    waiting, running = deque([_Stretch(prefix)]), set[Future[tuple[Page, list[_Stretch]]]]()
    enough = False  # stretches for all listers, now or before: then no folder is looked into for more

    def begin() -> None:
        nonlocal enough
        enough = enough or len(waiting) + len(running) >= LISTERS
        while waiting and len(running) < LISTERS:
            stretch = waiting.popleft()
            whole = enough or stretch.depth >= DEEPEST or stretch.token is not None
            running.add(threads.submit(_list, _page if whole else _level, client, bucket, stretch, prefix))

    try:
        begin()
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            running -= done
            listed = [future.result() for future in done]
            for _, rest in listed:
                waiting.extendleft(reversed(rest))  # what was begun comes first: few are ever waiting
            begin()  # now, so that the next ones come while these are read
            yield from (page for page, _ in listed)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _list(
    how: Callable[[Any, str, _Stretch], tuple[Page, list[_Stretch]]], client: Any, bucket: str, at: _Stretch, top: str
) -> tuple[Page, list[_Stretch]]:
    """A stretch, listed by `_page` or `_level`. One below `top` that may not be listed does not end the listing."""
    from botocore.exceptions import ClientError

    try:
        return how(client, bucket, at)
    except ClientError as error:
        if at.prefix == top or error.response.get("Error", {}).get("Code") not in FORBIDDEN_CODES:
            raise
        return Page([], [], (at.prefix,)), []


def _page(client: Any, bucket: str, at: _Stretch) -> tuple[Page, list[_Stretch]]:
    """A thousand objects, however deep they lie, and the rest."""
    after = {"ContinuationToken": at.token} if at.token else {}
    answer = client.list_objects_v2(Bucket=bucket, Prefix=at.prefix, **after)
    token = _next(answer, bucket, at)
    return Page(_objects(answer), []), [_Stretch(at.prefix, at.depth, token)] if token else []


def _level(client: Any, bucket: str, at: _Stretch) -> tuple[Page, list[_Stretch]]:
    """The objects that lie in no folder below the prefix, and those folders; all in one where there are too many."""
    objects: list[Object] = []
    folders: list[str] = []
    after: dict[str, str] = {}
    for _ in range(WIDEST_PAGES):
        answer = client.list_objects_v2(Bucket=bucket, Prefix=at.prefix, Delimiter="/", **after)
        objects += _objects(answer)
        folders += [entry["Prefix"] for entry in answer.get("CommonPrefixes", [])]
        token = _next(answer, bucket, at)
        if len(folders) > WIDEST_FOLDERS:
            break
        if not token:
            seen = [folder for folder in folders if not folder[len(at.prefix) :].startswith(HIDDEN)]
            return Page(objects, folders), [_Stretch(folder, at.depth + 1) for folder in seen]
        if not folders:  # so many objects, and none of them in a folder
            break
        after = {"ContinuationToken": token}
    return Page([], []), [_Stretch(at.prefix, DEEPEST)]


def _objects(answer: dict[str, Any]) -> list[Object]:
    return [Object(one["Key"], one["Size"], one["ETag"].strip('"')) for one in answer.get("Contents", [])]


def _next(answer: dict[str, Any], bucket: str, at: _Stretch) -> str | None:
    if not answer.get("IsTruncated"):
        return None
    token = answer.get("NextContinuationToken")
    if not token or token == at.token:
        raise SettingsError(
            f"s3://{bucket}/{at.prefix} cannot be listed: the server says that there is more and not how to get it. "
            "Scan its folders one by one, or ask whoever runs the server."
        )
    return str(token)
