"""Members of containers: how their URIs and ETags tell where they lie.

The URI of a member is that of its container, "!" and its path in it, percent-encoded: s3://b/a.zip!in/b.zip!c.jpg. Real
names may contain "!" too, so only a row with a `parent`, the URI of the file of the bucket, is that of a member.
"""

from collections.abc import Iterator
from urllib.parse import quote, unquote


def member_uri(container: str, path: str) -> str:
    """The URI of a member by its container's URI and its path in it."""
    return f"{container}!{quote(path.encode('utf-8', 'surrogateescape'), safe='/')}"


def with_containers(uri: str, parent: str | None) -> Iterator[str]:
    """The URI of a file, then those of all containers around it: none if it has no parent."""
    yield uri
    at = len(parent) if parent is not None else -1
    while 0 <= at < len(uri):
        yield uri[:at]
        at = uri.find("!", at + 1)


def member_name(uri: str, parent: str) -> str:
    """The name of a member without its folders."""
    return unquote(uri[len(parent) + 1 :].rpartition("!")[2]).rpartition("/")[2]


def member_etag(container: str, n: int, crc: str) -> str:
    """The ETag of a member by its container's: it changes with its container, and tells its number in it."""
    return f"{container}!{n}-{crc}"


def outer_etag(uri: str, parent: str, etag: str) -> str:
    """The ETag of the file of the bucket in which a member lies."""
    return etag.rsplit("!", _depth(uri, parent))[0]


def numbers(uri: str, parent: str, etag: str) -> list[int]:
    """The number of a member in each container around it, from the outermost on."""
    return [int(place.partition("-")[0]) for place in etag.rsplit("!", _depth(uri, parent))[1:]]


def _depth(uri: str, parent: str) -> int:
    return uri.count("!", len(parent))  # a "!" in the name of a member is percent-encoded
