"""The real API over HTTP without Serve: its routes, guards and limits in uvicorn, with a stand-in behind the routes."""

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
    """An ASGI application in uvicorn, as Serve's proxy runs one, on a port of 127.0.0.1."""
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
    """The API's application, whose Ingress has these attributes and nothing else."""
    ingress = object.__new__(Ingress.func_or_class)
    vars(ingress).update(attributes)
    api.middleware_stack = None  # limits of its own, which have counted nothing
    with mock.patch("ray.serve.get_replica_context", lambda: SimpleNamespace(servable_object=ingress)):
        yield api
    api.middleware_stack = None  # Serve cannot pickle an application that has run
