"""A local S3 server that only lists objects. Keys of large buckets are computed, not stored."""

import json
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import overload
from urllib.parse import parse_qs, quote, urlsplit
from xml.sax.saxutils import escape

from tests.support.paths import ROOT
from tests.support.servers.http import running

PAGE = 1000
CREDENTIALS = {  # not checked
    "AWS_ACCESS_KEY_ID": "lister",
    "AWS_SECRET_ACCESS_KEY": "lister-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Counted(Sequence[str]):
    """A sorted sequence of `count` computed image keys, `a_folder` of them in each folder."""

    def __init__(self, count: int, a_folder: int) -> None:
        self.count, self.a_folder = count, a_folder

    def __len__(self) -> int:
        return self.count

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        if isinstance(at, slice):
            return [self[n] for n in range(*at.indices(self.count))]
        if not 0 <= at < self.count:
            raise IndexError(at)
        return f"in/{at // self.a_folder:06d}/{at % self.a_folder:08d}.jpg"


class Refusal(Exception):
    """Raised by `listing` to refuse a request with an HTTP status and an S3 error code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status, self.code = status, code


class Lister(ThreadingHTTPServer):
    """Answers ListObjectsV2 of any bucket with the same keys, which must be sorted."""

    daemon_threads = True

    def __init__(self, keys: Sequence[str], refusals: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.keys = keys
        self.refusals = refusals  # number of requests, after the first one, to answer with 503 SlowDown
        self.asked: list[dict[str, str]] = []  # the query parameters of each request

    def listing(self, query: dict[str, str]) -> str:
        """The XML response to a request with these query parameters."""
        return _listing(self.keys, query)

    @property
    def endpoint(self) -> str:
        """The server's URL."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Lister

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        self.server.asked.append(query)
        if self.server.refusals and len(self.server.asked) > 1:
            self.server.refusals -= 1
            self._answer(503, "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
        else:
            try:
                self._answer(200, self.server.listing(query))
            except Refusal as refusal:
                self._answer(refusal.status, f"<Error><Code>{refusal.code}</Code><Message>no</Message></Error>")

    def _answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def _listing(keys: Sequence[str], query: dict[str, str]) -> str:
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
    page = int(query.get("max-keys", PAGE))
    at, entries = int(query.get("continuation-token", bisect_left(keys, prefix))), 0
    parts = ["<ListBucketResult>"]
    while at < len(keys) and keys[at].startswith(prefix) and entries < page:
        key, entries = keys[at], entries + 1
        folder, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        if cut:
            name = f"{prefix}{folder}{cut}"
            parts.append(f"<CommonPrefixes><Prefix>{escape(quote(name, safe='/'))}</Prefix></CommonPrefixes>")
            at = bisect_left(keys, f"{name}\U0010ffff", at)
        else:
            parts.append(
                f"<Contents><Key>{escape(quote(key, safe='/'))}</Key><LastModified>2026-11-22T12:00:00.000Z"
                f"</LastModified><ETag>&quot;{_etag(key)}&quot;</ETag><Size>{1000 + at % 1000}</Size>"
                "<StorageClass>STANDARD</StorageClass></Contents>"
            )
            at += 1
    more = at < len(keys) and keys[at].startswith(prefix)
    token = f"<NextContinuationToken>{at}</NextContinuationToken>" if more else ""
    parts.append(f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>{token}")
    return "".join((*parts, "</ListBucketResult>"))


def _etag(key: str) -> str:
    return md5(key.encode(), usedforsecurity=False).hexdigest()


def lister(keys: Sequence[str], refusals: int = 0) -> AbstractContextManager[Lister]:
    """Run a server with these keys until the end of the block."""
    return running(Lister(sorted(keys) if isinstance(keys, list) else keys, refusals))


@contextmanager
def lister_apart(count: int, a_folder: int) -> Iterator[str]:
    """Run such a server in a child process, so that a test measures the memory and CPU time of the client alone.
    Yields its endpoint.
    """
    command = [sys.executable, "-m", "tests.support.servers.many_objects", json.dumps([count, a_folder])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield next(islice(process.stdout, 1)).strip()
        finally:
            process.kill()


if __name__ == "__main__":
    with Lister(Counted(*json.loads(sys.argv[1]))) as listing:
        print(listing.endpoint, flush=True)
        listing.serve_forever()
