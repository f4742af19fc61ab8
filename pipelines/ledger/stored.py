"""What is stored of each file already, so that a scan leaves out what needs no answer any more."""

from collections.abc import Sequence

import numpy as np

from cluster.results import files as results_files
from cluster.results.merge import COLUMNS, Known, Merged, hashes, merge

CHANGED = Known(changed=True)


class Stored:
    """What is stored of each file: 20 bytes a file, and 16 a segment of those that were cut."""

    def __init__(self, merged: Merged) -> None:
        self._merged = merged

    def __len__(self) -> int:
        return len(self._merged.uris)

    def known(self, files: Sequence[tuple[str, str]]) -> list[Known | None]:
        """What is stored of each (URI, ETag): None if nothing, CHANGED if of another content."""
        if not len(self):
            return [None] * len(files)
        has = self._merged
        uris = hashes([uri for uri, _ in files])
        contents = hashes([f"{uri}\0{etag}" for uri, etag in files])
        at = np.minimum(np.searchsorted(has.uris, uris), len(self) - 1)
        there, same = (has.uris[at] == uris).tolist(), (has.contents[at] == contents).tolist()
        codes = has.codes[at].tolist()
        return [
            (has.known[code] if equal else CHANGED) if found else None
            for code, found, equal in zip(codes, there, same, strict=True)
        ]

    def segments(self, uri: str) -> dict[int, Known]:
        """What is stored of each segment of a file's current cut, by number."""
        has, key = self._merged, hashes([uri])[0]
        rows = slice(np.searchsorted(has.cut_uris, key), np.searchsorted(has.cut_uris, key, "right"))
        numbers, codes = has.cut_numbers[rows].tolist(), has.cut_codes[rows].tolist()
        return {number: has.known[code] for number, code in zip(numbers, codes, strict=True)}


def stored(out: str, s3_endpoint: str | None = None) -> Stored:
    """What the committed rows of a folder say; a folder that does not exist says nothing."""
    return Stored(merge(results_files.scan(out, COLUMNS, s3_endpoint)))
