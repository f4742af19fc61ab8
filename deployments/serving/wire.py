"""Samples and answers as bytes, for the way from one cluster to another: Arrow's IPC streams."""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.records import Answer, Detection, Failure, Sample, Vector
from deployments.detector import DetectorResponse

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
MOST_BYTES = 256 << 20  # of a request, and again of what it unpacks to: 16 frames of 1600 x 1600 have 117 MB
MOST_SAMPLES = 1024  # of a request; a row of next to no bytes is still an object or ten

# Pixels are the differences to the pixel on the left, compressed: without loss, as small as PNG, and 7 times cheaper
# to make (149 million pixels a second and core against 22). Whoever unpacks them opens no image format either.
_CODEC = pa.Codec("zstd", 1)
_SAMPLES = pa.schema(
    [
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("pixels", pa.binary()),
        ("sound", pa.list_(pa.float32())),
        ("text", pa.string()),
        ("time_s", pa.float64()),
    ]
)

# Numbers are as wide as Python's: an answer from afar is the same as one from here.
_DETECTION = pa.struct(
    [
        ("label", pa.string()),
        ("score", pa.float64()),
        ("box", pa.list_(pa.float64())),
        ("time_s", pa.float64()),
        ("span", pa.list_(pa.float64())),
        ("text", pa.string()),
        ("evidence", pa.string()),
        ("vectors", pa.list_(pa.struct([("space", pa.string()), ("values", pa.list_(pa.float64()))]))),
    ]
)
_ANSWERS = pa.schema(
    [
        ("detections", pa.list_(_DETECTION)),  # null: there is a failure instead
        ("failure", pa.struct([("step", pa.string()), ("reason", pa.string())])),
    ]
)


class Malformed(ValueError):
    """The bytes are not what was agreed on."""


class TooLarge(ValueError):
    """It is more than an API takes at a time."""


def pack_samples(samples: Sequence[Sample]) -> bytes:
    """The samples as the body of a request."""
    rows = [
        {
            "height": None if sample.pixels is None else sample.pixels.shape[0],
            "width": None if sample.pixels is None else sample.pixels.shape[1],
            "pixels": None if sample.pixels is None else _pressed(sample.pixels),
            "sound": sample.sound,
            "text": sample.text,
            "time_s": sample.time_s,
        }
        for sample in samples
    ]
    return _stream(rows, _SAMPLES)


def unpack_samples(body: bytes) -> list[Sample]:
    """The samples of a request. Malformed; TooLarge while all there is are views of the body."""
    table = _table(body, _SAMPLES)
    if table.nbytes > MOST_BYTES:  # more than the body has: columns may share its bytes
        raise TooLarge(f"its columns take {table.nbytes:,} bytes, and {MOST_BYTES >> 20} MB are allowed")
    facts = table.select(["height", "width", "pixels", "text", "time_s"]).to_pylist()
    shapes = [(one["height"], one["width"], 3) for one in facts if one["pixels"] is not None]
    if not all(height and width and height > 0 and width > 0 for height, width, _ in shapes):
        raise Malformed("a picture without height and width")
    if (size := sum(height * width * depth for height, width, depth in shapes) + table["sound"].nbytes) > MOST_BYTES:
        raise TooLarge(f"its samples take {size:,} bytes, and {MOST_BYTES >> 20} MB are allowed")
    sounds = [None if one.values is None else one.values.to_numpy(zero_copy_only=False) for one in table["sound"]]
    return [_sample(one, sound) for one, sound in zip(facts, sounds, strict=True)]


def pack_asked(asked: DetectorResponse) -> bytes:
    """The answers as the body of a response, with what they cost."""
    rows = [
        {"failure": {"step": answer.step, "reason": answer.reason}}
        if isinstance(answer, Failure)
        else {"detections": [_row(found) for found in answer]}
        for answer in asked.answers
    ]
    costs = {"seconds": repr(asked.seconds), "gpu_seconds": repr(asked.gpu_seconds)}
    return _stream(rows, _ANSWERS.with_metadata(costs))


def unpack_asked(body: bytes) -> DetectorResponse:
    """The answers of a response. Malformed; TooLarge."""
    table = _table(body, _ANSWERS)
    costs = table.schema.metadata or {}
    try:
        seconds, gpu_seconds = float(costs[b"seconds"]), float(costs[b"gpu_seconds"])
    except (KeyError, ValueError):
        raise Malformed("it does not say what it cost") from None
    return DetectorResponse([_answer(row) for row in table.to_pylist()], seconds, gpu_seconds)


def _pressed(pixels: npt.NDArray[np.uint8]) -> bytes:
    differences = pixels.copy()
    differences[:, 1:] -= pixels[:, :-1]
    return bytes(_CODEC.compress(differences.tobytes(), asbytes=True))


def _restored(pressed: bytes, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    size = shape[0] * shape[1] * shape[2]
    try:
        rows = _CODEC.decompress(pressed, decompressed_size=size, asbytes=True)
        differences = np.frombuffer(rows, np.uint8).reshape(shape)
    except (OSError, ValueError):
        raise Malformed("pixels that do not fill their picture") from None
    return np.cumsum(differences, axis=1, dtype=np.uint8)


def _sample(facts: dict[str, Any], sound: npt.NDArray[np.float32] | None) -> Sample:
    if sum(one is not None for one in (facts["pixels"], sound, facts["text"])) != 1:
        raise Malformed("a sample is either pixels, sound or text")
    shape = (facts["height"], facts["width"], 3)
    pixels = None if facts["pixels"] is None else _restored(facts["pixels"], shape)
    return Sample(pixels, sound, facts["text"], facts["time_s"])


def _row(found: Detection) -> dict[str, Any]:
    vectors = [{"space": vector.space, "values": vector.values} for vector in found.vectors]
    return {field: getattr(found, field) for field in _DETECTION.names} | {"vectors": vectors}


def _answer(row: dict[str, Any]) -> Answer:
    if row["failure"] is not None:
        return Failure(**row["failure"])
    if row["detections"] is None:
        raise Malformed("a sample without an answer")
    return [_detection(one) for one in row["detections"]]


def _detection(row: dict[str, Any]) -> Detection:
    exact = {field: None if row[field] is None else tuple(row[field]) for field in ("box", "span")}
    vectors = tuple(Vector(one["space"], tuple(one["values"])) for one in row["vectors"])
    return Detection(**row | exact | {"vectors": vectors})


def _stream(rows: list[dict[str, Any]], schema: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_table(pa.Table.from_pylist(rows, schema))
    return bytes(sink.getvalue())


def _table(body: bytes, schema: Any) -> Any:
    try:
        messages = pa.ipc.MessageReader.open_stream(body)
        found = pa.ipc.read_schema(messages.read_next_message())
        if not found.equals(schema):
            raise Malformed(f"its columns are not {', '.join(schema.names)} with their types")
        table = pa.Table.from_batches(_batches(messages, found), found)
        table.validate(full=True)  # what a stranger's offsets point at is not looked at before
    except StopIteration:
        raise Malformed("no Arrow stream: it is empty") from None
    except (pa.ArrowException, OSError, struct.error) as error:
        raise Malformed(f"no Arrow stream: {str(error).splitlines()[0] if str(error) else 'broken'}") from None
    return table


def _batches(messages: Any, schema: Any) -> Iterator[Any]:
    """Views of the body, and no more of them than there may be rows."""
    rows = 0
    for message in messages:
        if message.type != "record batch":
            raise Malformed(f"a {message.type} where rows should be")
        if _compressed(message.metadata):
            raise Malformed("its buffers are compressed, or have metadata: write the stream without")
        batch = pa.ipc.read_record_batch(message, schema)
        rows += batch.num_rows
        if rows > MOST_SAMPLES:
            raise TooLarge(f"it has more than {MOST_SAMPLES} rows")
        if batch.num_rows:
            yield batch


def _compressed(metadata: Any) -> bool:
    """Whether a record batch has buffers that Arrow would inflate as it reads them, 6 kB to 200 MB.

    pyarrow does not tell: it is the field `compression` in the flatbuffer of Arrow's Message.fbs, and was a word in
    `custom_metadata` in an older format that Arrow still reads.
    """

    def field(table: int, number: int) -> int:  # where it lies; 0: it is not there
        fields = table - struct.unpack_from("<i", metadata, table)[0]
        at = 4 + 2 * number
        if at >= struct.unpack_from("<H", metadata, fields)[0]:
            return 0
        offset = struct.unpack_from("<H", metadata, fields + at)[0]
        return table + offset if offset else 0

    message = struct.unpack_from("<I", metadata, 0)[0]
    header = field(message, 2)
    batch = header + struct.unpack_from("<I", metadata, header)[0]
    return field(batch, 3) != 0 or field(message, 4) != 0
