"""Which files without a known suffix hold media: told by their first bytes, many files at a time."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from cluster.errors import MediaError, SettingsError
from cluster.records import Kind, MediaItem
from cluster.storage import buckets
from cluster.storage.filesystems import FORBIDDEN_CODES, s3_client, s3_complaint
from cluster.storage.listing import LeftOut
from cluster.storage.roots import Roots
from pipelines.media import formats

READS = 32  # in flight
UNKNOWN = "its first bytes are those of no format that is read here"
EMPTY = "it is empty: it has no bytes"
ARCHIVED = "it is archived (InvalidObjectState): restore it, then scan again"
FORBIDDEN = "it may not be read: allow these credentials s3:GetObject on it"
VANISHED = "it was deleted after its folder was listed"
ATTEMPTS = 5


@dataclass(frozen=True)
class Recognizer:
    """Reads the first bytes of files that are not known by their suffix: one request for each."""

    s3_endpoint: str | None
    roots: Roots | None
    left_out: LeftOut
    threads: ThreadPoolExecutor

    def recognized(self, items: Sequence[MediaItem]) -> list[MediaItem | None]:
        """Each item with its kind; None in place of one that holds no media, which `left_out` is told of."""
        unknown = [item for item in items if item.kind is None]
        told = iter(self.threads.map(self._told, unknown))
        known: list[MediaItem | None] = []
        for item in items:
            if item.kind is not None:
                known.append(item)
                continue
            kind, reason = next(told)
            if reason:
                self.left_out(item.uri, reason)
            known.append(None if reason else replace(item, kind=kind))
        return known

    def named(self, item: MediaItem) -> MediaItem:
        """An item that the operator named: it is a unit in any case, with the kind that its first bytes tell."""
        return item if item.kind is not None else replace(item, kind=self._told(item)[0])

    def _told(self, item: MediaItem) -> tuple[Kind | None, str | None]:
        """The kind of a file, or why it is left out."""
        if not item.size:
            return None, EMPTY
        try:
            kind = formats.kind_of(self._head(item))
            return kind, None if kind else UNKNOWN
        except MediaError as error:
            return None, error.reason.replace(f"{item.uri} ", "it ", 1)

    def _head(self, item: MediaItem) -> bytes:
        if not item.uri.startswith("s3://"):
            return buckets.read_range(item.uri, 0, formats.HEAD_BYTES, self.s3_endpoint, self.roots)
        if self.roots is not None and not self.roots.allow(item.uri):
            raise MediaError("fetch", f"{item.uri} lies outside the buckets that may be read (scanning.roots)")
        return self._head_of_object(item)

    def _head_of_object(self, item: MediaItem) -> bytes:
        """As `_head`, in one request where pyarrow makes two. SettingsError if the server does not answer."""
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, key = item.uri.removeprefix("s3://").partition("/")
        try:
            answer = self._client.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{formats.HEAD_BYTES - 1}")
            return bytes(answer["Body"].read())
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            reasons = {"InvalidObjectState": ARCHIVED, "NoSuchKey": VANISHED, "404": VANISHED}
            reasons |= dict.fromkeys(FORBIDDEN_CODES, FORBIDDEN)
            raise MediaError("fetch", reasons.get(code, f"it could not be read: the server answers {code}")) from error
        except BotoCoreError as error:  # the listing must not end as if these files held no media
            raise SettingsError(s3_complaint(error, item.uri, self.s3_endpoint)) from error

    @cached_property
    def _client(self) -> Any:
        with _MAKING:
            return s3_client(self.s3_endpoint, ATTEMPTS)


_MAKING = threading.Lock()  # boto3 builds clients one at a time


@contextmanager
def recognizer(s3_endpoint: str | None, roots: Roots | None, left_out: LeftOut) -> Iterator[Recognizer]:
    """A Recognizer whose threads end with the block."""
    with ThreadPoolExecutor(READS, "first-bytes") as threads:
        yield Recognizer(s3_endpoint, roots, left_out, threads)
