import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest

from deployments import events
from deployments.models import devices, runtime
from tests.support.paths import ROOT


def counted(event):
    return events.counts().get(event, 0)


class Full:
    """A network on a GPU that holds `room` items: beyond that it fails as torch and CTranslate2 do."""

    def __init__(self, room, said="CUDA out of memory. Tried to allocate 2.00 GiB"):
        self.room = room
        self.said = said
        self.asked = []

    def __call__(self, batch):
        self.asked.append(len(batch))
        for item in batch:
            if len(batch) > self.room:
                raise RuntimeError(self.said)
            yield item * 10


def test_a_batch_that_does_not_fit_is_halved_and_continues_where_it_failed():
    before = counted("out of memory: batch halved")
    network = Full(room=3)
    assert runtime.in_batches(list(range(10)), 8, network) == [n * 10 for n in range(10)]
    assert network.asked == [8, 4, 2, 2, 2, 2, 2], "the smaller size stays for the call"
    assert counted("out of memory: batch halved") == before + 2


def test_no_item_is_answered_twice_when_a_later_batch_does_not_fit():
    calls = []

    def answer(batch):
        calls.append(list(batch))
        if 5 in batch and len(batch) > 1:
            raise RuntimeError("CUDA failed with error out of memory")  # as CTranslate2 says it
        return batch

    assert runtime.in_batches([1, 2, 3, 4, 5, 6], 2, answer) == [1, 2, 3, 4, 5, 6]
    assert calls == [[1, 2], [3, 4], [5, 6], [5], [6]]


def test_an_item_that_does_not_fit_raises_the_librarys_error_and_is_counted():
    before = counted("out of memory: one item does not fit")
    with pytest.raises(RuntimeError, match="Tried to allocate"):
        runtime.in_batches([1, 2], 2, Full(room=0))
    assert counted("out of memory: one item does not fit") == before + 1


@pytest.mark.parametrize(
    "said", ["cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED in cublasCreate"]
)
def test_out_of_memory_errors_of_lower_libraries_are_recognised(said):
    assert runtime.in_batches([1, 2], 2, Full(room=1, said=said)) == [10, 20]


def test_another_error_is_not_taken_for_out_of_memory():
    network = Full(room=0, said="mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="mat1"):
        runtime.in_batches([1, 2], 2, network)
    assert network.asked == [2]


def test_the_memory_of_a_failed_batch_is_freed_before_the_next_try():
    held = []

    def answer(batch):
        assert all(one() is None for one in held), "the first try's activations are still there"
        activations = np.zeros(1000)
        held.append(weakref.ref(activations))
        if len(batch) > 1:
            raise RuntimeError("CUDA out of memory")
        return batch

    assert runtime.in_batches([1, 2], 2, answer) == [1, 2]


def test_batches_are_padded_to_few_sizes():
    assert [devices.bucket(n, 8) for n in range(1, 9)] == [1, 2, 4, 4, 8, 8, 8, 8]
    assert devices.bucket(5, 6) == 6
    for n in (0, 9):
        with pytest.raises(ValueError, match="does not fit"):
            devices.bucket(n, 8)


ALLOCATED = """
import numpy as np
from deployments.models import devices
before = devices.memory_gb()["main"]
kept = np.ones(30_000_000)
print(devices.memory_gb()["main"] - before, kept.nbytes / devices.GB)
del kept
print(devices.memory_gb()["main"] - before)
"""


def test_memory_grows_by_allocations_and_shrinks_when_they_are_freed():
    # in a process of its own: threads of other tests allocate and free at the same time
    done = subprocess.run([sys.executable, "-c", ALLOCATED], cwd=ROOT, capture_output=True, text=True, check=True)
    grown_gb, allocated_gb, left_gb = map(float, done.stdout.split())
    assert grown_gb == pytest.approx(allocated_gb, abs=0.02) and left_gb < 0.02


def test_reference_cycles_are_freed_even_after_serve_froze_them():
    class Network:
        pass

    network = Network()
    network.own = network
    gone = weakref.ref(network)
    gc.freeze()
    del network
    gc.collect()
    assert gone() is not None
    devices.free()
    assert gone() is None


def test_a_listener_gets_every_further_event():
    heard = []
    events.listen(lambda event, by: heard.append((event, by)))
    events.count("whisper: dropped as no speech", 3)
    assert heard == [("whisper: dropped as no speech", 3)]
    assert counted("whisper: dropped as no speech") >= 3


def test_forgotten_shared_objects_are_made_again():
    made = iter(range(2))
    assert runtime.shared("test-devices", lambda: next(made)) == 0
    assert runtime.shared("test-devices", lambda: next(made)) == 0
    runtime.forget()
    assert runtime.shared("test-devices", lambda: next(made)) == 1
