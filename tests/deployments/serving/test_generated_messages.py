"""The wire format over generated messages: what was packed arrives, anything else is Malformed."""

import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cluster.records import Sample
from deployments.serving import wire
from tests.support.generated import thorough

pytestmark = pytest.mark.chaos

times = st.none() | st.floats(0, 1e6)
images = arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))
sounds = arrays.arrays(np.float32, st.integers(0, 50), elements=st.floats(-1, 1, width=32))
texts = st.text(st.characters(codec="utf-8"))
samples = st.one_of(
    st.builds(lambda pixels, time_s: Sample(pixels, None, None, time_s), images, times),
    st.builds(lambda sound, time_s: Sample(None, sound, None, time_s), sounds, times),
    st.builds(lambda text, time_s: Sample(None, None, text, time_s), texts, times),
)
numbers = st.integers(-(2**70), 2**70) | st.integers(-3, 300)
descriptions = st.lists(
    st.dictionaries(
        st.sampled_from(["image", "sound", "text", "time_s", "other"]),
        st.none() | numbers | st.text() | st.floats() | st.lists(numbers, max_size=4),
        max_size=3,
    ),
    max_size=4,
)


@thorough
@given(st.lists(samples, max_size=6))
def test_samples_arrive_as_they_were_sent(sent):
    received = wire.unpack_samples(wire.pack_samples(sent))
    assert len(received) == len(sent)
    for one, other in zip(sent, received, strict=True):
        assert (one.text, one.time_s) == (other.text, other.time_s)
        for mine, theirs in ((one.pixels, other.pixels), (one.sound, other.sound)):
            assert (mine is None) == (theirs is None) and (mine is None or np.array_equal(mine, theirs))


@thorough
@given(st.binary(max_size=300))
def test_any_bytes_are_samples_or_malformed(body):
    _unpack(body)


@thorough
@given(descriptions, st.binary(max_size=60), sounds)
def test_descriptions_that_do_not_fit_their_arrays_are_malformed(described, pixels, sound):
    content = np.frombuffer(json.dumps(described).encode(), np.uint8)
    _unpack(safetensors.numpy.save({"samples": content, "pixels": np.frombuffer(pixels, np.uint8), "sound": sound}))


@thorough
@given(st.lists(samples, min_size=1, max_size=3), st.data())
def test_a_changed_byte_or_a_cut_is_malformed_or_other_samples(sent, data):
    body = bytearray(wire.pack_samples(sent))
    place = data.draw(st.integers(0, len(body) - 1))
    if data.draw(st.booleans()):
        body[place] = data.draw(st.integers(0, 255))
    else:
        del body[place:]
    _unpack(bytes(body))


@thorough
@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_any_bytes_are_a_response_or_malformed(body):
    try:
        wire.unpack_response(body)
    except wire.Malformed as error:
        assert str(error)


def _unpack(body):
    try:
        received = wire.unpack_samples(body)
    except wire.Malformed as error:
        assert str(error)
        return
    for sample in received:
        assert sum(value is not None for value in (sample.pixels, sample.sound, sample.text)) == 1
