"""The API's routes for the state of the cluster, and for its models and settings."""

# No `from __future__ import annotations` here: FastAPI could not resolve the types of a pickled class.
import asyncio
from collections.abc import Mapping

from fastapi import HTTPException

from cluster.access.api_types import UserInfo
from cluster.settings import Settings
from cluster.upkeep.api_types import ClusterState, Device, ModelState, SettingState, WeightsState
from deployments.access.roles import Admin, OperatorOfAll
from deployments.api.app import api
from deployments.api.calls import TimedHandle
from deployments.api.upkeep import shown_settings
from deployments.api.upkeep.newest import Newest
from deployments.api.upkeep.readings import ClusterReadings
from deployments.detector import DetectorConfig
from deployments.serving.client import ServedDetectors
from deployments.weights import references
from deployments.weights.sources import Source

WEIGHTS_S = 5.0  # how long a caller waits for the places of weights, which may be buckets

Weights = dict[str, tuple[WeightsState, ...]]  # by detector


class UpkeepRoutes:
    """The routes for those who run the cluster; the API that inherits them has its detectors and settings."""

    settings: Settings
    access: TimedHandle
    detectors: ServedDetectors
    names: list[str]
    readings: ClusterReadings
    weights: Newest[Weights]

    @api.get("/v1/cluster")
    async def cluster(self, _: OperatorOfAll) -> ClusterState:
        """Nodes, GPUs, detectors with their queues, and the number of jobs. It answers within a second, whatever is
        down: `unread` names the parts that did not answer, of which the last known values are given.
        """
        return await self.readings.state()

    @api.get("/v1/models")
    async def models(self, _: Admin) -> list[ModelState]:
        """The model of each detector, where it runs, and whether the API's machine finds its weights."""
        await self.weights.look()
        if self.weights.value is None:
            raise HTTPException(504, "the places of the weights do not answer: try again, or see `raysift models list`")
        on_gpu = await self.readings.on_gpu()
        current = await asyncio.to_thread(self.detectors.current_versions, self.names)
        configs = self.detectors.configs
        return [
            ModelState(
                detector=name,
                model=version.model,
                floor=version.floor,
                backend=configs[name].backend,
                device=_device(name, configs[name], on_gpu),
                weights=self.weights.value.get(name, ()),
            )
            for name, version in current.items()
        ]

    @api.get("/v1/settings")
    async def shown_settings(self, _: Admin) -> list[SettingState]:
        """The main settings as this API process has read them. None of them is a secret."""
        return shown_settings.shown(self.settings)

    @api.get("/v1/users")
    async def users(self, _: Admin) -> list[UserInfo]:
        """The people who sign in with a password. `raysift users` changes them, on the head."""
        return [
            UserInfo(name=u.name, role=u.role, prefixes=u.prefixes, made_at=u.made_at, used_at=u.used_at)
            for u in await self.access.users.remote()
        ]


def weights_of(detectors: ServedDetectors, settings: Settings) -> Newest[Weights]:
    """The weights of each detector, looked for in a thread."""

    def look() -> Weights:
        found = dict[str, tuple[WeightsState, ...]]()
        for name, source in references.sources(detectors.configs, settings):
            found[name] = (*found.get(name, ()), _shown(source))
        return found

    return Newest("the weights", lambda: asyncio.to_thread(look), WEIGHTS_S)


def _shown(source: Source) -> WeightsState:
    state = source.state()
    return WeightsState(
        title=source.title,
        origin=state.origin,
        there=state.there,
        licence=state.licence,
        revision=state.revision,
        bytes=state.size,
        missing=state.missing,
    )


def _device(name: str, config: DetectorConfig, on_gpu: Mapping[str, bool] | None) -> Device | None:
    if config.remote:
        return "remote"
    if on_gpu is None or name not in on_gpu:
        return None
    return "gpu" if on_gpu[name] else "cpu"
