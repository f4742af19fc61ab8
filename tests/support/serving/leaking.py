"""A replica whose memory grows. Starts its own Ray; prints as JSON the process ids before and after its restart."""

import asyncio
import json
import logging
import os
import time

import numpy as np
import ray
from ray import serve

from cluster.records import Detection, Sample
from deployments import events as deployments_events
from deployments.detectors.nsfw import NsfwConfig
from deployments.serving.client import ServedDetectors
from deployments.serving.deployment import NO_CARD, DetectorDeployment


class Leaking:
    """A detector that leaks 240 MB for each sample `leak`. Its detections hold its process id and visible GPUs."""

    def __init__(self, name, config):
        self.kept = []
        deployments_events.count("made")

    @classmethod
    def example(cls):
        """The sample of health checks."""
        return Sample(text="example")

    def detect(self, samples):
        """One detection for each sample: label = process id, text = CUDA_VISIBLE_DEVICES."""
        self.kept += [np.ones(30_000_000) for sample in samples if sample.text == "leak"]
        return [[Detection(str(os.getpid()), 1.0, text=os.environ.get("CUDA_VISIBLE_DEVICES"))] for _ in samples]


async def life(detectors):
    """Leak memory, and wait up to 60 s until another process answers."""

    async def ask(text):
        ((detection,),) = (await detectors.ask(["nsfw"], [Sample(text=text)]))["nsfw"].answers
        return detection

    before = after = await ask("a")
    events = (await detectors.events())["nsfw"]
    await ask("leak")
    until = time.monotonic() + 60
    while after.label == before.label and time.monotonic() < until:
        after = await ask("a")
        await asyncio.sleep(0.2)
    return {"before": before.label, "after": after.label, "cards": before.text, "events": events}


def main():
    """Deploy the leaking detector and print the results of `life` as JSON."""
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    serve.start(proxy_location="Disabled")
    options = {"num_cpus": 0.1, "runtime_env": {"env_vars": NO_CARD}}
    deployed = DetectorDeployment.options(name="nsfw", health_check_period_s=0.2, ray_actor_options=options)
    handle = serve.run(deployed.bind({"nsfw": {"max_growth_gb": 0.1}}, 0.0, Leaking), name="x", route_prefix=None)
    print(json.dumps(asyncio.run(life(ServedDetectors({"nsfw": handle}, {}, {"nsfw": NsfwConfig()})))))
    ray.shutdown()


if __name__ == "__main__":
    main()
