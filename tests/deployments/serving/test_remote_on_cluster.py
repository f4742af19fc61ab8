"""A running Raysift as the other cluster: it gives the same answers, and latency costs little throughput."""

import asyncio
import statistics
import time
from itertools import chain

import numpy as np
import pytest
from PIL import Image
from skimage import data
from threadpoolctl import threadpool_limits

from cluster.records import Sample
from deployments.detector import detector_class
from deployments.serving.remote import RemoteDetector
from deployments.serving.replica import Replica
from tests.deployments.detectors.test_contract import real, samples_for
from tests.support.servers.latency import delayed
from tests.support.serving.own_ray import run_in_own_ray

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

ONE_WAY_S = 0.05
BATCHES, FRAMES, ROUNDS = 40, 8, 3


def remote(url, **more):
    return {"backend": "remote", "remote": {"url": url, "profile": "embedded"} | more}


@pytest.mark.parametrize("name", ["clip", "nsfw", "whisper"])
def test_a_remote_detector_gives_the_same_answers_as_a_local_one(cluster, name):
    samples = samples_for(name)
    with threadpool_limits(1):  # as a replica: more threads sum in another order, which int8 makes visible
        here = real(name).detect(samples)
    there = RemoteDetector(
        name, detector_class(name).Config(**remote(cluster.url("API__"), key_file=cluster.key_file))
    ).ask(samples)
    assert [words(answer) for answer in there.answers] == [words(answer) for answer in here]
    for one, other in zip(chain(*there.answers), chain(*here), strict=True):
        assert numbers(one) == pytest.approx(numbers(other), abs=1e-4)
    assert there.seconds > 0 and there.gpu_seconds == 0


def words(answer):
    return [(found.label, found.text, found.evidence) for found in answer]


def numbers(found):
    vectors = [value for vector in found.vectors for value in vector.values]
    return [found.score, *(found.box or ()), *(found.span or ()), *vectors]


def frames():
    """Photographs of 1280 x 720, all different."""
    picture = Image.fromarray(data.astronaut()).resize((1280, 720))
    return [np.roll(np.asarray(picture), n, axis=1) for n in range(FRAMES)]


@pytest.mark.chaos
def test_a_latency_of_100_ms_costs_less_than_a_fifth_of_the_throughput(cluster):
    samples = [Sample(pixels=pixels) for pixels in frames()]
    port = int(cluster.url("API__").rsplit(":", 1)[1])

    def seconds(replica):
        async def life():
            began = time.monotonic()
            asked = await asyncio.gather(*(replica.detect("nsfw", samples, "a client") for _ in range(BATCHES)))
            took_s = time.monotonic() - began
            return took_s, sum(one.seconds for one in asked)

        return asyncio.run(life())

    with delayed(port, ONE_WAY_S) as far_port:
        near, far = (
            Replica({"nsfw": remote(f"http://127.0.0.1:{one}", key_file=cluster.key_file)}) for one in (port, far_port)
        )
        one_batch = remote(f"http://127.0.0.1:{far_port}", key_file=cluster.key_file, max_in_flight=1)
        alone = Replica({"nsfw": one_batch})
        began = time.monotonic()
        for _ in range(5):
            asyncio.run(alone.detect("nsfw", samples, "a client"))
        one_by_one = 5 / (time.monotonic() - began)
        rounds = [(seconds(near), seconds(far)) for _ in range(ROUNDS)]
        far_s, near_s = (statistics.median(one[n][0] for one in rounds) for n in (1, 0))
    print(f"\none at a time, from afar: {one_by_one:.2f} batches a second")
    for (near_one, work_near), (far_one, work_far) in rounds:
        print(f"near {near_one:.2f} s (detector {work_near:.2f}), far {far_one:.2f} s (detector {work_far:.2f})")
    print(f"batches of {FRAMES} a second: near {BATCHES / near_s:.2f}, 100 ms away {BATCHES / far_s:.2f}")
    assert far_s <= near_s / 0.8


@pytest.mark.chaos
def test_callers_wait_while_the_other_cluster_is_away_and_the_replica_stays_up():
    seen = run_in_own_ray("tests.support.serving.far_outage")
    assert seen["before"] == seen["another model"] == "nsfw is away", "it came up nevertheless, and blamed no sample"
    assert seen["up"] == seen["after an outage"] == ["nsfw"]
    assert seen["told"] == [True, False] and not seen["restarted"]
