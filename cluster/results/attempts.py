"""Numbers of attempts at jobs. Of two rows, the one of the attempt with the higher number is newer.

An attempt is one driver's run of a job; a job that is resumed has another attempt. All drivers run on the head, so
one clock gives the numbers, and each number is higher than every earlier one of the folder even if that clock was
set back (a hybrid logical clock: Kulkarni et al. 2014). docs/decisions/0013 says why it is not the time of a commit.
"""

import time
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs

from cluster.errors import SettingsError
from cluster.storage import buckets

STEP = 1000  # minimum from one attempt to the next: `people match` writes rows with numbers in between
# Rows of version 0.1 have no number. They get the worker's time minus this: older than every row with a number.
_BELOW_ZERO = 2**53


def begin(out: str, job: str, s3_endpoint: str | None = None, clock: Callable[[], float] = time.time) -> int:
    """The number of a new attempt: microseconds since 1970, or more if the folder has higher numbers.

    The number is written to `_raysift/attempts` of the results. SettingsError if that cannot be written.
    """
    folder = f"{out}/_raysift/attempts"
    try:
        files, path = buckets.filesystem(folder, s3_endpoint)
        noted = files.get_file_info(fs.FileSelector(path, allow_not_found=True))
        highest = max((int(info.base_name) for info in noted if info.base_name.isdigit()), default=0)
        number = max(round(clock() * 1e6), highest + STEP)
        files.create_dir(path, recursive=True)
        with files.open_output_stream(f"{path}/{number:020}") as note:
            note.write(job.encode())
    except OSError as error:
        raise SettingsError(f"{folder} cannot be written: {error}. Check --out and its rights.") from None
    return number


def without_number(seconds: float) -> int:
    """The number of an attempt of which only a worker's time is known, in seconds since 1970."""
    return round(seconds * 1e6) - _BELOW_ZERO


def numbers(rows: pa.Table) -> pa.ChunkedArray:
    """The column `sequence` of rows, filled from `analyzed_at` where it is null (see without_number)."""
    by_time = pc.subtract(rows["analyzed_at"].cast(pa.int64()), pa.scalar(_BELOW_ZERO, pa.int64()))
    return pc.coalesce(rows["sequence"], by_time) if "sequence" in rows.column_names else by_time
