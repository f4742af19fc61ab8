"""What is stored already, and whether a job's results are all there: nothing lost, nothing twice."""

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cluster import results
from cluster.errors import SettingsError
from cluster.records import Analyzer, MediaItem

_KEY = np.dtype("S16")


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What a job owed against what lies in its results."""

    units: int  # in the ledger
    done: int  # of these, with a row; failed ones too
    failed: int  # of these, with errors in their row
    lost: int  # without a row
    double: int  # with more than one


class Stored:
    """Which detectors have answered for which content. 20 bytes a file, so that ten million fit where a job starts."""

    def __init__(self, keys: npt.NDArray[np.bytes_], codes: npt.NDArray[np.uint32], answers: list[frozenset[Analyzer]]):
        self._keys = keys  # sorted, 128 bits of BLAKE2b each: no two files will ever meet
        self._codes = codes  # which of the answers each has; there are few different ones
        self._answers = answers

    def __len__(self) -> int:
        return len(self._keys)

    def answered(self, item: MediaItem) -> frozenset[Analyzer]:
        """The detectors, with their models, that need not be asked again for this content of this file."""
        key = np.array(_key(item.uri, item.etag), _KEY)
        at = int(np.searchsorted(self._keys, key))
        if at < len(self._keys) and self._keys[at] == key:
            return self._answers[self._codes[at]]
        return frozenset()


def _key(uri: str, etag: str | None) -> bytes:
    return blake2b(f"{uri}\0{etag or ''}".encode(), digest_size=_KEY.itemsize).digest()


def stored(out: str, s3_endpoint: str | None = None) -> Stored:
    """What the committed rows of a folder answer; a folder that does not exist answers nothing."""
    answers: dict[frozenset[Analyzer], int] = {}
    found_keys, found_codes = [np.empty(0, _KEY)], [np.empty(0, np.uint32)]
    for rows in results.scan(out, ["uri", "etag", "analyzers"], s3_endpoint):
        names = zip(rows["uri"].to_pylist(), rows["etag"].to_pylist(), strict=True)
        found_keys.append(np.array([_key(uri, etag) for uri, etag in names], _KEY))
        said = (frozenset(Analyzer(**one) for one in row or ()) for row in rows["analyzers"].to_pylist())
        found_codes.append(np.array([answers.setdefault(one, len(answers)) for one in said], np.uint32))
    keys, codes = np.concatenate(found_keys), np.concatenate(found_codes)
    order = np.argsort(keys, kind="stable")
    keys, codes = keys[order], codes[order]
    again = np.flatnonzero(keys[1:] == keys[:-1]) + 1  # scanned more than once: what any of its rows answered
    by_code = list(answers)
    for at in again:
        union = by_code[codes[at - 1]] | by_code[codes[at]]
        codes[at] = answers.setdefault(union, len(answers))
        if len(answers) > len(by_code):
            by_code.append(union)
    last = np.append(keys[1:] != keys[:-1], True)[: len(keys)]
    return Stored(keys[last], codes[last], by_code)


def reconcile(ledger: str, out: str, job: str, s3_endpoint: str | None = None) -> Reconciliation:
    """Hold a job's ledger against its committed rows, by unit_id. SettingsError if there is no ledger."""
    import duckdb

    if not results.committed(ledger, s3_endpoint):
        raise SettingsError(
            f"there is no ledger at {ledger}: no such job has stored here. Check the job and the folder."
        )
    owed = list(results.scan(ledger, ["unit_id"], s3_endpoint))
    have = [
        rows.select(["unit_id"]).append_column("failed", pc.greater(pc.list_value_length(rows["errors"]), 0))
        for rows in results.scan(out, ["unit_id", "errors"], s3_endpoint, job)
    ]
    empty = pa.table({"unit_id": pa.array([], pa.int64()), "failed": pa.array([], pa.bool_())})
    with duckdb.connect(":memory:", config={"enable_external_access": False, "temp_directory": ""}) as db:
        db.register("owed", pa.concat_tables(owed))
        db.register("have", pa.concat_tables(have or [empty]))
        row = db.execute(
            """select count(*), count(n), count(*) filter (failed), count(*) filter (n is null), count(*) filter (n > 1)
                from (select distinct unit_id from owed)
                left join (select unit_id, count(*) as n, bool_or(failed) as failed from have group by unit_id)
                using (unit_id)"""
        ).fetchone()
    assert row is not None  # an aggregate always gives one
    return Reconciliation(*row)
