"""Serve the real API over HTTP without Ray: its routes, guards and limits in uvicorn, with a stub behind the routes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import uvicorn
from starlette.types import ASGIApp

from deployments.api.app import api
from deployments.api.ingress import Ingress
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


@contextmanager
def application(**attributes: Any) -> Iterator[ASGIApp]:
    """Yield the API's ASGI application with an uninitialized Ingress that has only the given attributes."""
    ingress = object.__new__(Ingress.func_or_class)
    vars(ingress).update(attributes)
    api.middleware_stack = None  # built again, so that rate limits start at zero
    with mock.patch("ray.serve.get_replica_context", lambda: SimpleNamespace(servable_object=ingress)):
        yield api
    api.middleware_stack = None  # Serve cannot pickle an application with a built middleware stack
