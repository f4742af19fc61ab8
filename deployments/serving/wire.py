"""The wire format between two clusters: batches of samples as safetensors, the response to them as JSON.

Both directions are bounded and execute nothing: safetensors checks sizes against the body before it returns arrays, and
pydantic validates the JSON. Both clusters must run the same VERSION of the format.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import safetensors.numpy
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import to_json
from safetensors import SafetensorError

from cluster.records import Sample
from deployments.detector import DetectorResponse

VERSION = 2  # 1 was Arrow IPC; raised whenever a cluster of the last version could not read what this one writes
VERSION_HEADER = "Raysift-Wire"  # of refusals (422) by a cluster that knows versions
SAMPLES_TYPE = "application/vnd.safetensors"
RESPONSE_TYPE = "application/json"
MAX_BYTES = 256 << 20  # of a request, and of the arrays that it unpacks to: 16 frames of 1600 x 1600 have 117 MB
MAX_SAMPLES = 1024  # of a request; a sample of few bytes is still several objects
_MAX_JSON_BYTES = 8 << 20  # of the descriptions of a request's samples, texts included; parsed, they take 10 times that
_MAX_HEADER_BYTES = 4096  # of safetensors, which lists the three arrays

# Pixels are sent as differences to the pixel on the left, compressed by zstd: lossless, as small as PNG, and encoded 7
# times faster (149 million pixels a second and core against 22). No image decoder is exposed to other clusters either.
_CODEC = pa.Codec("zstd", 1)

_ARRAYS = {"samples": np.dtype(np.uint8), "pixels": np.dtype(np.uint8), "sound": np.dtype(np.float32)}


class Malformed(ValueError):
    """The bytes are no message of this version."""


class TooLarge(Malformed):
    """The message is larger than one request may be."""


class _Description(BaseModel, extra="forbid"):
    """One sample: an image, a sound or a text. Images and sounds take their bytes from the arrays, in order."""

    image: tuple[int, int, int] | None = None  # height and width in pixels, bytes when compressed
    sound: int | None = Field(None, ge=0)  # number of values
    text: str | None = None
    time_s: float | None = None


_DESCRIPTIONS = TypeAdapter(Annotated[list[_Description], Field(max_length=MAX_SAMPLES)])
_RESPONSE = TypeAdapter(DetectorResponse)


def pack_samples(samples: Sequence[Sample]) -> bytes:
    """The body of a request with these samples. TooLarge if an API would refuse it for its size."""
    images = [None if sample.pixels is None else _compressed(sample.pixels) for sample in samples]
    sounds = [sample.sound for sample in samples if sample.sound is not None]
    descriptions = [
        _Description(
            image=None if image is None or sample.pixels is None else (*sample.pixels.shape[:2], len(image)),
            sound=None if sample.sound is None else sample.sound.size,
            text=sample.text,
            time_s=sample.time_s,
        )
        for sample, image in zip(samples, images, strict=True)
    ]
    body: bytes = safetensors.numpy.save(
        {
            "samples": np.frombuffer(_DESCRIPTIONS.dump_json(descriptions), np.uint8),
            "pixels": np.frombuffer(b"".join(image for image in images if image is not None), np.uint8),
            "sound": np.concatenate([np.empty(0, np.float32), *sounds]),
        }
    )
    if len(body) > MAX_BYTES:
        raise TooLarge(f"{len(body):,} bytes are more than an API takes at a time")
    return body


def unpack_samples(body: bytes) -> list[Sample]:
    """The samples of a request. Malformed; TooLarge before memory for them is taken."""
    arrays = _arrays(body)
    if arrays["samples"].size > _MAX_JSON_BYTES:
        raise TooLarge(f"its descriptions take {arrays['samples'].size:,} bytes, and {_MAX_JSON_BYTES:,} are allowed")
    try:
        descriptions = _DESCRIPTIONS.validate_json(arrays["samples"].tobytes())
    except ValidationError as error:
        if any(problem["type"] == "too_long" and not problem["loc"] for problem in error.errors()):
            raise TooLarge(f"it has more than {MAX_SAMPLES} samples") from None
        raise Malformed(f"the descriptions of its samples are wrong: {_first(error)}") from None
    _check_sizes(descriptions, arrays)
    samples, pixels_at, sound_at = [], 0, 0
    for description in descriptions:
        pixels = sound = None
        if description.image:
            height, width, size = description.image
            compressed = pa.py_buffer(arrays["pixels"][pixels_at : pixels_at + size])
            pixels, pixels_at = _decompressed(compressed, (height, width, 3)), pixels_at + size
        if description.sound is not None:
            sound, sound_at = arrays["sound"][sound_at : sound_at + description.sound], sound_at + description.sound
        samples.append(Sample(pixels, sound, description.text, description.time_s))
    return samples


def pack_response(response: DetectorResponse) -> bytes:
    """The body of a response: its answers in order, what they cost. Floats arrive unchanged, NaN included."""
    return to_json(response, inf_nan_mode="constants")


def unpack_response(body: bytes) -> DetectorResponse:
    """The response of another cluster. Malformed."""
    try:
        return _RESPONSE.validate_json(body)
    except ValidationError as error:
        raise Malformed(f"it is no response of a detector: {_first(error)}") from None


def _arrays(body: bytes) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a request. Malformed if they are not those of _ARRAYS, one-dimensional."""
    if int.from_bytes(body[:8], "little") > _MAX_HEADER_BYTES:  # safetensors itself would parse 100 MB of JSON
        raise Malformed("it is no safetensors file of a few arrays")
    try:
        arrays: dict[str, npt.NDArray[Any]] = safetensors.numpy.load(body)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise Malformed(f"it is no safetensors file: {error}") from None
    if {name: array.dtype for name, array in arrays.items()} != _ARRAYS or any(a.ndim != 1 for a in arrays.values()):
        raise Malformed(f"its arrays are not {', '.join(_ARRAYS)} with their types")
    return arrays


def _check_sizes(descriptions: list[_Description], arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Malformed if descriptions contradict themselves or the arrays, TooLarge if images and sounds would not fit."""
    images = [description.image for description in descriptions if description.image]
    for description in descriptions:
        if sum(value is not None for value in (description.image, description.sound, description.text)) != 1:
            raise Malformed("a sample is either an image, a sound or a text")
    if any(min(image) <= 0 for image in images):
        raise Malformed("an image without height, width or pixels")
    needed = sum(height * width * 3 for height, width, _ in images) + arrays["sound"].nbytes
    if needed > MAX_BYTES:
        raise TooLarge(f"its samples take {needed:,} bytes, and {MAX_BYTES >> 20} MB are allowed")
    sound_values = sum(description.sound or 0 for description in descriptions)
    if (sum(size for *_, size in images), sound_values) != (arrays["pixels"].size, arrays["sound"].size):
        raise Malformed("its arrays have other lengths than its samples")


def _compressed(pixels: npt.NDArray[np.uint8]) -> bytes:
    differences = np.empty_like(pixels, order="C")
    differences[:, :1] = pixels[:, :1]
    np.subtract(pixels[:, 1:], pixels[:, :-1], out=differences[:, 1:])
    return bytes(_CODEC.compress(differences.reshape(-1), asbytes=True))


def _decompressed(compressed: pa.Buffer, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    try:
        # exactly so many bytes, or an error
        content = _CODEC.decompress(compressed, decompressed_size=shape[0] * shape[1] * shape[2], asbytes=True)
    except OSError:
        raise Malformed("compressed pixels do not fill their image") from None
    return np.cumsum(np.frombuffer(content, np.uint8).reshape(shape), axis=1, dtype=np.uint8)


def _first(error: ValidationError) -> str:
    """The first problem that pydantic found, and where."""
    problem = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, problem["loc"]))
    return f"{place}: {problem['msg']}" if place else problem["msg"]
