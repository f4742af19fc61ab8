"""Search for many byte strings at once: URIs, asset ids, and pieces of vectors and of pictures."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from cluster.records import asset_id
from cluster.storage.filesystems import local_path

Kind = Literal["vectors", "thumbnails", "asset ids", "addresses", "longer addresses"]
Buffer = bytes | bytearray | memoryview

ERASED = "[erased]"  # in place of an address or a name
TAIL = 8  # bytes at the end of a needle, by which it is found
PIECE = 64  # bytes of a vector or picture; SQLite may store a longer one in parts
LEAST_DIFFERENT = 16  # different bytes of a piece: zeros are everywhere
WINDOW = 4 << 20  # bytes that are searched at a time; a window takes some 12 times its size
_HASH_BITS = 22
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_REST = re.compile(rb"[^\s\"'(),;]*")
_SLASH = ord("/")
_WORD = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_%") | frozenset(range(128, 256))


class Needles:
    """Byte strings, each of a kind, of at least TAIL bytes. All are added before the first search."""

    def __init__(self) -> None:
        self._by_tail: dict[int, dict[int, dict[bytes, Kind]]] = defaultdict(lambda: defaultdict(dict))
        self.longest = TAIL

    def add(self, kind: Kind, needles: Iterable[bytes]) -> None:
        """Add byte strings. Shorter ones than TAIL are ignored: they would be found by chance."""
        for needle in needles:
            if len(needle) >= TAIL:
                self._by_tail[int.from_bytes(needle[-TAIL:], "little")][len(needle)][needle] = kind
                self.longest = max(self.longest, len(needle))

    def add_files(self, uris: Iterable[str], folders: Iterable[str] = (), longer: Iterable[str] = ()) -> None:
        """Add the ids of files, and their URIs and paths as logs, JSON and binary files hold them.

        `folders`: everything that lies under these URIs counts as one of the files, not the folder itself. `longer`:
        addresses that begin with one of the files', as `a.zip (2)` does with `a.zip`: in them, that is not found.
        """
        for uri in uris:
            self.add("asset ids", [asset_id(uri).encode()])
            self.add("addresses", spellings(uri))
        for folder in folders:
            self.add("addresses", (spelling + b"/" for spelling in spellings(folder)))
        for uri in longer:
            self.add("longer addresses", spellings(uri))

    def spans(self, data: Buffer) -> list[tuple[Kind, int, int]]:
        """Kind, begin and end of every occurrence in these bytes, by their end.

        An address counts only if it is not a part of a longer one.
        """
        spans = []
        for begin in range(0, max(1, len(data) - TAIL + 1), WINDOW):
            for at in self._tails_in(memoryview(data)[begin : begin + WINDOW + TAIL - 1]):
                end = begin + at + TAIL
                tail = int.from_bytes(data[end - TAIL : end], "little")
                for length, needles in self._by_tail[tail].items():
                    needle = bytes(data[end - length : end]) if length <= end else b""
                    kind = needles.get(needle)
                    if kind is not None and (not kind.endswith("addresses") or _stands_alone(data, end - length, end)):
                        spans.append((kind, end - length, end))
        longer = {begin: end for kind, begin, end in spans if kind == "longer addresses"}
        return [span for span in spans if span[0] != "longer addresses" and span[2] > longer.get(span[1], 0)]

    def without(self, text: str) -> str:
        """The text with ERASED in place of addresses and ids of the files."""
        data, parts, done = text.encode("utf-8", "surrogateescape"), list[bytes](), 0
        for _, begin, end in sorted(self.spans(data), key=lambda span: (span[1], -span[2])):
            if begin >= done:
                parts += [data[done:begin], ERASED.encode()]
                rest = _REST.match(data, end) if data[end - 1 : end] == b"/" else None  # of a file in a folder
                done = rest.end() if rest else end
        return b"".join([*parts, data[done:]]).decode("utf-8", "surrogateescape") if done else text

    def _tails_in(self, data: memoryview) -> Iterator[int]:
        """Where a tail of a needle begins in these bytes."""
        if len(data) < TAIL or not self._by_tail:
            return
        tails, hashed = self._index
        words = np.ndarray((len(data) - TAIL + 1,), "<u8", data, strides=(1,))  # the 8 bytes from each position on
        near = np.flatnonzero(hashed[_hashes(words)])
        values = words[near]
        places = np.minimum(np.searchsorted(tails, values), len(tails) - 1)
        yield from near[tails[places] == values].tolist()

    @cached_property
    def _index(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
        """The tails, sorted, and which hashes they have."""
        tails = np.sort(np.fromiter(self._by_tail, np.uint64, len(self._by_tail)))
        hashed = np.zeros(1 << _HASH_BITS, bool)
        hashed[_hashes(tails)] = True
        return tails, hashed


def _hashes(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    return ((words * _FACTOR) >> np.uint64(64 - _HASH_BITS)).astype(np.int64)


def _stands_alone(data: Buffer, begin: int, end: int) -> bool:
    """Whether an address ends here: a.jpg is no part of a.jpg2, b/a.jpg, a.jpg.txt or a.jpg!b."""
    before, after = data[begin - 1] if begin else 32, bytes(data[end : end + 2])
    if before in _WORD or data[end - 1] == _SLASH:  # the address of a folder, in that of a file in it
        return before not in _WORD
    if after and (after[0] in _WORD or after[:1] in (b"-", b"/", b"!")):
        return False
    return not (len(after) == 2 and after[:1] == b"." and after[1] in _WORD)


def spellings(uri: str) -> set[bytes]:
    """The ways in which a URI is written: as it is, in JSON, and a local file also as a path."""
    texts = {uri} | ({local_path(uri)} if uri.startswith("file://") else set())
    raw = {text.encode("utf-8", "surrogateescape") for text in texts}
    return raw | {json.dumps(text)[1:-1].encode() for text in texts}


def pieces(data: bytes) -> set[bytes]:
    """Pieces of the beginning, the middle and the end of a vector's or picture's bytes, without monotonous ones."""
    middle = len(data) // 2 // 4 * 4
    parts = {data[:PIECE], data[middle : middle + PIECE], data[-PIECE:]}
    return {part for part in parts if len(part) == PIECE and len(set(part)) >= LEAST_DIFFERENT}
