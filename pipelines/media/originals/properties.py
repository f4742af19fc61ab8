"""What a file says about itself: when, where and with what a picture or recording was made. Files may say anything."""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from cluster.errors import MediaError
from cluster.records import Kind
from pipelines.media import decoding
from pipelines.media.containers import opened, video_stream
from pipelines.media.guard import decoding_errors
from pipelines.media.sources import Source

MAX_TAGS, MAX_CHARACTERS = 60, 300  # of `others`, and of each value
_IGNORED_TAGS = ("MakerNote", "JPEGInterchangeFormat", "JPEGInterchangeFormatLength", "PrintImageMatching", "XMLPacket")
_OWN_FIELDS = ("DateTimeOriginal", "DateTime", "Make", "Model", "LensModel", "Software")  # in fields of their own
_ISO_6709 = re.compile(r"([+-]\d{1,2}(?:\.\d+)?)([+-]\d{1,3}(?:\.\d+)?)([+-]\d+(?:\.\d+)?)?")

Properties = dict[str, Any]  # the fields of cluster.api_types.Properties


def properties(source: Source, kind: Kind) -> Iterator[Properties]:
    """What it says about itself, once. What it does not say is left out."""
    if kind == "image":
        yield _of_picture(source)
    else:
        yield _of_recording(source)


def _of_picture(source: Source) -> Properties:
    tags: dict[str, Any] = {}
    with decoding.image_header(source) as image:
        with decoding_errors():
            exif: Any = image.getexif()
            from PIL import ExifTags

            parts: list[tuple[Mapping[int, Any], Any]] = [(exif, ExifTags.TAGS)]
        for ifd, names in ((ExifTags.IFD.Exif, ExifTags.TAGS), (ExifTags.IFD.GPSInfo, ExifTags.GPSTAGS)):
            with suppress(MediaError), decoding_errors():
                parts.append((exif.get_ifd(ifd), names))
        for part, names in parts:
            tags |= {names[tag]: value for tag, value in part.items() if tag in names}
    return _fields(
        captured_at=_time(tags),
        camera=_camera(tags.get("Make"), tags.get("Model")),
        lens=_text(tags.get("LensModel")),
        software=_text(tags.get("Software")),
        position=_position(tags),
        altitude_m=_altitude(tags),
        others={
            name: text
            for name, value in tags.items()
            if name not in _OWN_FIELDS + _IGNORED_TAGS
            if (text := _text(value))
        },
    )


def _of_recording(source: Source) -> Properties:
    with opened(source) as container:
        tags = {name.lower(): value for name, value in container.metadata.items()}
        video = video_stream(container)
        codecs = {
            f"{stream.type} codec": stream.codec_context.codec.long_name
            for stream in (*([video] if video else []), *container.streams.audio[:1])
            if stream.codec_context is not None
        }
        if video is not None and video.average_rate:
            codecs["frames a second"] = f"{float(video.average_rate):.3f}".rstrip("0").rstrip(".")
        codecs["container"] = container.format.long_name
    apple = "com.apple.quicktime."
    place = _ISO_6709.match(tags.get(f"{apple}location.iso6709") or tags.get("location") or "")
    return _fields(
        captured_at=_text(tags.get(f"{apple}creationdate") or tags.get("creation_time") or tags.get("date")),
        camera=_camera(tags.get(f"{apple}make") or tags.get("make"), tags.get(f"{apple}model") or tags.get("model")),
        software=_text(tags.get(f"{apple}software") or tags.get("encoder")),
        position=_valid(float(place[1]), float(place[2])) if place else None,
        altitude_m=float(place[3]) if place and place[3] else None,
        others=codecs | {name: text for name, value in tags.items() if (text := _text(value))},
    )


def _fields(others: dict[str, str], **fields: Any) -> Properties:
    known = {name: value for name, value in fields.items() if value is not None}
    return known | {"others": dict(sorted(others.items())[:MAX_TAGS])}


def _text(value: Any) -> str | None:
    """A value as one line of printable characters; None if that is nothing, or it is no text and no numbers."""
    if isinstance(value, bytes):
        text = value.removeprefix(b"ASCII\0\0\0").removeprefix(b"UNICODE\0").decode("utf-8", "replace")
        if "\ufffd" in text:  # no text
            return None
    elif isinstance(value, tuple):
        text = ", ".join(filter(None, map(_text, value)))
    elif isinstance(value, str | int):
        text = str(value)
    else:  # Pillow's rational number
        number = _number(value)
        text = "" if number is None else f"{number:.6g}"
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return text[:MAX_CHARACTERS] or None


def _number(value: Any) -> float | None:
    with suppress(TypeError, ValueError, ZeroDivisionError, OverflowError):
        number = float(value)
        return number if math.isfinite(number) else None
    return None


def _time(tags: Mapping[str, Any]) -> str | None:
    """When it was taken: in the camera's own time, with the offset to UTC if it is told."""
    for name, offset in (("DateTimeOriginal", "OffsetTimeOriginal"), ("DateTimeDigitized", ""), ("DateTime", "")):
        written = _text(tags.get(name))
        if written and any(digit in "123456789" for digit in written):
            date, _, time = written.partition(" ")
            return " ".join(filter(None, [date.replace(":", "-"), time, _text(tags.get(offset)) if offset else None]))
    return None


def _camera(maker: Any, model: Any) -> str | None:
    first, second = _text(maker), _text(model)
    if first and second and second.lower().startswith(first.lower().split()[0]):
        first = None  # "Canon", "Canon EOS 5D"
    return " ".join(filter(None, [first, second])) or None


def _position(tags: Mapping[str, Any]) -> tuple[float, float] | None:
    degrees = []
    for name, negative in (("GPSLatitude", "S"), ("GPSLongitude", "W")):
        value = tags.get(name)
        parts = [_number(part) for part in value] if isinstance(value, tuple) else []
        known = [part for part in parts if part is not None]
        if len(known) != 3 or len(parts) != 3:
            return None
        size = known[0] + known[1] / 60 + known[2] / 3600
        degrees.append(-size if (_text(tags.get(f"{name}Ref")) or "").upper().startswith(negative) else size)
    return _valid(*degrees)


def _valid(latitude: float, longitude: float) -> tuple[float, float] | None:
    is_place = abs(latitude) <= 90 and abs(longitude) <= 180 and (latitude, longitude) != (0, 0)
    return (round(latitude, 6), round(longitude, 6)) if is_place else None


def _altitude(tags: Mapping[str, Any]) -> float | None:
    metres = _number(tags.get("GPSAltitude"))
    if metres is None:
        return None
    below = tags.get("GPSAltitudeRef") in (1, b"\x01")
    return round(-metres if below else metres, 1)
