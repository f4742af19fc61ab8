"""The real API in Serve's local testing mode: catalogue and queue are real, Ray's Jobs API and detectors are not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from fastapi import FastAPI
from ray import serve

from cluster.settings import Scanning, Settings
from deployments.api.ingress import Ingress
from deployments.catalog.catalog import Catalog
from deployments.jobs.queue import Jobs
from pipelines.results.verifying import Verified
from tests.deployments.jobs.jobs_api import JobsApi

_MADE: list[Any] = []  # Serve makes the objects, in this process


class KeptCatalog(Catalog):
    """A catalogue in memory that the test can reach."""

    def __init__(self) -> None:
        """An empty one."""
        super().__init__(":memory:")
        _MADE.append(self)


class UnattendedJobs(Jobs):
    """The queue, which starts no job by itself."""

    def __init__(self, path: Path, settings: Settings) -> None:
        """As Jobs, with a stand-in for Ray's Jobs API."""
        super().__init__(path, settings, lambda url: JobsApi(), every_s=None)


class KeptIngress(Ingress.func_or_class):  # type: ignore[name-defined, misc]
    """The API, which the test can reach."""

    async def __init__(self, *arguments: Any) -> None:
        """As Ingress."""
        await super().__init__(*arguments)
        _MADE.append(self)


class LocalApi:
    """The API: its routes as methods of `call`, or over HTTP by `app`."""

    def __init__(self, handle: Any, ingress: Any, catalog: Catalog) -> None:
        """`handle`: of the deployment; the others are the objects behind it."""
        self._handle = handle
        self.ingress = ingress
        self.catalog = catalog
        self.app: FastAPI = ingress.app

    def call(self, method: str, *arguments: Any, **more: Any) -> Any:
        """Call a route's method as another deployment would."""
        return getattr(self._handle, method).remote(*arguments, **more).result()


@contextmanager
def local_api(state: Path) -> Iterator[LocalApi]:
    """Run the API. Once in a process: an application that has run cannot be pickled again."""
    settings = Settings(state_dir=state, scanning=Scanning(roots=("/",), outs=("/",)))
    catalog = serve.deployment(KeptCatalog).options(name="catalog").bind()
    jobs = serve.deployment(UnattendedJobs).options(name="jobs").bind(state / "jobs.sqlite", settings)
    verify = lambda out, job, settings: Verified(  # noqa: E731
        units=1, done=1, failed=0, lost=len(out), double=0, vectors_missing=0
    )
    bound = serve.deployment(KeptIngress).options(name="api").bind({}, catalog, jobs, None, verify, settings)
    handle = serve.run(bound, name="api", _local_testing_mode=True)
    made = {type(each): each for each in _MADE}
    ingress = next(each for kind, each in made.items() if issubclass(kind, KeptIngress))
    # a route gets its `self` from Serve's context, which there is only in a replica
    with patch.object(serve, "get_replica_context", lambda: SimpleNamespace(servable_object=ingress)):
        yield LocalApi(handle, ingress, made[KeptCatalog])
    made[KeptCatalog].close()
    _MADE.clear()
