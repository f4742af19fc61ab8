"""What is stored for each file, so that a scan skips what needs no new answer."""

from collections.abc import Sequence

import numpy as np

from cluster.results import files as results_files
from cluster.results.merge import COLUMNS, Known, Merged, hashes, merge

CHANGED = Known(changed=True)


class Stored:
    """What is stored for each file, in 20 bytes per file and 16 per segment of cut videos."""

    def __init__(self, merged: Merged) -> None:
        self._merged = merged

    def __len__(self) -> int:
        return len(self._merged.uris)

    def known(self, files: Sequence[tuple[str, str]]) -> list[Known | None]:
        """What is stored for each (URI, ETag): None if nothing, CHANGED if of another content."""
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
    """What is stored according to the committed rows of a folder; empty if the folder does not exist."""
    return Stored(merge(results_files.scan(out, COLUMNS, s3_endpoint)))
