"""Serve the real API over HTTP without Ray: its routes, guards and limits in uvicorn, with a stub behind the routes."""

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp

from cluster.access.identity import Identity
from cluster.access.limits import Limits
from deployments.access import authentication
from deployments.access.pending import PendingRecords
from deployments.api.app import api
from deployments.api.guards.quotas import Quotas
from deployments.api.ingress import Ingress
from deployments.api.media import Turns, Viewed
from tests.support.servers.chroma import free_port


@contextmanager
def serving(app: ASGIApp) -> Iterator[int]:
    """Run an ASGI application in a uvicorn thread on 127.0.0.1, as Serve's proxy does; yields the port."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "uvicorn did not start"
            thread.join(0.01)
        yield port
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


ADMIN = Identity("the tests", "admin")
REQUEST = Request({"type": "http", "headers": [], "client": ("127.0.0.1", 5000)})

AS_ADMIN = {"who": ADMIN, "_": ADMIN, "request": REQUEST}  # arguments of routes that FastAPI gives them


def called(method: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    """Call the method of a route with these arguments; it gets an admin's request, where it takes that."""
    parameters = inspect.signature(method).parameters
    return method(*arguments, **{name: value for name, value in AS_ADMIN.items() if name in parameters}, **more)


class Everybody:
    """Takes every request for one identity's, whatever it shows."""

    def __init__(self, identity: Identity = ADMIN) -> None:
        self.identity = identity

    async def identify(self, _: Any) -> Identity:
        return self.identity


class Recorder:
    """A stub of the deployment Access: keeps what is to be recorded in the audit log."""

    def __init__(self) -> None:
        self.records: list[tuple[Any, ...]] = []
        self.record = SimpleNamespace(remote=self._record)
        self.keep_picture = SimpleNamespace(remote=self._keep_picture)

    def options(self) -> "Recorder":
        return self

    async def _record(self, who: Identity, what: str, of: str = "", where: str = "", **more: Any) -> None:
        self.records.append((who.name, what, of))

    async def _keep_picture(self, owner: str, picture: object) -> str:
        return "0" * 32


@contextmanager
def application(**attributes: Any) -> Iterator[ASGIApp]:
    """Yield the API's ASGI application with an uninitialized Ingress that has only the given attributes.

    Every request is an admin's, unless `identifies` says otherwise.
    """
    identifies = attributes.pop("identifies", Everybody())
    recorder = Recorder()
    defaults = {
        "access": recorder,
        "pending": PendingRecords(recorder),
        "viewed": Viewed(),
        "quotas": Quotas(Limits()),
        "copying": Turns(2),
    }
    attributes = defaults | attributes
    ingress = object.__new__(Ingress.func_or_class)
    vars(ingress).update(attributes)
    api.middleware_stack = None  # built again, so that rate limits start at zero
    with (
        mock.patch("ray.serve.get_replica_context", lambda: SimpleNamespace(servable_object=ingress)),
        mock.patch.object(authentication, "_current", [identifies]),
    ):
        yield api
    api.middleware_stack = None  # Serve cannot pickle an application with a built middleware stack
