"""Members of containers as open files, for the API: unpacked by a decoder process, and kept for the next request."""

from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from cluster.errors import MediaError
from cluster.settings import Settings
from cluster.storage.members import member_uri
from cluster.storage.roots import Roots
from pipelines.archives.limits import Limits
from pipelines.archives.opening import Member
from pipelines.ledger.unpacked import Kept, Unpacked, listed
from pipelines.media.pool import Decoder

MOST_BYTES = 2_000_000_000  # of a container, of a member of it, and of all that one process keeps on disk
REMEMBERED = 1000  # members whose place in their container is known


class MemberFiles:
    """Opens members by their URIs; threads may share it. A player asks for one film many times, in small ranges."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder, self._limits = decoder, Limits(total_bytes=MOST_BYTES)
        self._unpacked = Unpacked(decoder, self._limits, MOST_BYTES)
        self._lock = Lock()
        self._numbers: OrderedDict[tuple[str, str], list[int]] = OrderedDict()  # by ETag of the container, and URI

    def open(self, uri: str, parent: str, settings: Settings) -> BinaryIO:
        """The file of a member, to read and seek in; `parent`: URI of the file of the bucket that it lies in.

        MediaError: step `fetch` if the container is gone, too large or under none of the roots; else `decode`.
        """
        if not Roots(settings.scanning.roots).allow(parent):
            raise MediaError("fetch", f"{parent} lies outside the folders and buckets that may be read")
        outer = listed(parent, settings)
        if outer.size > MOST_BYTES:
            reason = f"{parent} has {outer.size:,} bytes; of containers beyond {MOST_BYTES:,} only the whole can be had"
            raise MediaError("fetch", reason)
        with self._unpacked.opened(outer, settings) as kept, kept.lock:
            key = outer.etag, uri
            with self._lock:
                places = self._numbers.get(key)
            if places is None:
                places = self._found(kept, uri, parent, settings)
                with self._lock:
                    self._numbers[key] = places
                    if len(self._numbers) > REMEMBERED:
                        self._numbers.popitem(last=False)
            return self._unpacked.path(kept, places, settings).open("rb")

    def close(self) -> None:
        """Delete what is kept."""
        self._unpacked.close()

    def _found(self, kept: Kept, uri: str, parent: str, settings: Settings) -> list[int]:
        """The number of a member in each container around it. MediaError if it is not there."""
        places: list[int] = []
        container = parent
        for name in uri[len(parent) + 1 :].split("!"):  # a "!" in a name is percent-encoded
            path = self._unpacked.path(kept, places, settings)
            wanted = f"{container}!{name}"
            places.append(self._number(path, container, wanted, settings))
            container = wanted
        return places

    def _number(self, path: Path, container: str, wanted: str, settings: Settings) -> int:
        for member in self._decoder.members(path, settings.decoding, self._limits):
            if isinstance(member, Member) and member_uri(container, member.name) == wanted:
                if member.problem is not None:
                    raise MediaError("decode", member.problem)
                return member.n
        raise MediaError("decode", f"{wanted} is not in its container any more")
