"""Autoscaling of a detector that starts with no replica. Starts its own Ray; prints seconds per step as JSON."""

import asyncio
import json
import logging
import time

import ray
from ray import serve

from cluster.records import Detection, Sample
from deployments.detectors.nsfw import NsfwConfig
from deployments.serving.client import ServedDetectors
from deployments.serving.deployment import NO_CARD, DetectorDeployment
from deployments.serving.placement import APP, scale
from deployments.serving.status import conditions

CONFIG = NsfwConfig(replicas=0, max_replicas=3, upscale_delay_s=1, downscale_delay_s=3, downscale_to_zero_delay_s=6)


class Slow:
    """A detector that takes 0.5 s for a batch."""

    def __init__(self, name, config):
        pass

    @classmethod
    def example(cls):
        """The sample of health checks."""
        return Sample(text="example")

    def detect(self, samples):
        """One detection for each sample; the example is answered without delay."""
        if samples[0].text != "example":
            time.sleep(0.5)
        return [[Detection("seen", 1.0)] for _ in samples]


def replicas():
    """The number of running replicas."""
    return serve.status().applications[APP].deployments["nsfw"].replica_states.get("RUNNING", 0)


async def until(reached, seconds=90):
    """Wait until `reached()`; returns the seconds it took. TimeoutError after `seconds`."""
    begun = time.monotonic()
    while not await asyncio.to_thread(reached):
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"there are {replicas()} replicas after {seconds} s")
        await asyncio.sleep(0.1)
    return round(time.monotonic() - begun, 1)


async def life(detectors):
    """Scale from zero to three replicas by load and back to zero; returns step -> state or seconds."""

    async def ask():
        return (await detectors.ask(["nsfw"], [Sample(text="a")]))["nsfw"].answers

    async def busy():
        while True:
            await ask()

    steps = {"at first": conditions(["nsfw", "ocr"])}
    begun = time.monotonic()
    assert (await ask())[0][0].label == "seen"
    steps["first answer"] = round(time.monotonic() - begun, 1)
    steps["once asked"] = conditions(["nsfw"])
    load = [asyncio.create_task(busy()) for _ in range(8)]
    steps["three replicas"] = await until(lambda: replicas() == 3)
    for caller in load:
        caller.cancel()
    await asyncio.gather(*load, return_exceptions=True)
    steps["none"] = await until(lambda: conditions(["nsfw"]) == {"nsfw": "asleep"})
    return steps


def main():
    """Deploy the slow detector with autoscaling and print the results of `life` as JSON."""
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    serve.start(proxy_location="Disabled")
    options = {"num_cpus": 0.1, "runtime_env": {"env_vars": NO_CARD}}
    deployed = DetectorDeployment.options(name="nsfw", ray_actor_options=options, **scale({"nsfw": CONFIG}))
    handle = serve.run(deployed.bind({"nsfw": {}}, 0.0, Slow), name=APP, route_prefix=None)
    print(json.dumps(asyncio.run(life(ServedDetectors({"nsfw": handle}, {}, {"nsfw": CONFIG})))))
    ray.shutdown()


if __name__ == "__main__":
    main()
