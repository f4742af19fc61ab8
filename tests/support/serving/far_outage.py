"""A remote detector during an outage of its cluster. Starts its own Ray; prints as JSON what callers received."""

import asyncio
import json
import logging

import numpy as np
import ray
from ray import serve
from ray.util import list_named_actors

from cluster.records import Detection, Sample
from deployments.detector import DetectorAway
from deployments.detectors.nsfw import NsfwConfig
from deployments.serving.client import ServedDetectors
from deployments.serving.deployment import NO_CARD, DetectorDeployment
from deployments.serving.placement import APP
from tests.support.servers import far_api
from tests.support.servers.far_api import Far, free_port

SAMPLES = [Sample(pixels=np.zeros((2, 2, 3), np.uint8))]


def answer(samples):
    """One detection for each sample."""
    return [[Detection("nsfw", 1.0)] for _ in samples]


def replica():
    """The actor name of the only replica. A replica that Serve restarts gets a new name."""
    (name,) = (actor["name"] for actor in list_named_actors(all_namespaces=True) if "nsfw" in actor["name"])
    return name


async def life(handle, config, port):
    """Call the detector before, during and after outages of the remote API on `port`; returns event -> result."""
    waiting, reports = asyncio.Event(), []

    def record_away(name, away):
        reports.append(away)
        waiting.set()

    async def ask(detector_timeout_s):
        detectors = ServedDetectors({"nsfw": handle}, {}, {"nsfw": config}, detector_timeout_s, True, record_away)
        return [detection.label for detection in (await detectors.ask(["nsfw"], SAMPLES))["nsfw"].answers[0]]

    async def away(detector_timeout_s):
        try:
            return await ask(detector_timeout_s)
        except DetectorAway as error:
            return f"{error} is away"

    seen, first = {"before": await away(0)}, replica()
    with far_api.running(Far(answer=answer), port):
        seen["up"] = await away(0)
    reports.clear()
    waiting.clear()
    job = asyncio.create_task(ask(60))
    await waiting.wait()
    await asyncio.sleep(2)  # ten health checks of Serve, which restarts a replica after three failed ones
    with far_api.running(Far(answer=answer), port):
        seen["after an outage"] = await job
    seen["told"] = reports
    with far_api.running(Far(answer=answer, model="another"), port):
        seen["another model"] = await away(0)
    return seen | {"restarted": replica() != first}


def main():
    """Deploy the detector and print the results of `life` as JSON."""
    port = free_port()
    config = NsfwConfig(backend="remote", model="m", remote={"url": f"http://127.0.0.1:{port}"})
    ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    serve.start(proxy_location="Disabled")
    options = {"num_cpus": 0.1, "runtime_env": {"env_vars": NO_CARD}}
    deployed = DetectorDeployment.options(name="nsfw", health_check_period_s=0.2, ray_actor_options=options)
    handle = serve.run(deployed.bind({"nsfw": config.model_dump()}), name=APP, route_prefix=None)
    print(json.dumps(asyncio.run(life(handle, config, port))))
    ray.shutdown()


if __name__ == "__main__":
    main()
