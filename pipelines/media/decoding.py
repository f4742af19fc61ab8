"""From bytes to samples: the kind of a file, its sampled frames and its sound, or a MediaError with a plain reason."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cluster.errors import MediaError
from cluster.records import Kind, Sample, Segment, Span
from cluster.settings import Decoding
from pipelines.archives import opening
from pipelines.archives.limits import Limits
from pipelines.media import audio, formats, images, recordings, sampling, stills
from pipelines.media.ends import behind, motion
from pipelines.media.guard import byte_file, decoding_errors, report_progress
from pipelines.media.sampling import Frame as Frame
from pipelines.media.sources import Embedded, Source
from pipelines.media.tracks.frames import hidden, video_frames
from pipelines.media.tracks.untold import untold

if TYPE_CHECKING:
    from PIL import Image


Pixels = npt.NDArray[np.uint8]  # (height, width, 3) RGB
ZEROS_BYTES = 1 << 16  # within which an MP3 may begin that zero bytes precede: some programs write them


@dataclass(frozen=True, slots=True)
class Media:
    """What a file is, before it is decoded. Width and height are in pixels and those of the upright image."""

    kind: Kind
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    has_sound: bool = False
    has_cover: bool = False  # a picture that belongs to a recording as a whole
    has_text: bool = False  # `texts` may yield something


@dataclass(frozen=True, slots=True)
class FileText:
    """Text that the file itself contains: a subtitle, a text layer, a message. It is not read from pixels or sound."""

    text: str
    origin: str  # where in the file it stands: subtitle track 1 (eng)
    span: Span | None = None  # when it is shown, in seconds of the file
    page: int | None = None  # from 1


def sniff(source: Source) -> Kind:
    """The kind of a file by its bytes, not by its name. A song with a cover image is audio.

    MediaError if it is empty, no regular file, or in no supported format.
    """
    head = _head(source)
    kind = formats.kind_of(head)
    if kind is None and head.startswith(b"\0"):
        kind = formats.kind_of(_head(source, ZEROS_BYTES))
    if kind is None:
        raise MediaError("decode", "its bytes are those of no image, video or audio format that is read here")
    return recordings.kind_of(source) if kind == "video" else kind


def probe(source: Source, kind: Kind | None, decoding: Decoding) -> Media:
    """Read the header of a file of that kind, or of any kind (None). MediaError says why it cannot be analysed."""
    actual = sniff(source)
    if kind is not None and actual != kind:
        raise MediaError("decode", f"it is no {kind} but {actual}, whatever its name says")
    if actual == "container":
        return Media("container", has_text=True)
    if actual == "image":
        with _opened_image(source, decoding) as image:
            width, height = images.upright_size(image)
        return Media("image", width, height, has_sound=_film_with_sound(source, decoding) is not None)
    return Media(actual, *recordings.facts(source, decoding))


def frames(
    source: Source,
    kind: Kind,
    decoding: Decoding,
    segment: Segment | None = None,
    with_thumbnail: bool = False,
    with_tiles: bool = False,
) -> Iterator[Frame]:
    """The sampled frames of a file, or of a segment of a video: one, without a time, of an image; of audio its covers.

    A video or animated image gives the frame shown at each 1 / frames_per_s, the first of every shot, the last, and a
    few of those that show something which comes and goes between: each at the time at which it begins. Frames are
    upright (height, width, 3) RGB on white, no side longer than max_side_px. A still image gives a frame of each page
    and, `with_tiles`, tiles of large ones (stills.stills); the film of a motion photo follows. When a file is damaged,
    MediaError comes after the frames that could be decoded. Pictures and films behind the end of the file follow.
    """
    own = _own_frames(source, kind, decoding, segment, with_thumbnail, with_tiles)
    if isinstance(source, Embedded) or kind == "audio" or (segment is not None and segment.n):
        yield from own
        return
    failure = None
    try:
        yield from own
    except MediaError as error:
        if error.step != "decode":
            raise
        failure = error
    yield from behind.frames_behind(
        source, failure, lambda part, part_kind: _own_frames(part, part_kind, decoding, None, False, with_tiles)
    )


def _own_frames(
    source: Source, kind: Kind, decoding: Decoding, segment: Segment | None, with_thumbnail: bool, with_tiles: bool
) -> Iterator[Frame]:
    if kind == "image":
        yield from _image_frames(source, decoding, with_thumbnail, with_tiles)
    elif kind == "video":
        yield from video_frames(source, decoding, segment, with_thumbnail)
    else:
        for pixels in recordings.covers(source, decoding):
            jpeg = sampling.jpeg_of(pixels) if with_thumbnail else None
            yield Frame(Sample(pixels=pixels), same_as_before=False, thumbnail=jpeg)
            with_thumbnail = False


def picture(source: Source, decoding: Decoding) -> "Image.Image":
    """An image as RGB, upright, no side longer than max_side_px: the first one, and of a broken one what is readable.

    MediaError if that is nothing.
    """
    with _opened_image(source, decoding) as image:
        return next(stills.stills(image, lambda: _opened_image(source, decoding, True), decoding, False)).rgb


@contextmanager
def image_header(source: Source) -> Iterator["Image.Image"]:
    """Yield Pillow's image of a file, of which the header is read, as of `images.header`."""
    with images.header(source, _image_format(source)) as image:
        yield image


def sound(source: Source, decoding: Decoding, segment: Segment | None = None) -> Iterator[Sample]:
    """The sound of a file, track by track, in pieces of half an hour at most; none if it has none.

    Of a motion photo, that of its film. When a file is damaged, or an edit list hides a part of its sound, MediaError
    comes after what could be decoded.
    """
    if segment is None and formats.image_format(_head(source)):  # only a video has segments
        if (film := _film_with_sound(source, decoding)) is None:
            return
        source = film
    for begin_s, samples, track in audio.sound(source, decoding, segment):
        yield Sample(sound=samples, time_s=begin_s, track=track)
    if segment is None or segment.n == 0:
        more = [hidden(source, "sound"), untold(source, "sound", decoding)]
        more += [] if isinstance(source, Embedded) else [behind.told(source)]
        if missing := "; ".join(filter(None, more)):
            raise MediaError("decode", missing)


def texts(source: Source, kind: Kind, decoding: Decoding, segment: Segment | None = None) -> Iterator[FileText]:
    """The text that a file contains, or a segment of it: that which begins in the segment. Of a recording, subtitles.

    When a file is damaged, MediaError comes after what could be read.
    """
    if kind == "container":
        if not isinstance(source, Path):
            raise ValueError("a container is read where it has been fetched to")
        for passage in opening.texts(source, Limits(), report_progress):
            yield FileText(passage.text, passage.origin, page=passage.page)
    elif kind != "image":
        for text, origin, span in recordings.subtitles(source, decoding, segment):
            yield FileText(text, origin, span)


def _head(source: Source, size: int = formats.HEAD_BYTES) -> bytes:
    """The first bytes of a file, by which its format is known. MediaError if there are none."""
    try:
        if isinstance(source, Path):
            _require_regular_file(source)
        with byte_file(source) as file:
            head = file.read(size) or b""
    except FileNotFoundError:
        raise MediaError("decode", "it is not there") from None
    except PermissionError:
        raise MediaError("decode", "it may not be read by this user") from None
    if not head:
        raise MediaError("decode", "it is empty: it has no bytes")
    return head


def _require_regular_file(path: Path) -> None:
    """MediaError for a folder, FIFO or device: to open one may block for ever."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise MediaError("decode", "it is a folder, not a file")
    if not stat.S_ISREG(mode):
        raise MediaError("decode", "it is not a regular file")


@contextmanager
def _opened_image(source: Source, decoding: Decoding, lenient: bool = False) -> Iterator["Image.Image"]:
    with images.opened(source, _image_format(source), decoding, lenient) as image:
        yield image


def _image_format(source: Source) -> str:
    name = formats.image_format(_head(source))
    if name is None:
        raise MediaError("decode", "its bytes are those of no picture that is read here")
    return name


def _image_frames(source: Source, decoding: Decoding, with_thumbnail: bool, with_tiles: bool) -> Iterator[Frame]:
    """The frames of an image, then those of the film in it. MediaError after them, for both."""
    reasons = []
    try:
        yield from _picture_frames(source, decoding, with_thumbnail, with_tiles)
    except MediaError as error:
        if error.step != "decode":
            raise
        reasons.append(error.reason)
    try:
        if film := motion.film(source):
            for frame in sampling.sampled(recordings.raw_frames(film, decoding), decoding, with_thumbnail=False):
                yield replace(frame, note="in the film of the motion photo")
    except MediaError as error:
        if error.step != "decode":
            raise
        reasons.append(f"a film lies in it: {error.reason}")
    if reasons:
        raise MediaError("decode", "; ".join(reasons))


def _picture_frames(source: Source, decoding: Decoding, with_thumbnail: bool, with_tiles: bool) -> Iterator[Frame]:
    with _opened_image(source, decoding) as image:
        with decoding_errors():
            is_animated = image.format in images.ANIMATED and int(getattr(image, "n_frames", 1)) > 1
        if is_animated:
            yield from sampling.sampled(images.animation(image), decoding, with_thumbnail)
            return
        for still in stills.stills(image, lambda: _opened_image(source, decoding, True), decoding, with_tiles):
            thumbnail = sampling.thumbnail(still.rgb) if with_thumbnail else None
            sample = Sample(pixels=np.asarray(still.rgb))
            yield Frame(sample, False, thumbnail, still.part, still.is_tile, still.note)
            with_thumbnail = False


def _film_with_sound(source: Source, decoding: Decoding) -> Embedded | None:
    """The film in a motion photo if it can be read and has sound."""
    with suppress(MediaError):
        if (film := motion.film(source)) and recordings.facts(film, decoding)[3]:
            return film
    return None
