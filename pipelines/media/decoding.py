"""From bytes to samples: the kind of a file, its sampled frames and its sound, or a MediaError with a plain reason."""

import io
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from cluster.errors import MediaError
from cluster.records import Kind, Sample, Segment, Span
from cluster.settings import Decoding
from pipelines.media import audio, formats, images, recordings
from pipelines.media.containers import ROUNDING_S
from pipelines.media.guard import decoding_errors, readable
from pipelines.media.recordings import RawFrame
from pipelines.media.sources import RemoteFile, Source

if TYPE_CHECKING:
    from PIL import Image, ImageFile

THUMBNAIL_PX = 320
SHOT_PX = 256  # longest side of the shot detector's input
SHOT_THRESHOLD = 15.0  # measured on 4 films: cuts 17 to 37, people walking and talking 0 to 12
SHOT_S = 0.25  # shots that follow each other faster are one: a strobe must not make every frame a shot
CELLS = 96  # along the longest side; frames are compared cell by cell, see Decoding.same_below


@dataclass(frozen=True, slots=True)
class Media:
    """What a file is, before it is decoded. Width and height are in pixels and those of the upright image."""

    kind: Kind
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    has_sound: bool = False
    has_text: bool = False  # `texts` may yield something


@dataclass(frozen=True, slots=True)
class Frame:
    """A sampled frame, and whether it looks like the last one before it that was marked as different."""

    sample: Sample
    same_as_before: bool
    thumbnail: bytes | None = None  # JPEG; of the first frame, where it was asked for


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
    if formats.image_format(head):
        return "image"
    if formats.is_audio(head):
        return "audio"
    if formats.is_container(head):
        return recordings.kind_of(source)
    if formats.is_mpeg_audio(head):
        return "audio"
    raise MediaError("decode", "its bytes are those of no image, video or audio format that is read here")


def probe(source: Source, kind: Kind | None, decoding: Decoding) -> Media:
    """Read the header of a file of that kind, or of any kind (None). MediaError says why it cannot be analysed."""
    actual = sniff(source)
    if kind is not None and actual != kind:
        raise MediaError("decode", f"it is no {kind} but {actual}, whatever its name says")
    if actual == "image":
        with _opened_image(source, decoding) as image:
            return Media("image", *images.upright_size(image))
    return Media(actual, *recordings.facts(source, decoding))


def frames(
    source: Source,
    kind: Kind,
    decoding: Decoding,
    segment: Segment | None = None,
    with_thumbnail: bool = False,
) -> Iterator[Frame]:
    """The sampled frames of a file, or of a segment of a video: one, without a time, of an image; none of audio.

    A video or animated image gives one frame each 1 / frames_per_s and the first frame of every shot. Frames are
    upright (height, width, 3) RGB on white, no side longer than max_side_px. When a file is damaged, MediaError comes
    after the frames that could be decoded.
    """
    if kind == "image":
        yield from _image_frames(source, decoding, with_thumbnail)
    elif kind == "video":
        begin_s = segment.begin_s if segment else 0.0
        yield from _sampled(recordings.raw_frames(source, decoding, segment), decoding, with_thumbnail, begin_s)


def sound(source: Source, decoding: Decoding, segment: Segment | None = None) -> Iterator[Sample]:
    """The sound of a file in pieces of half an hour at most; none if it has none.

    When a file is damaged, MediaError comes after what could be decoded.
    """
    for begin_s, samples in audio.sound(source, decoding, segment):
        yield Sample(sound=samples, time_s=begin_s)


def texts(source: Source, kind: Kind, decoding: Decoding, segment: Segment | None = None) -> Iterator[FileText]:
    """The text that a file contains, or a segment of it: that which begins in the segment. Of a recording, subtitles.

    When a file is damaged, MediaError comes after what could be read.
    """
    if kind != "image":
        for text, origin, span in recordings.subtitles(source, decoding, segment):
            yield FileText(text, origin, span)


def _thumbnail(image: "Image.Image") -> bytes:
    """A JPEG of an RGB image, its longest side THUMBNAIL_PX at most."""
    from PIL import Image

    scale = min(1.0, THUMBNAIL_PX / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    # means of whole pixels as far as they go, then Lanczos: a third of the time, measured as sharp
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=1.0)
    small.info.clear()  # Pillow would copy the comment of the file
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80)
    return file.getvalue()


def _head(source: Source) -> bytes:
    """The first bytes of a file, by which its format is known. MediaError if there are none."""
    try:
        if isinstance(source, Path):
            _require_regular_file(source)
        with readable(source) as file:
            if isinstance(file, RemoteFile):
                head = file.read(formats.HEAD_BYTES)
            else:
                with file.open("rb") as opened:
                    head = opened.read(formats.HEAD_BYTES)
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
def _opened_image(source: Source, decoding: Decoding) -> Iterator["ImageFile.ImageFile"]:
    name = formats.image_format(_head(source))
    if name is None:
        raise MediaError("decode", "its bytes are those of no picture that is read here")
    with images.opened(source, name, decoding) as image:
        yield image


def _image_frames(source: Source, decoding: Decoding, with_thumbnail: bool) -> Iterator[Frame]:
    with _opened_image(source, decoding) as image:
        with decoding_errors():
            count = int(getattr(image, "n_frames", 1))
        if count > 1 and image.format in images.ANIMATED:
            yield from _sampled(images.animation(image), decoding, with_thumbnail)
            return
        rgb = images.upright_rgb(image, decoding.max_side_px)
        sample = Sample(pixels=np.array(rgb))
        yield Frame(sample, same_as_before=False, thumbnail=_thumbnail(rgb) if with_thumbnail else None)
        if count > 1 and image.format == "TIFF":
            raise MediaError("decode", f"it has {count:,} pages, of which only the first was looked at")


def _sampled(
    raw_frames: Iterator[RawFrame], decoding: Decoding, with_thumbnail: bool, begin_s: float = 0.0
) -> Iterator[Frame]:
    """The frames from begin_s on that are to be analysed. Earlier frames only determine which ones these are.

    Shots are found by PySceneDetect's content detector (change of hue, saturation, lightness).
    """
    from PIL import Image
    from scenedetect import FrameTimecode
    from scenedetect.detectors import ContentDetector

    detector, shape = ContentDetector(SHOT_THRESHOLD, min_scene_len=0), None
    next_tick, sampled_s, cut = 0, -SHOT_S, False
    reference: npt.NDArray[np.float32] | None = None  # cells of the last frame that differed
    for raw in raw_frames:
        small = raw.pixels(SHOT_PX)
        if small.shape != shape:  # the detector compares neighbours of one size only
            detector, shape, cut = ContentDetector(SHOT_THRESHOLD, min_scene_len=0), small.shape, True
        cut = bool(detector.process_frame(FrameTimecode(raw.time_s, fps=1000.0), small)) or cut
        tick = math.floor(raw.time_s * decoding.frames_per_s + 1e-6)  # 1.0 s may come as 0.9999999
        if tick < next_tick and not (cut and raw.time_s - sampled_s >= SHOT_S):
            continue
        next_tick = tick + 1
        cut, sampled_s = False, raw.time_s
        if raw.time_s < begin_s - ROUNDING_S:
            continue
        pixels = raw.pixels(decoding.max_side_px)
        cells = _cells(pixels)
        same = _similar(reference, cells, decoding.same_below)
        if not same:  # compared with the last that differed, not with its neighbour, so that a slow drift is noticed
            reference = cells
        thumbnail = _thumbnail(Image.fromarray(pixels)) if with_thumbnail else None
        yield Frame(Sample(pixels=pixels, time_s=raw.time_s), same, thumbnail)
        with_thumbnail = False


def _cells(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Mean grey of square cells, CELLS along the longest side: 13 px at 720p, less than the height of a text line."""
    from PIL import Image

    height, width = pixels.shape[:2]
    scale = CELLS / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(pixels).convert("L").resize(size, Image.Resampling.BOX), np.float32)


def _similar(reference: npt.NDArray[np.float32] | None, cells: npt.NDArray[np.float32], same_below: float) -> bool:
    """Whether no cell differs by same_below (0 to 255) or more from the reference, which may be none yet."""
    if reference is None or reference.shape != cells.shape:
        return False
    return bool(np.abs(reference - cells).max() < same_below)
