"""A real OpenTelemetry collector in a process of its own, and the backend that it passes spans on to.

The collector is Rotel's, which PyPI has as a binary; Debian, npm and PyPI have none of the OpenTelemetry project.
"""

import gzip
import os
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import rotel
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from cluster.processes import port_open
from cluster.settings import Listener
from tests.support.browser import free_port
from tests.support.servers.http import running

AGENT = Path(rotel.__file__).with_name("rotel-agent")
WAIT_S = 30.0


@dataclass(frozen=True)
class Arrived:
    """A span as it has arrived. Ids are hex digits; `parent` is empty for the first one of a trace.

    Times are seconds since 1970.
    """

    name: str
    trace: str
    id: str
    parent: str
    service: str
    process: int
    attributes: dict[str, Any]
    error: str
    began_s: float
    ended_s: float


class Backend(ThreadingHTTPServer):
    """An OTLP/HTTP server that keeps the spans it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Arrived] = []

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.server_port}"

    def until(self, complete: Callable[[list[Arrived]], object], seconds: float = WAIT_S) -> list[Arrived]:
        """Wait until the spans that have arrived are complete; returns them. AssertionError after `seconds`."""
        deadline = time.monotonic() + seconds
        while not complete([*self.spans]):
            assert time.monotonic() < deadline, sorted(span.name for span in self.spans)
            time.sleep(0.05)
        return [*self.spans]


class _Handler(BaseHTTPRequestHandler):
    server: Backend

    def do_POST(self) -> None:
        request, body = ExportTraceServiceRequest(), self.rfile.read(int(self.headers["Content-Length"]))
        request.ParseFromString(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
        for group in request.resource_spans:
            resource = _values(group.resource.attributes)
            for scope in group.scope_spans:
                self.server.spans += [_arrived(span, resource) for span in scope.spans]
        body = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


def _arrived(span: Any, resource: dict[str, Any]) -> Arrived:
    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
    service, process = resource["service.name"], resource["process.pid"]
    times = span.start_time_unix_nano / 1e9, span.end_time_unix_nano / 1e9
    return Arrived(span.name, *ids, service, process, _values(span.attributes), span.status.message, *times)


def _values(attributes: Any) -> dict[str, Any]:
    return {entry.key: getattr(entry.value, entry.value.WhichOneof("value")) for entry in attributes}


@contextmanager
def collector(folder: Path) -> Iterator[tuple[str, Backend]]:
    """Run the collector, with its files in a folder, and the backend; yields the collector's URL and the backend."""
    with running(Backend()) as backend:
        port = free_port()
        options = {
            "otlp-http-endpoint": f"127.0.0.1:{port}",
            "otlp-grpc-endpoint": f"127.0.0.1:{free_port()}",
            "exporter": "otlp",
            "otlp-exporter-endpoint": backend.url,
            "otlp-exporter-protocol": "http",
            "traces-batch-timeout": "100ms",
            "pid-file": str(folder / "collector.pid"),
            "log-file": str(folder / "collector.log"),
        }
        command = [str(AGENT), "start", *(part for key, value in options.items() for part in (f"--{key}", value))]
        libraries = str(sysconfig.get_config_var("LIBDIR"))  # it needs libpython3.11.so, of here or of the system
        variables = {**os.environ, "LD_LIBRARY_PATH": libraries}
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=variables)
        try:
            deadline = time.monotonic() + WAIT_S
            while not port_open(Listener(port=port)):
                assert time.monotonic() < deadline and process.poll() is None, "the collector did not start"
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}", backend
        finally:
            process.kill()
            process.wait()
