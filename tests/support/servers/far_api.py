"""The API of a remote cluster for tests: the real route for samples on a real port, with a stub detector."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse

from cluster.access.identity import Identity
from cluster.api_types import DetectorState
from cluster.records import ModelVersion
from deployments import problems
from deployments.api.guards.measured import Measured
from deployments.api.sample_routes import SampleRoutes
from deployments.detector import DetectorResponse
from deployments.detectors.nsfw import NsfwConfig
from deployments.serving import wire
from deployments.serving.client import ServedDetectors
from tests.support.browser import free_port


class Far:
    """The remote cluster. Its detector returns `answer(samples)`; attributes inject faults and record the calls."""

    def __init__(
        self, model="m", floor=0.1, answer=lambda samples: [[] for _ in samples], key="", measured=False
    ) -> None:
        self.answer = answer
        self.key = key
        self.measured = measured  # its requests are, in metrics and spans
        self.faults: list[int] = []  # HTTP statuses of the next responses
        self.said = '{"detail": "not now"}'  # body of these responses
        self.ports: list[int] = []  # client port of each request
        self.states = {"nsfw": DetectorState.OK}  # detector states in the response of /v1/ready
        self.samples = 0  # samples received
        self.most = self.now = 0  # concurrent calls: the maximum, and now
        self.free: threading.Event | None = None  # if set, calls block until this event
        self.detect = self
        self.routes = SampleRoutes()
        model_versions = {"nsfw": ModelVersion("nsfw", model, floor)}
        self.routes.detectors = ServedDetectors({"nsfw": self}, model_versions, {"nsfw": NsfwConfig()})

    async def remote(self, name, samples, client, parent=None) -> DetectorResponse:
        """Answer a batch, in place of a Serve handle's `detect.remote`."""
        self.now += 1
        self.samples += len(samples)
        self.most = max(self.most, self.now)
        while self.free and not self.free.is_set():
            await asyncio.sleep(0.005)
        self.now -= 1
        return DetectorResponse(self.answer(samples), 0.5, 0.25)

    @property
    def app(self) -> FastAPI:
        """The application with /v1/detect/NAME/samples and /v1/ready, for anybody, or only with this `key`."""
        app = FastAPI()
        if self.measured:
            app.add_middleware(Measured)
        problems.handle(app)
        app.post("/v1/detect/{name}/samples", max_body_size=wire.MAX_BYTES)(self.routes.detect_samples)

        @app.get("/v1/ready")
        async def ready():
            ready = all(state.is_ready for state in self.states.values())
            detectors = {name: {"state": state, "message": "as the test says"} for name, state in self.states.items()}
            return JSONResponse({"ready": ready, "detectors": detectors}, 200 if ready else 503)

        @app.middleware("http")
        async def proxy(request: Request, call_next):
            self.ports.append(request.client.port)
            if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
                return JSONResponse({"detail": "this key was revoked."}, 401)
            request.state.identity = Identity("the other cluster", "reviewer")
            if self.faults:
                return PlainTextResponse(self.said, self.faults.pop(0))
            return await call_next(request)

        return app


@contextmanager
def running(far: Far, port: int | None = None, **options) -> Iterator[str]:
    """Serve the API until the end of the block, with uvicorn's `options` for TLS; yields its URL."""
    config = uvicorn.Config(far.app, port=port or free_port(), log_level="error", lifespan="off", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"{'https' if options else 'http'}://127.0.0.1:{config.port}"
    finally:
        server.should_exit = True
        thread.join()
