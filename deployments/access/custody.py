"""The part of the deployment Access that reads for reports: entries of the audit log, and measures of detectors."""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qs

from cluster.access.audit import MOST_CHARACTERS, Audit, Record
from cluster.results import measured
from cluster.results.measured import Measured

MOST_ENTRIES = 10_000  # of a report
REPORTED, MATCHED = "report made", "faces matched"
_ON_A_FILE = {"original viewed", "searched by a face", "decision taken back"}  # `of` is its id
_ON_A_JOB = {"job submitted", "job cancelled", "job resumed", "failed files submitted again"}
_ON_A_CASE = {"case made", "case changed", "case removed"}
_SHOWN = ("n", "at", "who", "subject", "role", "what", "of", "purpose", "filters", "sha256")


@dataclass(frozen=True, slots=True)
class Concerned:
    """What a report is about: the ids of its files, the jobs that analysed them, and its case (None: all files).

    `limited`: it is for a caller who sees some folders only. Exports by others are then shown without their filters,
    and only if they are of this case.
    """

    assets: frozenset[str]
    jobs: frozenset[str]
    case: str | None
    limited: bool


@dataclass(frozen=True, slots=True)
class Custody:
    """The entries on some files, oldest first, and the state of the whole log."""

    lines: int  # of the log
    last: str  # hash of the last one
    fault: str | None  # where the chain of the log is broken; there are no entries from there on
    entries: tuple[Record, ...]
    left_out: int  # older entries, beyond MOST_ENTRIES


class CustodyReader:
    """Reads, and changes nothing; the deployment that inherits it has the log."""

    _audit: Audit
    _state_dir: Path

    def custody(self, concerned: Concerned) -> Custody:
        """The entries on these files, and on the jobs, case, exports and reports that they are a part of.

        The whole log is read: it is verified first.
        """
        checked = self._audit.verify()
        kept: deque[Record] = deque(maxlen=MOST_ENTRIES)
        count = 0
        for record in islice(self._audit.records(), checked.lines):
            if entry := _entry(record, concerned):
                kept.append(entry)
                count += 1
        return Custody(checked.lines, checked.last, checked.fault, tuple(kept), count - len(kept))

    def measured(self, models: Collection[tuple[str, str]]) -> list[Measured]:
        """What evaluations on this machine have measured of these detectors and models."""
        return measured.known(self._state_dir, models)


def _entry(record: Record, concerned: Concerned) -> Record | None:
    """What a report shows of a record, with `assets`: which of its files; None if the record does not concern it."""
    what, of = record.get("what"), record.get("of", "")
    assets: list[str] = []
    if what in _ON_A_FILE:
        assets = [of] if of in concerned.assets else []
        concerns = bool(assets)
    elif what == "decided":
        decided = " ".join(record.get("assets", ())).split()  # a value has several ids
        assets = [asset for asset in decided if asset in concerned.assets]
        concerns = bool(assets)
    elif what == MATCHED:
        matched = " ".join(record.get("matches", ())).split()  # ids and scores
        assets = [asset for asset in matched if asset in concerned.assets]
        concerns = bool(assets)
    elif what in _ON_A_JOB:
        concerns = of in concerned.jobs
    elif what in _ON_A_CASE:
        concerns = concerned.case is not None and of == concerned.case
    else:
        concerns = what in ("exported", REPORTED) and _may_hold(record.get("filters", ""), concerned)
    if not concerns:
        return None
    hidden = {"of"} if what == MATCHED else {"filters"} if concerned.limited else set()  # it may be another case's
    shown = {key: record[key] for key in _SHOWN if key in record and key not in hidden}
    return shown | {"assets": assets}


def _may_hold(filters: str, concerned: Concerned) -> bool:
    """Whether an export or report with these filters may have some of the files, as far as its case and ids tell."""
    values = parse_qs(filters)
    if not concerned.assets.isdisjoint(values.get("id", ())):
        return True
    if len(filters) >= MOST_CHARACTERS:  # the log has cut off what follows: ids, or the case
        return not concerned.limited
    if "id" in values:
        return False
    case = values.get("case", [None])[0]
    if case is None or concerned.case is None:
        return not concerned.limited
    return case == concerned.case
