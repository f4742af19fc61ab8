"""A proxy for an S3 server that injects network and server faults a given number of times for each object."""

import http.client
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

Kind = Literal["500", "503", "hang", "slow", "truncated", "reset", "flipped"]
SLOW_S = 2.0  # before the answer to a "slow" request
_REFUSALS = {"500": "InternalError", "503": "SlowDown"}
_HOP_BY_HOP = {"connection", "expect", "keep-alive", "te", "transfer-encoding", "upgrade"}
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Faults:
    """The faults to inject: (HTTP method, suffix of the path) -> (kind, times per object), and counts of those done."""

    planned: dict[tuple[str, str], tuple[Kind, int]] = field(default_factory=dict)
    done: Counter[tuple[str, str, Kind]] = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)  # set at the end: releases hanging requests
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, method: str, path: str) -> Kind | None:
        """The fault to inject into this request, which is counted, or None. Each object has its own count."""
        for (planned_method, suffix), (kind, times) in self.planned.items():
            if method == planned_method and path.endswith(suffix):
                with self.lock:
                    if self.done[method, path, kind] < times:
                        self.done[method, path, kind] += 1
                        return kind
        return None

    def times(self, kind: Kind) -> int:
        """The number of requests with this fault so far."""
        return sum(count for (_, _, injected), count in self.done.items() if injected == kind)


@contextmanager
def faulty(endpoint: str, faults: Faults) -> Iterator[str]:
    """Run the proxy until the end of the block; yields its URL. The Host header is passed on unchanged, because it is
    part of the signature that the server checks.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"to": endpoint, "faults": faults}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        faults.over.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    to: str
    faults: Faults

    def _pass_on(self) -> None:
        body = self._body()
        kind = self.faults.take(self.command, urlsplit(self.path).path)
        if kind in _REFUSALS:
            error = f"<Error><Code>{_REFUSALS[kind]}</Code><Message>a fault of the test</Message></Error>".encode()
            self._answer(int(kind), {"Content-Type": "application/xml", "Content-Length": str(len(error))}, error)
        elif kind == "hang":
            self.faults.over.wait()
            self.close_connection = True
        else:
            if kind == "slow":
                self.faults.over.wait(SLOW_S)
            self._answer(*self._ask(body), kind)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while length := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(length))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return b"".join(chunks)

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        server = http.client.HTTPConnection(urlsplit(self.to).netloc, timeout=60)
        try:
            server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    server.putheader(name, value)
            if "Content-Length" not in self.headers and body:
                server.putheader("Content-Length", str(len(body)))
            server.endheaders(body)
            response = server.getresponse()
            content = response.read()
            headers = {name: value for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP}
        finally:
            server.close()
        if self.command != "HEAD" and response.status != http.client.NO_CONTENT:
            headers["Content-Length"] = str(len(content))
        return response.status, headers, content

    def _answer(self, status: int, headers: dict[str, str], content: bytes, kind: Kind | None = None) -> None:
        half = len(content) // 2
        if kind == "flipped":
            content = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[:half] if kind in ("truncated", "reset") else content)
        if kind in ("truncated", "reset"):
            self.close_connection = True
        if kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.connection.close()

    def log_message(self, *_: Any) -> None:
        """Log nothing; `Faults` counts."""
