"""The wire format: packed data arrives unchanged, and hostile bytes end in Malformed within bounded memory."""

import json
import math
import struct

import numpy as np
import pytest
import safetensors.numpy

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
    received = wire.unpack_samples(wire.pack_samples(sent))
    assert len(received) == len(sent) and all(map(same, sent, received))


def test_answers_arrive_in_order_with_their_cost():
    response = DetectorResponse([[EVERYTHING, Detection("x", 0.1)], Failure("nsfw", "too odd"), []], 1 / 3, 0.1)
    assert wire.unpack_response(wire.pack_response(response)) == response
    assert wire.unpack_response(wire.pack_response(DetectorResponse([]))) == DetectorResponse([])


def test_numbers_outside_json_arrive():
    response = DetectorResponse([[Detection("x", math.inf, (0.0, 0.0, math.nan, 1.0))]])
    ((detection,),) = wire.unpack_response(wire.pack_response(response)).answers
    assert detection.score == math.inf and math.isnan(detection.box[2])


def request(*descriptions, pixels=b"", sound=(), **arrays):
    """A body with these descriptions of samples, whether they fit the arrays or not."""
    content = json.dumps(descriptions).encode()
    return safetensors.numpy.save(
        {
            "samples": np.frombuffer(content, np.uint8),
            "pixels": np.frombuffer(pixels, np.uint8),
            "sound": np.array(sound, np.float32),
        }
        | arrays
    )


TEXT = {"text": "a"}
HUGE_HEADER = struct.pack("<Q", 1 << 40) + b"{}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no safetensors",
        HUGE_HEADER,
        wire.pack_samples([Sample(text="cut short")])[:-100],
        wire.pack_response(DetectorResponse([])),
        safetensors.numpy.save({"samples": np.zeros(1, np.uint8)}),
        request(TEXT, more=np.zeros(1, np.uint8)),
        request(TEXT, sound=np.zeros(1, np.float64)),
        request(TEXT, pixels=np.zeros((1, 1), np.uint8)),
        request(TEXT, samples=np.frombuffer(b"[" * 100_000, np.uint8)),
        request({}),
        request({"text": "a", "sound": 1}, sound=[0.5]),
        request({"text": "a", "unknown": 1}),
        request({"image": [2, 2, 5]}, pixels=b"short"),
        request({"image": [-1, -1, 1]}, pixels=b"x"),
        request({"image": [0, 2, 1]}, pixels=b"x"),
        request({"image": [1, 1, 9]}, pixels=b"x"),
        request({"sound": 2}, sound=[0.5]),
        request({"sound": -1}),
        request(TEXT, sound=[0.5]),
    ],
)
def test_bytes_that_are_no_samples_are_malformed(body):
    with pytest.raises(wire.Malformed):
        wire.unpack_samples(body)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"answers": [null]}', b'{"answers": [[{"label": "x"}]]}', b"[" * 100_000]
)
def test_bytes_that_are_no_response_are_malformed(body):
    with pytest.raises(wire.Malformed):
        wire.unpack_response(body)


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_and_cuts_end_in_samples_or_malformed(seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (9, 7, 3), np.uint8)
    whole = wire.pack_samples([Sample(pixels=pixels), Sample(sound=np.ones(5, np.float32)), Sample(text="words")])
    answers = wire.pack_response(DetectorResponse([[EVERYTHING], Failure("nsfw", "too odd")]))
    malformed = 0
    for unpack, body in ((wire.unpack_samples, whole), (wire.unpack_response, answers)):
        for _ in range(500):
            changed = bytearray(body)
            for at in rng.integers(0, len(body), rng.integers(1, 8)):
                changed[at] = rng.integers(0, 256)
            if rng.random() < 0.2:
                del changed[rng.integers(0, len(changed)) :]
            try:
                unpack(bytes(changed))
            except wire.Malformed:
                malformed += 1
    assert malformed > 300


def test_samples_that_are_too_large_are_refused_before_they_are_decompressed():
    with pytest.raises(wire.TooLarge, match=r"its samples take 2,700,000,... bytes"):
        wire.unpack_samples(request({"image": [30_000, 30_000, 4]}, pixels=b"tiny"))


def test_descriptions_are_bounded_before_they_are_parsed():
    with pytest.raises(wire.TooLarge, match="its descriptions take 9,"):
        wire.unpack_samples(request({"text": "a" * 9_000_000}))


def test_samples_are_counted_before_they_are_made():
    assert len(wire.unpack_samples(wire.pack_samples([Sample(text="a")] * wire.MAX_SAMPLES))) == wire.MAX_SAMPLES
    with pytest.raises(wire.TooLarge, match="more than 1024 samples"):
        wire.unpack_samples(wire.pack_samples([Sample(text="a")] * (wire.MAX_SAMPLES + 1)))


def test_a_request_larger_than_the_limit_is_not_packed(monkeypatch):
    monkeypatch.setattr(wire, "MAX_BYTES", 2000)
    with pytest.raises(wire.TooLarge, match="more than an API takes at a time"):
        wire.pack_samples([Sample(text="a" * 2000)])
