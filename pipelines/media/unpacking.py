"""Containers in a decoder process: their members, told by their bytes, and the files that these are unpacked to."""

from collections.abc import Iterator
from pathlib import Path

from cluster.records import Kind
from pipelines.archives import opening
from pipelines.archives.formats import container_format
from pipelines.archives.limits import Limits
from pipelines.archives.opening import Member, Others
from pipelines.media import formats
from pipelines.media.guard import report_progress


def kind_of(head: bytes) -> Kind | None:
    """The kind of a file with this head; None if it is no media and no container. "video" may turn out to be audio.

    MediaError for media that are not read here.
    """
    if container_format(head):
        return "container"
    if formats.image_format(head):
        return "image"
    if formats.is_audio(head):
        return "audio"
    if formats.is_container(head):
        return "video"
    return "audio" if formats.is_mpeg_audio(head) else None


def members(path: Path, limits: Limits) -> Iterator[Member | Others]:
    """The members of a container, as `opening.members`."""
    return opening.members(path, kind_of, limits, report_progress)


def extract(path: Path, wanted: list[int], folder: Path, limits: Limits) -> Iterator[tuple[int, str | None]]:
    """Unpack members into a folder, as `opening.extract`."""
    return opening.extract(path, wanted, folder, kind_of, limits, report_progress)
