"""Expansion of containers: one unit of the listing in, one unit for itself and one for each member out."""

from dataclasses import dataclass, replace
from typing import Any

from cluster.errors import MediaError
from cluster.records import MediaItem
from cluster.settings import Settings
from cluster.storage.members import member_etag, member_uri
from pipelines.archives.opening import Member, Others
from pipelines.archives.telling import STEP, contents, not_seen, too_deep
from pipelines.ledger.listing import LEDGER, unit_id
from pipelines.ledger.unpacked import Kept, Unpacked

Row = dict[str, Any]  # of UNCUT or LEDGER


@dataclass
class _Container:
    """A container that is being expanded: of the bucket, or a member of one."""

    row: Row
    numbers: list[int]  # its place in the container of the bucket; empty: it is that one


class Expansion:
    """Expands one container of a bucket, with the containers in it, within the limits."""

    def __init__(self, row: Row, unpacked: Unpacked, settings: Settings) -> None:
        self._first = {name: row[name] for name in LEDGER.names} | {"kind": "container", "failures": [], "members": 0}
        self._unpacked, self._settings = unpacked, settings
        self._limits = unpacked.limits
        self._left = self._limits.members  # how many members may still be looked at
        self._bytes_left = self._limits.total_bytes

    def rows(self) -> list[Row]:
        """Rows of LEDGER: the container's own first, then those of its members and of the members of these."""
        item = MediaItem(self._first["uri"], self._first["size"], self._first["etag"], "container")
        rows = [self._first]
        try:
            with self._unpacked.opened(item, self._settings) as kept, kept.lock:
                self._first["sha256"] = kept.sha256
                waiting = [_Container(self._first, [])]
                while waiting:
                    container = waiting.pop(0)
                    inner = self._expanded(container, kept)
                    rows += [one.row for one in inner]
                    waiting += [one for one in inner if one.row["kind"] == "container"]
        except MediaError as error:
            _fail(self._first, error.step, error.reason)
        self._first["members"] = len(rows) - 1
        return rows

    def _expanded(self, container: _Container, kept: Kept) -> list[_Container]:
        """The members of a container that are units; what else it has is told in its row."""
        row, limits = container.row, self._limits
        if len(container.numbers) >= limits.depth:
            _fail(row, STEP, too_deep(limits.depth))
            return []
        inner: list[_Container] = []
        problems: dict[str, list[str]] = {}
        others: dict[str, int] = {}
        within = replace(limits, members=max(0, self._left), total_bytes=max(0, self._bytes_left))
        try:
            path = self._unpacked.path(kept, container.numbers, self._settings)
            for member in self._unpacked.decoder.members(path, self._settings.decoding, within):
                if isinstance(member, Others):
                    others = member.counts
                elif member.problem is not None:
                    problems.setdefault(member.problem, []).append(member.name)
                else:
                    inner.append(self._inner(container, member))
                    self._left, self._bytes_left = self._left - 1, self._bytes_left - member.size
        except MediaError as error:
            _fail(row, STEP if inner else error.step, error.reason)
        for problem, names in problems.items():
            _fail(row, STEP, not_seen(names, problem))
        row["contents"] = contents((one.row["kind"] for one in inner), others)
        return inner

    def _inner(self, container: _Container, member: Member) -> _Container:
        outer = container.row
        uri = member_uri(outer["uri"], member.name)
        etag = member_etag(outer["etag"], member.n, member.crc)
        own = {"uri": uri, "etag": etag, "unit_id": unit_id(uri, etag), "size": member.size, "kind": member.kind}
        none: Row = {"sha256": None, "segment": None, "members": None, "failures": [], "contents": None}
        return _Container(outer | own | none | {"parent": self._first["uri"]}, [*container.numbers, member.n])


def _fail(row: Row, step: str, reason: str) -> None:
    row["failures"].append({"step": step, "reason": reason})
