"""Containers in a decoder process: their members, told by their bytes, and the files that these are unpacked to."""

from collections.abc import Iterator
from pathlib import Path

from pipelines.archives import opening
from pipelines.archives.limits import Limits
from pipelines.archives.opening import Member, Others
from pipelines.media.formats import kind_of
from pipelines.media.guard import report_progress


def members(path: Path, limits: Limits) -> Iterator[Member | Others]:
    """The members of a container, as `opening.members`."""
    return opening.members(path, kind_of, limits, report_progress)


def extract(path: Path, wanted: list[int], folder: Path, limits: Limits) -> Iterator[tuple[int, str | None]]:
    """Unpack members into a folder, as `opening.extract`."""
    return opening.extract(path, wanted, folder, kind_of, limits, report_progress)
