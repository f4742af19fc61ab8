"""The status of the detectors' deployments in Ray Serve: which are deployed, and whether they have replicas."""

from collections.abc import Iterable
from typing import Literal

import ray
from ray import serve
from ray.serve.schema import DeploymentStatusOverview

from cluster.errors import SettingsError
from cluster.records import COLOCATED, ModelVersion
from cluster.settings import Settings
from deployments.serving.placement import APP, versions

Condition = Literal["up", "asleep", "down"]  # a replica runs; none, and the next request starts one; none runs


def running(settings: Settings) -> dict[str, ModelVersion]:
    """The detectors that are deployed in this cluster, asleep or not. SettingsError when Raysift is not up."""
    application = serve.status().applications.get(APP)
    if application is None:
        raise SettingsError("Raysift does not run in this Ray cluster. Start it with `raysift up`.")
    deployed = {name for deployment in application.deployments for name in deployment.split(COLOCATED)}
    return {name: model_version for name, model_version in versions(settings).items() if name in deployed}


def is_running() -> bool:
    """Whether every deployment of Raysift has the replicas that it should have."""
    application = serve.status().applications.get(APP)
    return application is not None and application.status == "RUNNING"


def conditions(names: Iterable[str]) -> dict[str, Condition]:
    """Whether each detector has a replica. This call starts none."""
    if not ray.is_initialized():  # Serve's local testing mode
        return dict.fromkeys(names, "up")
    deployments = serve.status().applications[APP].deployments.items()
    known = {name: _condition(status) for group, status in deployments for name in group.split(COLOCATED)}
    return {name: known.get(name, "down") for name in names}


def _condition(status: DeploymentStatusOverview) -> Condition:
    if any(count for state, count in status.replica_states.items() if state == "RUNNING"):
        return "up"
    # UPSCALING: a request has just come; a deployment that lacks a replica for another reason has another status
    return "asleep" if status.status in ("HEALTHY", "UPSCALING") else "down"
