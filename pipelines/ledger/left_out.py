"""What a listing leaves out of its ledger: counted by reason and suffix, and each written to the job's folder."""

from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from cluster.api_job_types import OTHER_REASONS
from cluster.results.rolling_writer import Shards
from cluster.storage.listing import log_left_out

LEFT_OUT = pa.schema([("uri", pa.string()), ("suffix", pa.string()), ("reason", pa.string())])
MOST_GROUPS = 200  # counted one by one; further ones are counted as OTHER_REASONS
MOST_EXAMPLES = 20  # of a group
MOST_LOGGED = 10
IN_A_SENTENCE = 3  # groups
ROWS = 1000  # buffered


@dataclass(slots=True)
class Group:
    """Files and folders that were left out for the same reason and have the same suffix, and the first of them."""

    reason: str
    suffix: str  # with its dot, in lower case; empty: none
    count: int = 0
    examples: list[str] = field(default_factory=list)  # URIs


class LeftOutFiles:
    """Counts the folders and files that a listing leaves out, and writes each to Parquet files of LEFT_OUT.

    It is used in a `with` block. `folder` None: nothing is written, as for a plan.
    """

    def __init__(self, folder: str | None = None, s3_endpoint: str | None = None) -> None:
        self.count = 0
        self._groups: dict[tuple[str, str], Group] = {}
        self._rows: list[dict[str, str]] = []
        self._files = Shards(folder, LEFT_OUT, s3_endpoint) if folder else None

    def __enter__(self) -> "LeftOutFiles":
        if self._files:
            self._files.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._files:
            if kind is None:
                self._write()
            self._files.__exit__(kind, *rest)

    def add(self, uri: str, reason: str) -> None:
        """Count one, and log the first ones."""
        self.count += 1
        suffix = PurePosixPath(uri.rpartition("/")[2]).suffix.lower()
        key = (reason, suffix)
        if key not in self._groups and len(self._groups) >= MOST_GROUPS:
            key = (OTHER_REASONS, "")
        group = self._groups.setdefault(key, Group(*key))
        group.count += 1
        if len(group.examples) < MOST_EXAMPLES:
            group.examples.append(uri)
        if self.count <= MOST_LOGGED:
            log_left_out(uri, reason)
        if self._files:
            self._rows.append({"uri": uri, "suffix": suffix, "reason": reason})
            if len(self._rows) >= ROWS:
                self._write()

    def groups(self) -> list[Group]:
        """The groups, the largest first."""
        return sorted(self._groups.values(), key=lambda group: -group.count)

    def described(self) -> list[dict[str, Any]]:
        """The groups as JSON."""
        return [asdict(group) for group in self.groups()]

    def __str__(self) -> str:
        """How many there are, and the largest groups with an example of each; empty: none."""
        if not self.count:
            return ""
        parts = [
            f"{group.count:,} {group.suffix or 'without a suffix'}: {group.reason} ({group.examples[0]})"
            for group in self.groups()[:IN_A_SENTENCE]
        ]
        more = "; ..." if len(self._groups) > IN_A_SENTENCE else ""
        return f"{self.count:,} files or folders were left out: {'; '.join(parts)}{more}"

    def _write(self) -> None:
        if self._files and self._rows:
            self._files.add(pa.Table.from_pylist(self._rows, LEFT_OUT))
            self._rows.clear()
