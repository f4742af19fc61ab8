"""Samples and answers on the way from one cluster to another."""

import numpy as np
import pyarrow as pa
import pytest

from cluster.records import Detection, Failure, Sample, Vector
from deployments.detector import DetectorResponse, names
from deployments.serving import wire
from tests.deployments.detectors.test_contract import samples_for

EVERYTHING = Detection(
    "nsfw high",
    1 / 3,
    (0.1, 0.2, 1 / 3, 1.0),
    2.5,
    (0.1, 7.7),
    "日本 🎈",
    "as near as 0.2",
    (Vector("image", (1 / 3, -1.0)), Vector("text", ())),
)


def same(one: Sample, other: Sample) -> bool:
    arrays = [(one.pixels, other.pixels), (one.sound, other.sound)]
    equal = all(a is b or (a.dtype == b.dtype and np.array_equal(a, b)) for a, b in arrays)
    return equal and (one.text, one.time_s) == (other.text, other.time_s)


@pytest.mark.parametrize("name", names())
def test_samples_arrive_as_they_were_sent(name):
    sent = samples_for(name)
    come = wire.unpack_samples(wire.pack_samples(sent))
    assert len(come) == len(sent) and all(map(same, sent, come))


def test_answers_arrive_as_they_were_given_in_order_with_what_they_cost():
    asked = DetectorResponse([[EVERYTHING, Detection("x", 0.1)], Failure("nsfw", "too odd"), []], 1 / 3, 0.1)
    assert wire.unpack_asked(wire.pack_asked(asked)) == asked
    assert wire.unpack_asked(wire.pack_asked(DetectorResponse([]))) == DetectorResponse([])


def rows(**columns):
    table = pa.Table.from_pylist([columns], wire._SAMPLES)
    return wire._stream(table.to_pylist(), wire._SAMPLES)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no stream",
        wire.pack_samples([Sample(text="cut short")])[:-100],
        wire.pack_asked(DetectorResponse([])),
        rows(),
        rows(text="a", sound=[0.5]),
        rows(height=2, width=2, pixels=b"short"),
        rows(height=-1, width=-1, pixels=b"x"),
        rows(pixels=b"x"),
    ],
)
def test_what_are_no_samples_is_malformed(body):
    with pytest.raises(wire.Malformed):
        wire.unpack_samples(body)


def test_samples_that_would_not_fit_are_not_unpacked():
    with pytest.raises(wire.TooLarge, match=r"its samples take 2,700,000,... bytes"):
        wire.unpack_samples(rows(height=30_000, width=30_000, pixels=b"tiny"))


def stream(table, metadata=None, **options):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as written:
        for batch in table.to_batches(max_chunksize=1):
            written.write_batch(batch, metadata)
    return sink.getvalue().to_pybytes()


def texts(*given):
    return pa.Table.from_pylist([{"text": text} for text in given], wire._SAMPLES)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zstd"},
        {"compression": "lz4"},
        {"metadata": {"ARROW:experimental_compression": "zstd"}, "metadata_version": pa.ipc.MetadataVersion.V4},
    ],
)
def test_buffers_that_inflate_are_refused_before_they_do(options):
    body = stream(texts("a" * 50_000_000), **options)
    with pytest.raises(wire.Malformed, match="its buffers are compressed"):
        wire.unpack_samples(body)


def test_rows_are_counted_over_all_batches_before_they_are_samples():
    most = wire.unpack_samples(stream(texts(*"a" * wire.MOST_SAMPLES)))
    assert len(most) == wire.MOST_SAMPLES
    with pytest.raises(wire.TooLarge, match="more than 1024 rows"):
        wire.unpack_samples(stream(texts(*"a" * (wire.MOST_SAMPLES + 1))))
    with pytest.raises(wire.TooLarge, match="more than 1024 rows"):
        wire.unpack_samples(wire.pack_samples([Sample(text="a")] * (wire.MOST_SAMPLES + 1)))


def test_columns_are_those_agreed_on_and_no_dictionaries():
    with pytest.raises(wire.Malformed, match="its columns are not height"):
        wire.unpack_samples(stream(pa.table({"text": pa.array(["a"]).dictionary_encode()})))
